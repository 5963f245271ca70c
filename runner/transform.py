"""What a run's columns learned, as one file in its folder: new rows are encoded by it without the old ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.types import Constants, UserError

FILE = "transform.npz"
VERSION = 1


def save(folder: Path, constants: Mapping[str, Constants]) -> None:
    """Writes the constants of columns, by name, whole or not at all."""
    arrays: dict[str, Any] = {}
    for name, learned in constants.items():
        for side, values in (("host", learned.host), ("device", learned.device)):
            arrays |= {f"{name}/{side}/{key}": value for key, value in values.items()}
    columns = {name: dict(learned.static) for name, learned in constants.items()}
    meta = json.dumps({"version": VERSION, "columns": columns})
    temporary = folder / f"{FILE}.tmp"
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, meta=np.frombuffer(meta.encode(), np.uint8), **arrays)
    temporary.replace(folder / FILE)


def load(folder: Path) -> dict[str, Constants]:
    """What `save` wrote, lists as tuples; raises UserError where the file is missing or of another version."""
    path = folder / FILE
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: that run was broken off before it began") from error
    meta = json.loads(arrays.pop("meta").tobytes())
    if meta["version"] != VERSION:
        raise UserError(f"{path} has version {meta['version']}, this Titrate reads {VERSION}: train the run again")
    found: dict[str, Any] = {name: Constants({}, {}, _tuples(static)) for name, static in meta["columns"].items()}
    for name, array in arrays.items():
        column, side, key = name.rsplit("/", 2)
        getattr(found[column], side)[key] = array
    return found


def _tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _tuples(value) for key, value in node.items()}
    return tuple(map(_tuples, node)) if isinstance(node, list) else node
