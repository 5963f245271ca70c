"""What sources that fit into memory have in common."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np

from components.data import holdout
from components.data.holdout import split
from components.types import Block, DataError, Encoded, Ragged, Range

BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class Table(ABC):
    """Rows in memory, part by part, and which of them are held out.

    Attributes:
        valid: rows held out for validation: a share in (0, 1), or a count from 1.
        test: the same for testing, where the source has no test set of its own.
        stratify: a column whose classes every split gets in equal shares; None: no regard to classes.
        seed: of the shuffling before rows are held out; None holds out the last rows, in their order.
    """

    valid: Annotated[float, Range(0, bounds="()")]
    test: float | tuple[str, str] | None = None
    stratify: str | None = None
    seed: Annotated[int, Range(0)] | None = 0

    @abstractmethod
    def content(self) -> str:
        """Changes when the rows do; found without reading more than it must."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each part."""

    @abstractmethod
    def read(self) -> Mapping[str, Mapping[str, Encoded]]:
        """The columns of each part, whole."""

    @abstractmethod
    def origin(self, part: str) -> str:
        """What a part is called in messages."""

    def fingerprint(self) -> str:
        """Changes when the rows do, or what is held out of them."""
        return f"{self.content()}, {self.valid=}, {self.test=}, {self.stratify=}, {self.seed=}"

    @cached_property
    def columns_by_part(self) -> Mapping[str, Mapping[str, Encoded]]:
        """What `read` gave, kept: the rows are passed several times."""
        return self.read()

    def blocks(self, part: str) -> Iterator[Block]:
        """The rows of a part, a few thousand at a time."""
        columns = self.columns_by_part[part]
        for first in range(0, self.sizes()[part], BLOCK_ROWS):
            rows = {name: _slice(values, first, first + BLOCK_ROWS) for name, values in columns.items()}
            yield Block(rows, origin=self.origin(part), first=first)

    def splits(self) -> dict[str, np.ndarray]:
        """The row numbers of `train`, `valid` and `test`, over all parts."""
        sizes = self.sizes()
        test = self.test if isinstance(self.test, int | float) else None
        return split(sizes, valid=self.valid, test=test, seed=self.seed, strata=self._strata(sizes))

    def folds(self, count: int, fold: int) -> dict[str, np.ndarray]:
        """The same with what isn't for testing in `count` parts, of which `fold` (from 0) validates."""
        splits, sizes = self.splits(), self.sizes()
        strata = self._strata(sizes)
        pool = np.sort(np.concatenate([splits["train"], splits["valid"]]))
        first = 0 if "all" in sizes else pool[0]  # the first row of the part that they are from
        chosen = None if strata is None else strata[pool - first]
        return holdout.fold(splits, folds=count, fold=fold, seed=self.seed, strata=chosen)

    def _strata(self, sizes: Mapping[str, int]) -> np.ndarray | None:
        if self.stratify is None:
            return None
        columns = self.columns_by_part["all" if "all" in sizes else "train"]
        if self.stratify not in columns:
            near = difflib.get_close_matches(self.stratify, columns, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(columns)}"
            raise DataError(f"`data.stratify` (={self.stratify}) is no column; {hint}")
        strata = columns[self.stratify]
        if isinstance(strata, Ragged) or strata.ndim != 1:
            raise DataError(f"`data.stratify` (={self.stratify}) must be a column of single values")
        return strata


def _slice(values: Encoded, start: int, stop: int) -> Encoded:
    if not isinstance(values, Ragged):
        return values[start:stop]
    offsets = values.offsets[start : stop + 1]
    return Ragged(values.values[offsets[0] : offsets[-1]], offsets - offsets[0])
