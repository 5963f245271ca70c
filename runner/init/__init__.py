"""`mode=init`: makes the working folder a project of its own, with a part of each kind to edit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.types import UserError

if TYPE_CHECKING:
    from runner.compose import Config

TEMPLATE = Path(__file__).parent / "template"
NEXT = """
Next, as README.md says:
  export TITRATE_ALLOW=my_parts
  titrate experiment=rentals_residual
  titrate experiment=rentals_additive loss.quantile=0.9 folds=3"""


def command(config: Config) -> int:
    """Copies the template into the working folder, and tells what it wrote and what to do next.

    Raises UserError where one of its files, or something in the place of its folders, is there already; then nothing
    is written.
    """
    here = Path.cwd()
    files = list(_files())
    taken = list(dict.fromkeys(str(place) for file in files for place in _taken(here, file)))
    if taken:
        raise UserError(f"mode=init: {here} has {', '.join(taken)} already; nothing was written: use an empty folder")
    try:
        for file in files:
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(TEMPLATE / file, here / file)
    except OSError as error:
        raise UserError(f"mode=init: {here} can't be written: {error.strerror}; choose another folder") from error
    print("\n".join([f"wrote into {here}:", *(f"  {file}" for file in files), NEXT]))
    return 0


def _files() -> Iterator[Path]:
    """The files of the template, relative to it; not what Python compiled where it was installed."""
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(TEMPLATE)


def _taken(here: Path, file: Path) -> Iterator[Path]:
    """What stands in the way of a file: itself, or another file in the place of a folder."""
    if (here / file).exists() or (here / file).is_symlink():
        yield file
    for folder in file.parents:
        if (here / folder).exists() and not (here / folder).is_dir():
            yield folder
