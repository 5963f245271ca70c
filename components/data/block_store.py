"""Blocks of rows that are kept: in memory, or in temporary files once they are large."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.data.arrays import list_arrays
from components.data.column_store import MAX_ARRAY_BYTES, map_arrays, release_maps
from components.ragged import compact_texts
from components.tracked_block import TrackedBlock
from components.types import LazyColumns, Values

if TYPE_CHECKING:
    import pyarrow

SPOOLED_BYTES = 1 << 25  # of the blocks that are written into one temporary file


class BlockStore:
    """The blocks of a part. What its columns read when they are used isn't kept, and is read again.

    Attributes:
        memory_bytes: the size of the blocks in memory.
        disk_bytes: the size of those in temporary files.
    """

    def __init__(self) -> None:
        self._blocks: list[TrackedBlock] = []
        self._maps: list[pyarrow.Buffer] = []
        self.memory_bytes = 0
        self.disk_bytes = 0
        self._changes: tuple[Callable[[TrackedBlock], TrackedBlock], ...] = ()
        self._waiting: list[TrackedBlock] = []
        self._waiting_bytes = 0

    def add(self, block: TrackedBlock) -> None:
        """Adds a block. Raises DataError if a temporary file can't be written."""
        block = _compact(block)
        size = sum(array.nbytes for values in _kept_values(block) for array in list_arrays(values))
        if self.memory_bytes + size <= MAX_ARRAY_BYTES and not self._waiting:
            self.memory_bytes += size
            self._blocks.append(block)
            return
        self._waiting.append(block)
        self._waiting_bytes += size
        if self._waiting_bytes > SPOOLED_BYTES:
            self.finish()

    def finish(self) -> None:
        """Writes the blocks that wait for a temporary file."""
        arrays = tuple(tuple(_kept_values(block)) for block in self._waiting)
        for block, mapped in zip(self._waiting, map_arrays(arrays, self._maps), strict=True):
            self._blocks.append(_replace_values(block, mapped))
        self.disk_bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0

    def release(self) -> None:
        """Lets the temporary files leave the memory, until they are used again."""
        release_maps(self._maps)

    def view(self, change: Callable[[TrackedBlock], TrackedBlock]) -> BlockStore:
        """The same blocks, each of which is changed whenever it is read. They are kept once."""
        store = copy.copy(self)
        store._changes = (*self._changes, change)
        return store

    def forget_source(self) -> None:
        """Drops what locates rows of the source, so that these leave the memory. A view sets it again."""
        self._blocks = [dataclasses.replace(block, source=None, locate_source_row=str) for block in self._blocks]

    def __iter__(self) -> Iterator[TrackedBlock]:
        for block in self._blocks:
            for change in self._changes:
                block = change(block)
            if isinstance(block.columns, LazyColumns):  # it keeps what it reads, so each pass has its own
                block = dataclasses.replace(block, columns=block.columns.keep(block.columns.keys()))
            yield block


def _read_columns(block: TrackedBlock) -> Mapping[str, Values]:
    """The columns that are in memory."""
    return block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns


def _kept_values(block: TrackedBlock) -> Iterator[Any]:
    yield from _read_columns(block).values()
    yield from block.valid.values()
    yield block.source_rows


def _replace_values(block: TrackedBlock, values: tuple[Any, ...]) -> TrackedBlock:
    """The block with the values of `_kept_values` that are the same, and elsewhere in memory."""
    columns = dict(zip(_read_columns(block), values, strict=False))
    *_, source_rows = values
    valid = dict(zip(block.valid, values[len(columns) : -1], strict=True))
    joined = block.columns.with_columns(columns) if isinstance(block.columns, LazyColumns) else columns
    return dataclasses.replace(block, columns=joined, valid=valid, source_rows=source_rows)


def _compact(block: TrackedBlock) -> TrackedBlock:
    """The same block, without the texts of other rows."""
    columns = {name: compact_texts(values) for name, values in _read_columns(block).items()}
    joined = block.columns.with_columns(columns) if isinstance(block.columns, LazyColumns) else columns
    return dataclasses.replace(block, columns=joined)
