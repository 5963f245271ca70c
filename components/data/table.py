"""The base class of sources whose rows fit into memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.data.splitting import SplitOptions
from components.types import Block, Ragged, Strings, Values, row_count

# The maximum size of a block, which should fit into the processor's cache.
BLOCK_ROWS = 1 << 17
BLOCK_BYTES = 1 << 22
COLUMN_BYTES = 1 << 15  # of a column: blocks of wide tables may be larger, because each array takes some Python code


@dataclass(frozen=True, kw_only=True)
class Table(SplitOptions):
    """A source that reads all its rows into memory, and splits them.

    The parts of a source are `train`, and those of `valid` and `test` that it has, or only `all`.
    """

    @abstractmethod
    def content_digest(self) -> str:
        """A digest that changes when the rows change. It should be cheap to compute."""

    @abstractmethod
    def read(self) -> Mapping[str, Mapping[str, Values]]:
        """Reads all columns, by part and column name."""

    @abstractmethod
    def origin(self, part: str) -> str:
        """The name of a part for messages."""

    def fingerprint(self) -> str:
        """A digest that changes when the rows or the splits change."""
        return f"{self.content_digest()}, {self.describe_splits()}"

    @cached_property
    def columns_by_part(self) -> Mapping[str, Mapping[str, Values]]:
        """The result of `read`. It is kept, because the rows are needed several times."""
        return self.read()

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of a part in consecutive blocks."""
        columns = self.columns_by_part[part]
        for first, stop in _find_bounds(columns, self.sizes()[part]):
            yield self.make_block(
                part, {name: slice_rows(values, first, stop) for name, values in columns.items()}, first
            )

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        """Makes a block of consecutive rows of a part; `first_row` is the position of the first in the part."""
        rows = slice(first_row, first_row + row_count(next(iter(columns.values()))))
        valid = {name: mask[rows] for name, mask in self.masks(part).items()}
        return Block(columns, valid, self.origin(part), first_row)

    def masks(self, part: str) -> Mapping[str, np.ndarray]:
        """The masks of the columns of a part with missing values: (rows,), bool, False where a value is missing."""
        return {}

    def key_columns(self) -> Iterator[tuple[Mapping[str, Values], Mapping[str, np.ndarray]]]:
        for part in self.sizes():
            yield self.columns_by_part[part], self.masks(part)

    def locate_row(self, row: int) -> str:
        for part, size in self.sizes().items():
            if row < size:
                columns = {
                    name: slice_rows(values, row, row + 1) for name, values in self.columns_by_part[part].items()
                }
                return self.make_block(part, columns, row).locate(0)
            row -= size
        raise IndexError(row)


@dataclass(frozen=True, kw_only=True)
class LocatedBlock(Block):
    """A block whose rows are located, such as by their lines in a file, only for messages.

    Attributes:
        locate_row: describes the location of a row, counted from the start of the part.
    """

    locate_row: Callable[[int], str]

    def locate(self, row: int) -> str:
        return self.locate_row(self.first_row + row)


def _find_bounds(columns: Mapping[str, Values], rows: int) -> Iterator[tuple[int, int]]:
    """Yields the first row and the end of each block.

    A block has at most BLOCK_ROWS rows, and BLOCK_BYTES bytes or COLUMN_BYTES for each column, or one row.
    """
    max_bytes = max(BLOCK_BYTES, COLUMN_BYTES * len(columns))
    fixed_bytes = sum(_row_bytes(values) for values in columns.values())  # of a row
    varying = [values for values in columns.values() if not _row_bytes(values)]  # rows have different lengths
    offsets = sum((_byte_offsets(values) for values in varying), start=np.zeros(1, np.int64))
    max_rows = max(min(BLOCK_ROWS, max_bytes // max(fixed_bytes, 1)), 1)
    first = 0
    while first < rows:
        stop = min(first + max_rows, rows)
        if varying:
            free_bytes = max_bytes - fixed_bytes * (stop - first)
            stop_by_bytes = int(np.searchsorted(offsets, offsets[first] + free_bytes, side="right")) - 1
            stop = min(stop, max(stop_by_bytes, first + 1))
        yield first, stop
        first = stop


def _byte_offsets(values: Any) -> np.ndarray:
    """The offset of the first byte of each row, then the number of bytes of all rows: (rows + 1,)."""
    if isinstance(values, Ragged):
        return _byte_offsets(values.values)[values.offsets]
    if isinstance(values, Strings) and values.indices is None:
        return values.offsets - values.offsets[0]
    return np.arange((values.rows if isinstance(values, Strings) else len(values)) + 1) * _row_bytes(values)


def _row_bytes(values: Any) -> int:
    """The number of bytes of each row; 0 if rows have different lengths."""
    if isinstance(values, Strings):
        return 0 if values.indices is None else values.indices.itemsize
    return 0 if isinstance(values, Ragged) else values.nbytes // max(len(values), 1)


def slice_rows(values: Any, start: int, stop: int) -> Any:
    """The rows of a column from `start` to before `stop`."""
    if isinstance(values, Strings) and values.indices is not None:
        return values._replace(indices=values.indices[start:stop])
    if not isinstance(values, Ragged | Strings):
        return values[start:stop]
    offsets = values.offsets[start : stop + 1]
    low, high = int(offsets[0]), int(offsets[-1])
    if isinstance(values, Strings):
        return Strings(values.data[low:high], offsets - low)
    return Ragged(slice_rows(values.values, low, high), offsets - low)
