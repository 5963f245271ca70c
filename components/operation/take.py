"""Keeps the first rows of each part, all but the first, or every n-th."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from components.tracked_block import TrackedBlock
from components.types import FieldError, Range


@dataclass(frozen=True, kw_only=True)
class _Position:
    """Keeps rows by their position in the part, such as `train`."""

    applies_to_new_rows: ClassVar[bool] = False
    columns_read: ClassVar[Collection[str]] = ()
    columns_computed: ClassVar[Collection[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Take(_Position):
    """Keeps the first rows of each part, such as `train`. The others aren't read.

    Attributes:
        count: the number of rows.
    """

    count: Annotated[int, Range(1)]

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        remaining = self.count
        for block in blocks:
            if block.rows > remaining:
                yield block.take(np.arange(remaining))
            else:
                yield block
            remaining -= min(block.rows, remaining)
            if not remaining:
                return


@dataclass(frozen=True, kw_only=True)
class Skip(_Position):
    """Leaves out the first rows of each part, such as `train`.

    Attributes:
        count: the number of rows.
    """

    count: Annotated[int, Range(0)]

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        remaining = self.count
        for block in blocks:
            if block.rows > remaining:
                yield block.take(np.arange(remaining, block.rows)) if remaining else block
            remaining -= min(block.rows, remaining)


@dataclass(frozen=True, kw_only=True)
class Shard(_Position):
    """Keeps every `count`-th row of each part, such as `train`, from the row `index` on.

    Attributes:
        count: the distance between two rows that are kept.
        index: the position of the first row that is kept, from 0. It is below `count`.
    """

    count: Annotated[int, Range(1)]
    index: Annotated[int, Range(0)]

    def __post_init__(self) -> None:
        if self.index >= self.count:
            raise FieldError("index", f"{self.index} is not below `count` (={self.count}). Shards are counted from 0")

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        first = self.index  # the position in the block
        for block in blocks:
            if first < block.rows:
                yield block.take(np.arange(first, block.rows, self.count))
            first = (first - block.rows) % self.count if first < block.rows else first - block.rows
