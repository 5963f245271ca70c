"""`mode=init`: makes the working folder a project of its own; or writes down what was inferred of a table, to edit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.types import UserError
from runner.modes.init import table

if TYPE_CHECKING:
    from runner.config.config import Config

TEMPLATE = Path(__file__).parent / "template"
NEXT = """
Next, as README.md says:
  export TITRATE_ALLOW=my_parts
  titrate experiment=rentals_residual
  titrate experiment=rentals_additive loss.quantile=0.9 folds=3"""


def command(config: Config) -> int:
    """Writes the template into the working folder, or what was inferred of a table; tells what, and what to do next.

    Raises UserError where one of the files, or something in the place of their folders, is there already; then nothing
    is written.
    """
    here = Path.cwd()
    files, then = (_template(), NEXT) if config.suggestion is None else table.files(config, config.suggestion)
    taken = list(dict.fromkeys(str(place) for file in files for place in _taken(here, file)))
    if taken:
        remedy = "use an empty folder" if config.suggestion is None else "remove or rename what is in the way"
        raise UserError(f"mode=init: {here} has {', '.join(taken)} already; nothing was written: {remedy}")
    try:
        for file, content in files.items():
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            (here / file).write_bytes(content)
    except OSError as error:
        raise UserError(f"mode=init: {here} can't be written: {error.strerror}; choose another folder") from error
    print("\n".join([f"wrote into {here}:", *(f"  {file}" for file in files), then]))
    return 0


def _template() -> dict[Path, bytes]:
    """The files of the template by their places in it; not what Python compiled where it was installed."""
    paths = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(TEMPLATE): path.read_bytes() for path in paths}


def _taken(here: Path, file: Path) -> Iterator[Path]:
    """What stands in the way of a file: itself, or another file in the place of a folder."""
    if (here / file).exists() or (here / file).is_symlink():
        yield file
    for folder in file.parents:
        if (here / folder).exists() and not (here / folder).is_dir():
            yield folder
