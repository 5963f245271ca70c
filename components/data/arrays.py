"""Rows given from Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from components.data.table import Table
from components.types import DataError, Ragged, Range, Strings, Values


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays(Table):
    """Columns that are arrays already: `{"x": …, "y": …}`, or by part, `{"train": {…}, "test": {…}}`.

    A column is anything that NumPy makes an array of, the rows along its first axis; `Strings` or `Ragged`.
    """

    columns: Mapping[str, Any]
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def content(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        for part, columns in self.columns_by_part.items():
            for name, values in columns.items():
                for array in _leaves(values):
                    content.update(f"{part}/{name} {array.dtype} {array.shape}".encode())
                    content.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
        return content.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {part: _rows(next(iter(columns.values()))) for part, columns in self.columns_by_part.items()}

    def origin(self, part: str) -> str:
        return "the arrays" if part == "all" else f"the {part} arrays"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        given = self.columns if self._has_parts() else {"all": self.columns}
        parts = {part: {name: _array(name, column) for name, column in given[part].items()} for part in given}
        for part, columns in parts.items():
            rows = {name: _rows(column) for name, column in columns.items()}
            if len(set(rows.values())) != 1:
                raise DataError(f"{self.origin(part)} must have columns with as many rows each, not {rows}")
        if len({frozenset(columns) for columns in parts.values()}) > 1:
            named = "; ".join(f"{part}: {', '.join(columns)}" for part, columns in parts.items())
            raise DataError(f"the parts have different columns ({named})")
        return parts

    def _has_parts(self) -> bool:
        parts = self.columns.values()
        return set(self.columns) == {"train", "test"} and all(isinstance(part, Mapping) for part in parts)


def _array(name: str, column: Any) -> Values:
    if isinstance(column, Ragged | Strings):
        return column
    try:
        array = np.array(column, object) if _is_text(column) else np.asarray(column)
    except ValueError as error:
        raise DataError(f"column `{name}` is no array; `Ragged` holds rows of different lengths") from error
    if array.ndim == 0:
        raise DataError(f"column `{name}` is {column!r}, not an array of rows")
    if isinstance(column, list | tuple) and _changed(array, column):
        return np.array(column, object)
    return array


def _is_text(column: Any) -> bool:
    """Whether a list begins with text: NumPy would cut NULs off it, and give each as much memory as the longest."""
    return isinstance(column, list | tuple) and len(column) > 0 and isinstance(column[0], str | bytes)


def _changed(array: np.ndarray, column: Any) -> bool:
    """Whether NumPy has made text of a list's numbers, or rounded its integers beyond 64 bits."""
    if array.dtype.kind in "US":
        return True
    return len(column) > 0 and array.dtype == np.float64 and all(isinstance(one, int) for one in column)


def _rows(values: Values) -> int:
    if isinstance(values, Strings):
        return values.rows
    return len(values.offsets) - 1 if isinstance(values, Ragged) else len(values)


def _leaves(values: Values) -> Iterator[np.ndarray]:
    """The arrays that make up a column."""
    if isinstance(values, np.ndarray):
        yield values
    else:
        for part in values:
            yield from () if part is None else _leaves(part)
