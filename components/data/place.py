"""Where files of data are looked up."""

from __future__ import annotations

import os
from pathlib import Path

from components.types import DataError


def places(path: str) -> list[Path]:
    """What a path may mean: a relative one is below $TITRATE_DATA, else below the working folder."""
    roots = [Path(root) for root in (os.environ.get("TITRATE_DATA"), Path.cwd()) if root]
    return list(dict.fromkeys(root / Path(path).expanduser() for root in roots))


def find(path: str) -> Path:
    """The first of its places where there is a file or a folder; raises DataError where there is none."""
    for place in places(path):
        if place.exists():
            return place
    raise DataError(
        f"there is no {' and no '.join(map(str, places(path)))}; set TITRATE_DATA to the folder that holds {path}, "
        "or data.path to where it is"
    )
