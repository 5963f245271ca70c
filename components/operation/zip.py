"""Adds columns of another source, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from components.operation.other_source import (
    AddsColumns,
    OtherBlock,
    add_columns,
    check_distinct,
    read_all_rows,
)
from components.tracked_block import TrackedBlock
from components.types import DataError, LeavesOut


@dataclass(frozen=True, kw_only=True)
class Zip(AddsColumns):
    """Adds columns of another source, which has as many rows: row i gets the values of row i there.

    The rows are numbered as in the sources, whatever operations before leave out. New rows have the columns themselves.

    Attributes:
        other: the other source: an option of `data` with its fields. If it has several parts, they have as many rows as
            those of the data.
        columns: its columns to add; or each with the name that it gets, as {size: store_size}.
    """

    applies_to_new_rows: ClassVar[bool] = False
    columns_read: ClassVar[Collection[str]] = ()

    def __post_init__(self) -> None:
        check_distinct([*self._columns.values()])

    @cached_property
    def _table(self) -> OtherBlock:
        return read_all_rows(self.opened, [*self._columns])

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        is_checked = False
        for block in blocks:
            if not is_checked:
                self._check_rows(block)
                is_checked = True
            yield add_columns(block, self._table, block.source_rows, self._columns)

    def _check_rows(self, block: TrackedBlock) -> None:
        """Raises DataError unless both sources have all rows, and as many in each part."""
        assert block.source is not None
        for source, origin in ((block.source, block.origin), (self.opened, self._table.origin)):
            if isinstance(source, LeavesOut) and source.row_numbers() is not None:
                left_out = "; ".join(source.left_out())
                raise DataError(f"{origin} doesn't have all of its rows ({left_out}), so row i isn't row i there")
        sizes, other_sizes = block.source.sizes(), self.opened.sizes()
        if [*sizes.values()] != [*other_sizes.values()]:
            counts = [", ".join(f"{part} {rows:,}" for part, rows in each.items()) for each in (sizes, other_sizes)]
            raise DataError(
                f"{block.origin} and {self._table.origin} have different numbers of rows: "
                f"{counts[0]}, and {counts[1]}. "
                "They must have as many rows; `join` finds the rows by a key"
            )
