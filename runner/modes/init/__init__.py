"""`mode=init`: writes a project template, or the suggested configuration for a table, into the working folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.types import UserError
from runner.modes.init.table import make_table_files
from runner.override_text import overridden_key
from runner.terminal import write_line

if TYPE_CHECKING:
    from runner.config.config import Config

TEMPLATE = Path(__file__).parent / "template"
TEMPLATE_COMMANDS: tuple[str, ...] = (
    "export TITRATE_ALLOW=my_parts",
    "titrate experiment=rentals_residual",
    "titrate experiment=rentals_additive loss.quantile=0.9 folds=3",
)


def command(config: Config) -> int:
    """Writes the files, and prints their paths and the next commands. Returns the exit code.

    Raises:
        UserError: a file exists already, and nothing is written; or the folder can't be written.
    """
    folder = Path.cwd()
    if config.suggestion is None:
        if ignored := [word for word in config.overrides if overridden_key(word) not in ("mode", "quiet", "folder")]:
            raise UserError(
                f"mode=init: {', '.join(ignored)} would have no effect on the template. Leave this out; for the "
                "configuration of a table, write data=csv data.path=FILE data.target=COLUMN."
            )
        files = _read_template()
        readme = _choose_readme(folder)
        files[readme] = files.pop(Path("README.md"))
        heading, commands = f"Next, as {readme} says:", TEMPLATE_COMMANDS
        remedy = "use an empty folder"
    else:
        experiment, files = make_table_files(config, config.suggestion)
        heading, commands = "Next:", (f"titrate experiment={experiment}",)
        remedy = "remove or rename them"
    conflicts = list(dict.fromkeys(str(path) for file in files for path in _find_conflicts(folder, file)))
    if conflicts:
        raise UserError(f"mode=init: {folder} has {', '.join(conflicts)} already. Nothing was written: {remedy}.")
    _write_files(folder, files)
    write_line("\n".join([f"wrote into {folder}:", *(f"  {file}" for file in files)]))
    write_line("\n".join(["", heading, *(f"  {line}" for line in commands)]))
    return 0


def _write_files(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Writes files, none of which exists. Raises UserError, and removes what it wrote, if one can't be written."""
    written: list[Path] = []
    try:
        for file, content in files.items():
            for parent in reversed(file.parents[:-1]):
                if not (folder / parent).exists():
                    (folder / parent).mkdir()
                    written.append(folder / parent)
            written.append(folder / file)
            (folder / file).write_bytes(content)
    except OSError as error:
        for path in reversed(written):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        raise UserError(f"mode=init: {folder} can't be written: {error.strerror}. Choose another folder.") from error


def _choose_readme(folder: Path) -> Path:
    """The name of the template's README: another one in a folder that has a README, in any spelling."""
    has_readme = any(path.stem.lower() == "readme" for path in folder.iterdir())
    return Path("TITRATE.md" if has_readme else "README.md")


def _read_template() -> dict[Path, bytes]:
    """The template's files by relative path. Python may have compiled its module where Titrate is installed."""
    paths = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(TEMPLATE): path.read_bytes() for path in paths}


def _find_conflicts(root: Path, file: Path) -> Iterator[Path]:
    """The existing paths that keep a file from being written: the file itself, or files in place of its folders."""
    if (root / file).exists() or (root / file).is_symlink():
        yield file
    for folder in file.parents:
        if (root / folder).exists() and not (root / folder).is_dir():
            yield folder
