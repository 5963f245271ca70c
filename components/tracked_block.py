"""Blocks of rows on their way through row operations. Each row keeps the number of its row in the source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from components.ragged import concatenate, concatenate_arrays, offsets_of, take_rows
from components.types import Block, DataError, LazyColumns, Source, Values


class Merged(NamedTuple):
    """Rows of the source that an operation made one with others. They must be in one split.

    Attributes:
        rows: the numbers of rows, int64 (N,).
        into: for each of them, the number of the row whose split the new row is in, int64 (N,).
        keys: the columns whose values are equal in the rows that become one.
        describe: describes these values, from the position of a row in `rows`.
    """

    rows: np.ndarray
    into: np.ndarray
    keys: Sequence[str]
    describe: Callable[[int], str]


@dataclass(frozen=True, kw_only=True)
class TrackedBlock(Block):
    """A block whose rows are those of a source at any positions.

    Attributes:
        source_rows: the number of each row in the source, counted over all parts: int64 (rows,).
        source: the source. None: its rows are kept without it, after all operations.
        locate_source_row: describes the location of a row of the source.
        computed: the columns that the operation has added or replaced so far.
        unread: the other columns of the rows, which nothing reads. Only their names are known.
        merged: the rows that the operation made one with others, in this block or those after it.
    """

    source_rows: np.ndarray
    source: Source | None
    locate_source_row: Callable[[int], str]
    computed: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
    merged: Merged | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.source_rows)

    def locate(self, row: int) -> str:
        return self.locate_source_row(int(self.source_rows[row]))

    def has_column(self, name: str) -> bool:
        """Whether the rows have a column of a name, which may be one that nothing reads."""
        return name in self.columns or name in self.unread

    def take(self, rows: np.ndarray) -> TrackedBlock:
        """Some rows, in any order, also several times.

        Args:
            rows: the index of each row in this block, int64.
        """
        if isinstance(self.columns, LazyColumns):
            columns: Mapping[str, Values] = self.columns.select(rows, take_rows)
        else:
            columns = {name: take_rows(values, rows) for name, values in self.columns.items()}
        valid = {name: mask[rows] for name, mask in self.valid.items()}
        return dataclasses.replace(self, columns=columns, valid=valid, source_rows=self.source_rows[rows])

    def keep(self, is_kept: np.ndarray) -> TrackedBlock | None:
        """The rows of a mask (rows,), bool, in their order. None: there are none."""
        if is_kept.all():
            return self
        return self.take(np.flatnonzero(is_kept)) if is_kept.any() else None

    def with_columns(
        self, columns: Mapping[str, Values], valid: Mapping[str, np.ndarray | None] | None = None
    ) -> TrackedBlock:
        """The same rows with columns that are added, or replace others of their names.

        Args:
            columns: the columns by name.
            valid: the masks of those with missing values.
        """
        masks = {name: mask for name, mask in self.valid.items() if name not in columns}
        masks |= {name: mask for name, mask in (valid or {}).items() if mask is not None and not mask.all()}
        if isinstance(self.columns, LazyColumns):
            joined: Mapping[str, Values] = self.columns.with_columns(columns)
        else:
            joined = {**self.columns, **columns}
        return dataclasses.replace(
            self,
            columns=joined,
            valid=masks,
            files=frozenset(self.files) - columns.keys(),
            computed=self.computed | columns.keys(),
            unread=self.unread - columns.keys(),
        )

    def rename(self, names: Mapping[str, str]) -> TrackedBlock:
        """The same rows with other names of columns: `names` has the new ones by the old ones."""
        if isinstance(self.columns, LazyColumns):
            columns: Mapping[str, Values] = self.columns.rename(names)
        else:
            columns = {names.get(name, name): values for name, values in self.columns.items()}
        return dataclasses.replace(
            self,
            columns=columns,
            valid={names.get(name, name): mask for name, mask in self.valid.items()},
            ids=frozenset(names.get(name, name) for name in self.ids),
            files=frozenset(names.get(name, name) for name in self.files),
            computed=frozenset(names.get(name, name) for name in self.computed),
        )

    def select_columns(self, names: set[str] | frozenset[str]) -> TrackedBlock:
        """The same rows with the columns of some names. One column stays at least: it has the number of rows."""
        if isinstance(self.columns, LazyColumns):
            columns = self.columns.keep(names)
        else:
            columns = {name: values for name, values in self.columns.items() if name in names}
        if not columns:
            name = next(iter(self.columns))
            columns = {name: self.columns[name]}
        valid = {name: mask for name, mask in self.valid.items() if name in columns}
        return dataclasses.replace(self, columns=columns, valid=valid)


def concatenate_blocks(blocks: Iterable[TrackedBlock]) -> TrackedBlock | None:
    """The rows of blocks in one block. None: there are none. Columns that weren't read are still read when used.

    Blocks that only the iterable has leave the memory column by column.

    Raises:
        DataError: a column has values of different types.
    """
    blocks = [*blocks]
    if len(blocks) < 2:
        return blocks[0] if blocks else None
    first = dataclasses.replace(
        blocks[0],
        columns={},
        valid=concatenate_masks(blocks, [block.rows for block in blocks]),
        source_rows=concatenate_arrays([block.source_rows for block in blocks]),
        computed=frozenset[str]().union(*(block.computed for block in blocks)),
    )
    names = [*dict.fromkeys(name for block in blocks for name in block.columns)]
    read = [dict(_get_read_columns(block)) for block in blocks]
    unread = {name for name in names if not all(name in each for each in read)}
    blocks = [block.select_columns(unread) for block in blocks] if unread else []
    columns: Mapping[str, Values] = {
        name: concatenate_column(name, [each.pop(name) for each in read]) for name in names if name not in unread
    }
    if unread:
        readers = {name: partial(_read_rows, name, blocks) for name in names if name in unread}
        columns = LazyColumns(columns, readers, np.arange(first.rows))
    return dataclasses.replace(first, columns=columns)


def _get_read_columns(block: TrackedBlock) -> Mapping[str, Values]:
    return block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns


def concatenate_column(name: str, values: Sequence[Values]) -> Values:
    """A column of several blocks. Raises DataError, which names it, if it has values of different types."""
    try:
        joined: Values = concatenate(values)
    except DataError as error:
        raise DataError(f"column `{name}`: {error}") from None
    return joined


def concatenate_masks(blocks: Sequence[Block], sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """The masks of all blocks, of these numbers of rows, for each column that has a mask in any of them."""
    names = dict.fromkeys(name for block in blocks for name in block.valid)
    pairs = [*zip(blocks, sizes, strict=True)]
    return {
        name: concatenate_arrays([each.valid.get(name, np.ones(size, bool)) for each, size in pairs]) for name in names
    }


def _read_rows(name: str, blocks: Sequence[TrackedBlock], rows: np.ndarray) -> Values:
    """Reads a column at some rows of blocks, by their numbers over all blocks."""
    starts = offsets_of(np.array([block.rows for block in blocks]))
    numbers = np.searchsorted(starts, rows, side="right") - 1
    order = np.argsort(numbers, kind="stable")
    used = np.unique(numbers) if len(rows) else np.zeros(1, np.int64)
    taken = [blocks[number].select_columns({name}).take(rows[numbers == number] - starts[number]) for number in used]
    joined = concatenate_column(name, [block.columns[name] for block in taken])
    values: Values = take_rows(joined, np.argsort(order, kind="stable"))
    return values
