"""The source for columns in memory, from Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from components.columns import Columns, as_columns, as_table, is_table
from components.data.table import Table
from components.types import DataError, Range, Values, row_count

PIECE_ROWS = 1 << 12  # of Python objects are digested at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays(Table):
    """Columns in memory: `{"x": …, "y": …}`, or by part, `{"train": {…}, "test": {…}}`, also with `valid`.

    Attributes:
        columns: a mapping of columns by name, a data frame of pandas, Polars or Arrow, or a table with Arrow's
            PyCapsule interface; or one of these by part. A column is anything that NumPy converts to an array whose
            first axis is the rows, `Strings`, `Ragged`, or a column of pandas, Polars or Arrow.
    """

    columns: Mapping[str, Any] | Any
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def __post_init__(self) -> None:
        tables = {part: as_table(each) for part, each in self.columns.items()} if self._has_parts() else self.columns
        object.__setattr__(self, "columns", as_table(tables))

    def content_digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for part, (columns, valid) in self._parts.items():
            for name, values in columns.items():
                for array in [*list_arrays(values), *([valid[name]] if name in valid else [])]:
                    digest.update(f"{part}/{name} {array.dtype} {array.shape}".encode())
                    update_digest(digest, array)
        return digest.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {part: row_count(next(iter(columns.values()))) for part, columns in self.columns_by_part.items()}

    def origin(self, part: str) -> str:
        return "the arrays" if part == "all" else f"the {part} arrays"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {part: columns.values for part, columns in self._parts.items()}

    def masks(self, part: str) -> Mapping[str, np.ndarray]:
        return self._parts[part].valid

    @cached_property
    def _parts(self) -> Mapping[str, Columns]:
        tables = self.columns if self._has_parts() else {"all": self.columns}
        parts = {part: as_columns(tables[part], self.origin(part)) for part in tables}
        if not all(columns.values for columns in parts.values()):
            raise DataError(f"{self.origin(next(iter(parts)))} must have columns")
        if len({frozenset(columns.values) for columns in parts.values()}) > 1:
            names = "; ".join(f"{part}: {', '.join(columns.values)}" for part, columns in parts.items())
            raise DataError(f"the parts must have the same columns, got {names}")
        return parts

    def _has_parts(self) -> bool:
        if not isinstance(self.columns, Mapping):
            return False
        is_parts = {"train", "test"} <= set(self.columns) <= {"train", "valid", "test"}
        return is_parts and all(map(is_table, self.columns.values()))


def list_arrays(values: Values) -> Iterator[np.ndarray]:
    """Yields the arrays that a column consists of."""
    if isinstance(values, np.ndarray):
        yield values
    else:
        for field in values:
            if field is not None:
                yield from list_arrays(field)


def update_digest(digest: hashlib.blake2b, array: np.ndarray) -> None:
    """Adds the values of an array to a digest."""
    if not array.dtype.hasobject:
        whole = np.ascontiguousarray(array)
        digest.update(whole.data if array.dtype.kind in "biufcSU" and array.itemsize else array.tobytes())
    elif not any(map(_holds_array, array.flat)):
        for text in _format_objects(array):
            digest.update(text.encode())
    else:
        for value in array.flat:
            _update_nested(digest, value)


def _format_objects(array: np.ndarray) -> Iterator[str]:
    """Yields `repr(array.tolist())` in pieces: a single wide character makes all of a text take 4 bytes each."""
    if array.ndim == 0:
        yield repr(array.tolist())
        return
    for start in range(0, max(len(array), 1), PIECE_ROWS):
        yield ", " if start else "["
        yield repr(array[start : start + PIECE_ROWS].tolist())[1:-1]
    yield "]"


def _update_nested(digest: hashlib.blake2b, value: Any) -> None:
    """Adds a value that may hold arrays to a digest. `repr` rounds their numbers, and leaves out most of many."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}".encode())
        update_digest(digest, value)
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} values".encode())
        for element in value:
            _update_nested(digest, element)
    else:
        digest.update(repr(value).encode() + b"\0")


def _holds_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list | tuple) and any(map(_holds_array, value)))
