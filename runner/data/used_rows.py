"""A source without the rows that are in no split, so that these are neither read into columns nor encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from components.types import Block, RowNumbers, Source, Strings, as_index
from components.types import locate_row as locate_source_row
from runner.data.columns import select_rows, take_rows
from runner.data.encode import block_rows, blocks_with_offsets


def find_used_rows(splits: Mapping[str, RowNumbers], total: int) -> np.ndarray | None:
    """The sorted rows of all splits. None: all rows are in a split."""
    is_used = np.zeros(total, bool)
    for rows in splits.values():
        is_used[as_index(rows)] = True
    return None if is_used.all() else np.flatnonzero(is_used)


def select_used(source: Source, rows: np.ndarray | None) -> Source:
    """A source of some rows of another one, with the methods that statistics and encoding need. None: all rows."""
    return source if rows is None else cast(Source, UsedRows(source, rows))


def locate_row(source: Source, row: int) -> str:
    """The location of a row, counted over all parts, for messages. Rows are read only if the source can't locate it."""
    if isinstance(source, UsedRows):
        return locate_row(source.source, int(source.rows[row]))
    return locate_source_row(source, row)


def read_value(source: Source, name: str, row: int) -> Any:
    """The value of a raw column in a row; None: the source has no such column of single values."""
    for offset, block in blocks_with_offsets(source):
        if row < offset + block_rows(block):
            values = take_rows(block.columns[name], np.array([row - offset])) if name in block.columns else None
            return values.tolist()[0] if isinstance(values, np.ndarray | Strings) else None
    return None


@dataclass(frozen=True, eq=False)
class UsedRows:
    """Some rows of a source.

    Attributes:
        source: the source.
        rows: the rows, sorted int64. Row i of this source is row `rows[i]` of the other one.
    """

    source: Source
    rows: np.ndarray

    def sizes(self) -> Mapping[str, int]:
        return {part: len(rows) for part, rows in self._rows_by_part().items()}

    def blocks(self, part: str) -> Iterator[Block]:
        rows, start = self._rows_by_part()[part], 0
        for block in self.source.blocks(part):
            stop = start + block_rows(block)
            low, high = np.searchsorted(rows, (start, stop))
            if high - low == stop - start:
                yield block
            elif high > low:
                yield select_rows(block, rows[low:high] - start)
            start = stop

    def _rows_by_part(self) -> dict[str, np.ndarray]:
        """The rows of each part, counted from its start."""
        result, start = {}, 0
        for part, size in self.source.sizes().items():
            low, high = np.searchsorted(self.rows, (start, start + size))
            result[part] = self.rows[low:high] - start
            start += size
        return result
