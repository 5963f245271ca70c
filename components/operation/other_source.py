"""The rows of another source, which operations read beside those of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from components.operation.columns import check_columns
from components.operation.gaps import take_or_gap
from components.tracked_block import TrackedBlock, concatenate_column, concatenate_masks
from components.types import (
    Block,
    DataError,
    FieldError,
    OpensSource,
    SkipsRows,
    Source,
    Values,
    locate_row,
    row_count,
)


@dataclass(frozen=True, kw_only=True)
class OtherBlock(Block):
    """All rows of another source.

    Attributes:
        locate_row: describes the location of a row.
    """

    locate_row: Callable[[int], str]

    def locate(self, row: int) -> str:
        return self.locate_row(row)


@dataclass(frozen=True, kw_only=True)
class AddsColumns:
    """An operation that adds columns of another source.

    Attributes:
        other: the other source.
        columns: its columns to add; or each with the name that it gets.
    """

    other: Source
    columns: str | tuple[str, ...] | dict[str, str]

    @property
    def _columns(self) -> dict[str, str]:
        return read_names("columns", self.columns, "[size] or {size: store_size}")

    @property
    def columns_computed(self) -> Collection[str]:
        return self._columns.values()

    @cached_property
    def opened(self) -> Source:
        """The other source, for the format of its file. Raises DataError if the file can't be read."""
        return self.other.open() if isinstance(self.other, OpensSource) else self.other


def read_all_rows(source: Source, names: Sequence[str]) -> OtherBlock:
    """Reads columns of all parts of an opened source into memory.

    Raises:
        DataError: there is no such column, or no row, or a row can't be read, or a column has files.
    """
    read = source.with_used_columns(names) if isinstance(source, SkipsRows) else source
    blocks = [_select(block, names) for part in read.sizes() for block in read.blocks(part)]
    if not blocks:
        raise DataError("the other source has no rows")
    columns = {name: concatenate_column(name, [block.columns[name] for block in blocks]) for name in names}
    valid = concatenate_masks(blocks, [row_count(block.columns[names[0]]) for block in blocks])
    return OtherBlock(columns, valid, blocks[0].origin, locate_row=partial(locate_row, read))


def add_columns(block: TrackedBlock, other: OtherBlock, rows: np.ndarray, names: Mapping[str, str]) -> TrackedBlock:
    """The rows of a block with columns of another source.

    Args:
        block: the rows.
        other: the rows of the other source.
        rows: for each row of the block, the row of the other source, int64. -1: its columns are missing.
        names: the columns of the other source that are added, each with the name that it gets.

    Raises:
        DataError: the block has a column of this name, too.
    """
    columns, valid = dict[str, Values](), dict[str, np.ndarray | None]()
    for name, new_name in names.items():
        if block.has_column(new_name):
            raise DataError(
                f"{block.origin} has a column `{new_name}`, too. Give that of {other.origin} another name: "
                f"columns: {{{name}: other_{new_name}}}"
            )
        columns[new_name], valid[new_name] = take_or_gap(other.columns[name], other.valid.get(name), rows)
    return block.with_columns(columns, valid)


def _select(block: Block, names: Sequence[str]) -> Block:
    for name in names:
        check_columns([name], block)
        if name in block.files:
            raise DataError(f"column `{name}` of {block.origin} has files, which can't be read beside other rows")
    columns = {name: block.columns[name] for name in names}
    return Block(columns, {name: mask for name, mask in block.valid.items() if name in columns}, block.origin)


def read_names(field: str, names: str | Sequence[str] | Mapping[str, str], example: str) -> dict[str, str]:
    """The names of columns, each with another name, which is the same one unless a mapping has it.

    Raises:
        FieldError: there are none.
    """
    if not names:
        raise FieldError(field, f"is empty. Name columns, such as {example}")
    if isinstance(names, Mapping):
        return dict(names)
    return {name: name for name in ([names] if isinstance(names, str) else names)}


def check_distinct(names: Sequence[str]) -> None:
    """Raises FieldError if two columns after an operation have the same name."""
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise FieldError(
            "columns", f"`{doubled}` is the name of two columns. Give one another name: {{{doubled}: other_{doubled}}}"
        )
