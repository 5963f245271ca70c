"""The options of every group: Titrate's, and those of the working folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.types import UserError
from runner import yaml_file
from runner.signature.schema import LISTS
from runner.yaml_file import OPTION_LIMITS

INSTALL_FOLDER = Path(__file__).resolve().parents[2]  # the folder of conf/ and experiments/
RUN_YAML = INSTALL_FOLDER / "conf" / "run.yaml"
EXPERIMENT = "experiment"
MAX_TITLE_LENGTH = 10_000  # characters of a line of an option's title
SENTENCE_END = (".", "?", "!", ")")
IMAGE_FOLDERS, IMAGE_TABLE = "components.data.ImageFolders", "components.data.ImageTable"
FRAME, TABLE_FILE = "components.data.Frame", "components.data.TableFile"  # tables from Python, and in files
TABLES_IN_FILES = ("components.data.Csv", TABLE_FILE, IMAGE_TABLE, "components.data.Sql")  # or in a database
MIXED = "components.data.Mixed"
RUN_FEATURES = "components.data.RunFeatures"
FROM_PYTHON = "from_python"  # the option of `data` for a table that a call from Python passes
OPTION = "option"  # the key of an option's name beside values of its parameters


@dataclass(frozen=True)
class Catalog:
    """The files of all options.

    Attributes:
        files: the file of each option, by group and name. `experiment` is one of the groups.
        clashes: a problem for each file of the working folder that has the name of one of Titrate's.
    """

    files: Mapping[str, Mapping[str, Path]]
    clashes: tuple[str, ...]


def add_python_table(catalog: Catalog) -> Catalog:
    """The options of a call from Python that passes a table."""
    path = Path(__file__).parent / f"{FROM_PYTHON}.yaml"
    return replace(catalog, files={**catalog.files, "data": {**catalog.files["data"], FROM_PYTHON: path}})


@functools.cache
def read_default_options() -> dict[str, Any]:
    """The default option, or list of options, of each group, in the order of `conf/run.yaml`."""
    defaults: dict[str, Any] = {}
    for entry in yaml_file.read(RUN_YAML, "conf/run.yaml", OPTION_LIMITS)["defaults"]:
        if isinstance(entry, dict):
            defaults |= entry
    return defaults


def list_groups() -> list[str]:
    """The names of all groups: those of `conf/run.yaml`, and those of the elements of lists."""
    data, *others = read_default_options()
    return [data, *LISTS.values(), *others]


def find_options() -> Catalog:
    """Finds Titrate's options and those of the working folder.

    A name that both have refers to Titrate's file. It is a clash unless the files are equal.
    """
    folder = _working_folder()
    ours = {group: _find_group_options(INSTALL_FOLDER, group) for group in list_groups()}
    if folder == INSTALL_FOLDER:
        return Catalog(ours, ())
    users = {group: _find_group_options(folder, group) for group in ours}
    pairs = [(path, ours[group].get(name)) for group in ours for name, path in users[group].items()]
    pairs += [(path, RUN_YAML) for path in (folder / "conf").glob("run.yaml")]
    clashing = [path for path, our_path in pairs if our_path and not _is_copy(path, our_path)]
    clashes = [f"{display_path(path)}: Titrate has a file of that name. Rename your file." for path in clashing]
    return Catalog({group: dict(sorted((users[group] | ours[group]).items())) for group in ours}, tuple(clashes))


def read_title(path: Path) -> str:
    """The comment at the start of a YAML file, to the end of its sentence; "" if there is none."""
    return _read_comment(path)[0]


def read_notes(path: Path) -> str:
    """The comment at the start of a YAML file, after its title; "" if there is no more."""
    return _read_comment(path)[1]


def _read_comment(path: Path) -> tuple[str, str]:
    """The comment at the start of a YAML file: the lines to the end of its sentence, and those after it."""
    title: list[str] = []
    notes: list[str] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            while (line := file.readline(MAX_TITLE_LENGTH)).startswith("#"):
                (notes if _is_complete(title) else title).append(line.removeprefix("#").strip())
    except OSError as error:
        return f"can't be read: {error.strerror}", ""
    return " ".join(title).removeprefix("Question:").strip(), " ".join(notes)


def _is_complete(lines: list[str]) -> bool:
    """Whether the lines of a comment end with a sentence."""
    return bool(lines) and lines[-1].endswith(SENTENCE_END)


def display_path(path: Path) -> str:
    """The path of a file in messages: relative to Titrate's folder, or to the working folder."""
    return str(path.relative_to(INSTALL_FOLDER if INSTALL_FOLDER in path.parents else _working_folder()))


def explain_missing_option(group: str, name: str) -> str | None:
    """A remedy for a missing option if the working folder has a file for it that is not read; None: it has no file."""
    if (group, name) == ("data", FROM_PYTHON):
        return "The data of this run came from Python. Pass it again, as in runner.run(…, data=…)."
    if (stem := Path(name).stem) != name and Path(name).suffix == ".yaml" and stem in find_options().files[group]:
        return f"Write {stem}, the name of the option"
    folder = _group_folder(_working_folder(), group)
    path, yml_path = folder / f"{name}.yaml", folder / f"{name}.yml"
    if os.path.isfile(yml_path):
        return f"Rename {display_path(yml_path)} to {path.name}."
    if os.path.islink(path) and not os.path.exists(path):
        return f"{display_path(path)} is a link to a file that does not exist."
    for inner in sorted(subfolder / path.name for subfolder in folder.glob("*/")):
        if os.path.isfile(inner):
            return f"Subfolders are not searched. Move {display_path(inner)} to {display_path(folder / path.name)}."
    return None


def _working_folder() -> Path:
    try:
        return Path.cwd().resolve()
    except FileNotFoundError as error:
        raise UserError("the working folder was deleted. Change into an existing folder.") from error


def _group_folder(root: Path, group: str) -> Path:
    return root / "experiments" if group == EXPERIMENT else root / "conf" / group


def _find_group_options(root: Path, group: str) -> dict[str, Path]:
    """The files of a group by option. Hidden files, such as an editor's locks, are left out."""
    folder = _group_folder(root, group)
    try:
        with os.scandir(folder) as entries:  # ten times faster than `glob`
            names = [entry.name for entry in entries if entry.name.endswith(".yaml") and entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name.removesuffix(".yaml"): folder / name for name in sorted(names) if not name.startswith(".")}


def _is_copy(path: Path, other: Path) -> bool:
    try:
        return path.stat().st_size == other.stat().st_size and path.read_bytes() == other.read_bytes()
    except OSError:
        return False
