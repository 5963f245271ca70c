"""What can be chosen: the options of every group, ours and those of the working folder."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HOUSE = Path(__file__).resolve().parent.parent  # holds conf/ and experiments/ beside this package
EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Catalog:
    """Files by group and option; `experiment` is one of the groups."""

    files: Mapping[str, Mapping[str, Path]]
    clashes: tuple[str, ...]  # files of the working folder that would take the place of ours


@functools.cache
def defaults() -> dict[str, Any]:
    """The groups in the order of `conf/run.yaml`, each with the option, or list of options, chosen there."""
    entries = yaml.safe_load((HOUSE / "conf" / "run.yaml").read_text(encoding="utf-8"))["defaults"]
    return {group: option for entry in entries if isinstance(entry, dict) for group, option in entry.items()}


def catalog() -> Catalog:
    """Reads the folders; a name that both have stays ours, and is a clash unless the file is a copy of ours."""
    here = Path.cwd().resolve()
    ours = {group: _options(HOUSE, group) for group in defaults()}
    if here == HOUSE:
        return Catalog(ours, ())
    theirs = {group: _options(here, group) for group in ours}
    pairs = [(path, ours[group].get(name)) for group in ours for name, path in theirs[group].items()]
    pairs += [(path, HOUSE / "conf" / "run.yaml") for path in (here / "conf").glob("run.yaml")]
    taken = [path for path, own in pairs if own and path.read_bytes() != own.read_bytes()]
    clashes = [f"{shown(path)}: one of Titrate's own has that name; rename the file" for path in taken]
    return Catalog({group: dict(sorted((theirs[group] | ours[group]).items())) for group in ours}, tuple(clashes))


def shown(path: Path) -> str:
    """A file as messages name it: from its house or from the working folder."""
    return str(path.relative_to(HOUSE if HOUSE in path.parents else Path.cwd().resolve()))


def _options(root: Path, group: str) -> dict[str, Path]:
    folder = root / "experiments" if group == EXPERIMENT else root / "conf" / group
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
