"""Raw columns given from Python, as much of a source as encoding needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from components.types import Block, DataError, Ragged, Source, Strings, Values
from runner.rows import length, take

BLOCK_ROWS = 1 << 17
ORIGIN = "the new rows"


def given(columns: Mapping[str, Any]) -> Source:
    """A source of raw columns, the rows of each along its first axis; raises DataError where they don't fit."""
    return cast(Source, _NewRows({name: _array(name, column) for name, column in columns.items()}))


@dataclass(frozen=True)
class _NewRows:
    columns: Mapping[str, Values]

    def __post_init__(self) -> None:
        counts = {name: length(values) for name, values in self.columns.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"the columns of new rows must have as many rows each, not {counts}")

    @property
    def count(self) -> int:
        return length(next(iter(self.columns.values()))) if self.columns else 0

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.count}

    def blocks(self, part: str) -> Iterator[Block]:
        for first in range(0, self.count, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, self.count))
            yield Block({name: take(values, rows) for name, values in self.columns.items()}, origin=ORIGIN, first=first)


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
