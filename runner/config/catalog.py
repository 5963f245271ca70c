"""What can be chosen: the options of every group, ours and those of the working folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.types import UserError
from runner import yaml_file
from runner.yaml_file import OPTION

HOUSE = Path(__file__).resolve().parents[2]  # holds conf/ and experiments/ beside this package
MAIN = HOUSE / "conf" / "run.yaml"
EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Catalog:
    """Files by group and option; `experiment` is one of the groups."""

    files: Mapping[str, Mapping[str, Path]]
    clashes: tuple[str, ...]  # files of the working folder that would take the place of ours


@functools.cache
def defaults() -> dict[str, Any]:
    """The groups in the order of `conf/run.yaml`, each with the option, or list of options, chosen there."""
    entries = yaml_file.read(MAIN, "conf/run.yaml", OPTION)["defaults"]
    return {group: option for entry in entries if isinstance(entry, dict) for group, option in entry.items()}


def catalog() -> Catalog:
    """Reads the folders; a name that both have stays ours, and is a clash unless the file is a copy of ours."""
    here = _here()
    ours = {group: _options(HOUSE, group) for group in defaults()}
    if here == HOUSE:
        return Catalog(ours, ())
    theirs = {group: _options(here, group) for group in ours}
    pairs = [(path, ours[group].get(name)) for group in ours for name, path in theirs[group].items()]
    pairs += [(path, MAIN) for path in (here / "conf").glob("run.yaml")]
    taken = [path for path, own in pairs if own and not _is_copy(path, own)]
    clashes = [f"{display_path(path)}: one of Titrate's own has that name; rename the file" for path in taken]
    return Catalog({group: dict(sorted((theirs[group] | ours[group]).items())) for group in ours}, tuple(clashes))


def display_path(path: Path) -> str:
    """A file as messages name it: from its house or from the working folder."""
    return str(path.relative_to(HOUSE if HOUSE in path.parents else _here()))


def misplaced(group: str, name: str) -> str | None:
    """What to do about a file of the working folder that was meant to be an option, but isn't; None: there is none."""
    folder = _folder(_here(), group)
    path, other = folder / f"{name}.yaml", folder / f"{name}.yml"
    if os.path.isfile(other):
        return f"rename {display_path(other)} to {path.name}"
    if os.path.islink(path) and not os.path.exists(path):
        return f"{display_path(path)} is a link to a file that is gone"
    for inner in sorted(one / path.name for one in folder.glob("*/")):
        if os.path.isfile(inner):
            return f"subfolders are not searched: move {display_path(inner)} to {display_path(folder / path.name)}"
    return None


def _here() -> Path:
    try:
        return Path.cwd().resolve()
    except FileNotFoundError as error:
        raise UserError("the working folder was deleted; cd into one that is there") from error


def _folder(root: Path, group: str) -> Path:
    return root / "experiments" if group == EXPERIMENT else root / "conf" / group


def _options(root: Path, group: str) -> dict[str, Path]:
    """The regular files of a group; an editor's locks and other hidden files are none."""
    found = sorted(_folder(root, group).glob("*.yaml"))
    return {path.stem: path for path in found if path.is_file() and not path.name.startswith(".")}


def _is_copy(path: Path, other: Path) -> bool:
    try:
        return path.stat().st_size == other.stat().st_size and path.read_bytes() == other.read_bytes()
    except OSError:
        return False
