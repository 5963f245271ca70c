"""Rows given from Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from components.data.table import Table
from components.types import DataError, Range, Values, as_column, row_count


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
        return {part: row_count(next(iter(columns.values()))) for part, columns in self.columns_by_part.items()}

    def origin(self, part: str) -> str:
        return "the arrays" if part == "all" else f"the {part} arrays"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        given = self.columns if self._has_parts() else {"all": self.columns}
        parts = {part: {name: as_column(name, column) for name, column in given[part].items()} for part in given}
        for part, columns in parts.items():
            rows = {name: row_count(column) for name, column in columns.items()}
            if len(set(rows.values())) != 1:
                raise DataError(f"{self.origin(part)} must have columns with as many rows each, not {rows}")
        if len({frozenset(columns) for columns in parts.values()}) > 1:
            named = "; ".join(f"{part}: {', '.join(columns)}" for part, columns in parts.items())
            raise DataError(f"the parts have different columns ({named})")
        return parts

    def _has_parts(self) -> bool:
        parts = self.columns.values()
        return set(self.columns) == {"train", "test"} and all(isinstance(part, Mapping) for part in parts)


def _leaves(values: Values) -> Iterator[np.ndarray]:
    """The arrays that make up a column."""
    if isinstance(values, np.ndarray):
        yield values
    else:
        for part in values:
            yield from () if part is None else _leaves(part)
