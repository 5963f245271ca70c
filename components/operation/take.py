"""Keeps the first rows of each part, all but the first, or every n-th."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from components.tracked_block import TrackedBlock
from components.types import FieldError, Range


@dataclass(frozen=True, kw_only=True)
class _Position(ABC):
    """Keeps rows by their position in the part, such as `train`."""

    applies_to_new_rows: ClassVar[bool] = False
    columns_read: ClassVar[Collection[str]] = ()
    columns_computed: ClassVar[Collection[str]] = ()

    @property
    @abstractmethod
    def kept(self) -> range:
        """The positions of the rows that are kept."""

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        kept, offset = self.kept, 0
        for block in blocks:
            first = max(kept.start - offset, (kept.start - offset) % kept.step)
            rows = range(first, min(kept.stop - offset, block.rows), kept.step)
            if len(rows) == block.rows:
                yield block
            elif rows:
                yield block.take(np.arange(rows.start, rows.stop, rows.step))
            offset += block.rows
            if offset >= kept.stop:  # the other blocks aren't read
                return


@dataclass(frozen=True, kw_only=True)
class Take(_Position):
    """Keeps the first rows of each part, such as `train`. The others aren't read.

    Attributes:
        count: the number of rows.
    """

    count: Annotated[int, Range(1)]

    @property
    def kept(self) -> range:
        return range(self.count)


@dataclass(frozen=True, kw_only=True)
class Skip(_Position):
    """Leaves out the first rows of each part, such as `train`.

    Attributes:
        count: the number of rows.
    """

    count: Annotated[int, Range(0)]

    @property
    def kept(self) -> range:
        return range(self.count, sys.maxsize)


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

    @property
    def kept(self) -> range:
        return range(self.index, sys.maxsize, self.count)
