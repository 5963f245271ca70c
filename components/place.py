"""Where the files that a configuration names are looked up."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from components.types import DataError


def roots() -> list[Path]:
    """The folders below which relative paths are looked up, in their order."""
    return [Path(root) for root in (os.environ.get("TITRATE_DATA"), Path.cwd()) if root]


def find(*paths: str, file: bool = False, key: str = "data.path") -> Path:
    """Where one of some paths is: relative ones are looked up below $TITRATE_DATA, then below the working folder.

    Args:
        paths: of a file or a folder; in each place the first that is there counts.
        file: whether a folder won't do.
        key: what names the path in the configuration, for the message.

    Raises DataError where there is none, with the nearest name beside it.
    """
    folders = roots()
    places = list(dict.fromkeys(root / Path(path).expanduser() for root in folders for path in paths))
    for place in places:
        if place.is_file() if file else place.exists():
            return place
    others = [name for name in _beside(places) if name != places[0].name]
    near = difflib.get_close_matches(places[0].name, others, n=1)
    remedy = f"set TITRATE_DATA to the folder that holds {paths[0]}, or correct {key}"
    hint = f"did you mean {Path(paths[0]).parent / near[0]}?" if near else remedy
    raise DataError(f"there is no {'file ' if file else ''}{' or '.join(map(str, places))}; {hint}")


def _beside(places: Iterable[Path]) -> list[str]:
    """What the folders hold in which something was looked up; a folder that can't be read holds nothing."""
    names: list[str] = []
    for folder in dict.fromkeys(place.parent for place in places):
        try:
            names += os.listdir(folder)
        except OSError:
            continue
    return names
