"""Keeps the first of equal rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from components.hashing import combine_hashes, hash_values
from components.operation.columns import check_columns, find_valid
from components.tracked_block import TrackedBlock
from components.types import FieldError


@dataclass(frozen=True, kw_only=True)
class Unique:
    """Keeps the first of the rows of each part, such as `train`, that are equal in some columns.

    Two missing values are equal. Rows are compared by hashes of 64 bits: among 5 million different rows, two have the
    same hash with a probability of 1e-6. Each row that is kept needs 8 bytes of memory.

    Attributes:
        columns: the names of the columns. None: all.
    """

    columns: tuple[str, ...] | None = None

    applies_to_new_rows: ClassVar[bool] = False
    columns_computed: ClassVar[Collection[str]] = ()

    def __post_init__(self) -> None:
        if self.columns is not None and not self.columns:
            raise FieldError("columns", "is empty. Name a column, or set it to null: then all columns are compared")

    @property
    def columns_read(self) -> Collection[str] | None:
        return self.columns

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        seen = _Hashes()
        for block in blocks:
            hashes, first = np.unique(self._hash_rows(block), return_index=True)
            is_new = ~seen.contain(hashes)
            seen.add(hashes[is_new])
            if is_new.any():
                rows = np.sort(first[is_new])
                yield block if len(rows) == block.rows else block.take(rows)

    def _hash_rows(self, block: TrackedBlock) -> np.ndarray:
        names = sorted(block.columns) if self.columns is None else self.columns
        check_columns(names, block)
        columns = {name: block.columns[name] for name in names}
        return combine_hashes(
            hash_values(values, find_valid(values, block.valid.get(name))) for name, values in columns.items()
        )


class _Hashes:
    """A set of hashes in sorted arrays, of which each is more than twice as long as the next one."""

    def __init__(self) -> None:
        self._levels: list[np.ndarray] = []

    def contain(self, hashes: np.ndarray) -> np.ndarray:
        """Whether each of some hashes is in the set, (hashes,), bool."""
        found = np.zeros(len(hashes), bool)
        for level in self._levels:
            positions = np.minimum(np.searchsorted(level, hashes), len(level) - 1)
            found |= level[positions] == hashes
        return found

    def add(self, hashes: np.ndarray) -> None:
        """Adds hashes, which ascend and aren't in the set."""
        if len(hashes):
            self._levels.append(hashes)
        while len(self._levels) > 1 and len(self._levels[-2]) <= 2 * len(self._levels[-1]):
            last = self._levels.pop()
            self._levels[-1] = np.sort(np.concatenate([self._levels[-1], last]), kind="stable")
