"""What a run's columns learned, and how they encode rows, as one file in its folder: new rows need no old ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.types import Constants, Encoded, Ragged, UserError
from runner import npz

FILE = "transform.npz"
VERSION = 1


class Form(NamedTuple):
    """What an array of a column has for each row."""

    dtype: str
    shape: tuple[int, ...]  # of a ragged one that of an element
    ragged: bool

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}" + (" in any number" if self.ragged else "")


def forms(encoded: Mapping[str, Mapping[str, Encoded]]) -> dict[str, dict[str, Form]]:
    """The forms of the arrays of columns, by name."""
    return {name: {key: _form(values) for key, values in arrays.items()} for name, arrays in encoded.items()}


def save(folder: Path, constants: Mapping[str, Constants], formed: Mapping[str, Mapping[str, Form]]) -> None:
    """Writes the constants of columns, and the forms of those that are encoded."""
    arrays: dict[str, np.ndarray] = {}
    for name, learned in constants.items():
        for side, values in (("host", learned.host), ("device", learned.device)):
            arrays |= {f"{name}/{side}/{key}": value for key, value in values.items()}
    columns = {name: dict(learned.static) for name, learned in constants.items()}
    npz.write(folder / FILE, arrays, {"version": VERSION, "columns": columns, "forms": formed})


def load(folder: Path) -> tuple[dict[str, Constants], dict[str, dict[str, Form]]]:
    """What `save` wrote, lists as tuples; raises UserError where the file is missing or of another version."""
    path = folder / FILE
    try:
        meta, arrays = npz.read(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: that run was broken off before it began") from error
    if meta["version"] != VERSION:
        raise UserError(f"{path} has version {meta['version']}, this Titrate reads {VERSION}: train the run again")
    found: dict[str, Any] = {name: Constants({}, {}, _tuples(static)) for name, static in meta["columns"].items()}
    for name, array in arrays.items():
        column, side, key = name.rsplit("/", 2)
        getattr(found[column], side)[key] = array
    formed = {
        name: {key: Form(*form) for key, form in arrays.items()} for name, arrays in _tuples(meta["forms"]).items()
    }
    return found, formed


def _form(values: Encoded) -> Form:
    array = values.values if isinstance(values, Ragged) else values
    return Form(str(array.dtype), array.shape[1:], isinstance(values, Ragged))


def _tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _tuples(value) for key, value in node.items()}
    return tuple(map(_tuples, node)) if isinstance(node, list) else node
