"""The base class of sources that fit into memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from components.closest import suggest_name
from components.data import holdout
from components.data.holdout import split
from components.types import Block, DataError, Ragged, Range, Strings, Values

BLOCK_ROWS, BLOCK_BYTES = 1 << 17, 1 << 22  # of a block, at most, so that it stays in the cache


@dataclass(frozen=True, kw_only=True)
class Table(ABC):
    """Rows in memory, part by part, and their splits.

    Attributes:
        valid: the rows of the validation split: a share in (0, 1), or a count from 1.
        test: the same for the test split, where the source has no test set.
        stratify: a column of classes, of which each split gets an equal share. None: splits ignore classes.
        seed: of the shuffling before rows are held out. None: the last rows are held out, in their order.
        valid_from: the part that `valid` is held out of; `test` is the test set of a source that has one.
    """

    valid: Annotated[float, Range(0, bounds="()")]
    test: float | str | tuple[str, str] | None = None
    stratify: str | None = None
    seed: Annotated[int, Range(0)] | None = 0
    valid_from: Literal["train", "test"] = "train"

    @abstractmethod
    def content(self) -> str:
        """A digest that changes when the rows change. It reads as little as possible."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each part."""

    @abstractmethod
    def read(self) -> Mapping[str, Mapping[str, Values]]:
        """All columns of each part."""

    @abstractmethod
    def origin(self, part: str) -> str:
        """The name of a part in messages."""

    def fingerprint(self) -> str:
        """A digest that changes when the rows or the splits change."""
        held = f"{self.valid=}, {self.test=}, {self.stratify=}, {self.seed=}"
        return f"{self.content()}, {held}" + (f", {self.valid_from=}" if self.valid_from != "train" else "")

    @cached_property
    def columns_by_part(self) -> Mapping[str, Mapping[str, Values]]:
        """The result of `read`, which is kept because the rows are needed several times."""
        return self.read()

    def blocks(self, part: str) -> Iterator[Block]:
        """The rows of a part, some thousands per block."""
        columns = self.columns_by_part[part]
        for first, stop in _find_bounds(columns, self.sizes()[part]):
            yield self.block(part, {name: _slice(values, first, stop) for name, values in columns.items()}, first)

    def block(self, part: str, columns: Mapping[str, Values], first: int) -> Block:
        """Makes a block of some rows of a part; `first` is the number of the first."""
        return Block(columns, origin=self.origin(part), first_row=first)

    def splits(self) -> dict[str, np.ndarray]:
        """The row numbers of `train`, `valid` and `test`, counted over all parts."""
        sizes = self.sizes()
        test = self.test if isinstance(self.test, int | float) else None
        strata = self._classes("all" if "all" in sizes else self.valid_from)
        return split(sizes, valid=self.valid, test=test, seed=self.seed, strata=strata, valid_from=self.valid_from)

    def folds(self, count: int, fold: int) -> dict[str, np.ndarray]:
        """The splits of a cross-validation; `fold` of `count` is the number, from 0, of the fold that validates."""
        splits = self.splits()
        strata = self._classes(*self.sizes())
        pool = np.sort(np.concatenate([splits["train"], splits["valid"]]))
        chosen = None if strata is None else strata[pool]
        return holdout.fold(splits, folds=count, fold=fold, seed=self.seed, strata=chosen)

    def _classes(self, *parts: str) -> np.ndarray | None:
        """The class of each row of some parts."""
        if self.stratify is None:
            return None
        return np.concatenate([self._column(part, self.stratify) for part in parts if part in self.columns_by_part])

    def _column(self, part: str, name: str) -> np.ndarray:
        columns = self.columns_by_part[part]
        if name not in columns:
            raise DataError(f"`stratify` (={name}) is no column. {suggest_name(name, columns)}")
        strata = columns[name]
        if isinstance(strata, Strings):
            return np.array(strata.tolist())
        if isinstance(strata, Ragged) or strata.ndim != 1:
            raise DataError(f"`stratify` (={name}) must be a column of single values")
        return strata


def _find_bounds(columns: Mapping[str, Values], rows: int) -> Iterator[tuple[int, int]]:
    """Where blocks begin and end. Each has few enough rows and bytes, or one row."""
    width = sum(_row_bytes(values) for values in columns.values())
    ends = sum((_find_ends(values) for values in columns.values() if not _row_bytes(values)), np.zeros(1, np.int64))
    most = max(min(BLOCK_ROWS, BLOCK_BYTES // max(width, 1)), 1)
    first = 0
    while first < rows:
        stop = min(first + most, rows)
        if len(ends) > 1:  # there are rows of different lengths
            room = BLOCK_BYTES - width * (stop - first)
            stop = min(stop, max(int(np.searchsorted(ends, ends[first] + room, side="right")) - 1, first + 1))
        yield first, stop
        first = stop


def _find_ends(values: Any) -> np.ndarray:
    """How many bytes stand before each row, and in total."""
    if isinstance(values, Ragged):
        return _find_ends(values.values)[values.offsets]
    if isinstance(values, Strings) and values.indices is None:
        return values.offsets - values.offsets[0]
    return np.arange((values.rows if isinstance(values, Strings) else len(values)) + 1) * _row_bytes(values)


def _row_bytes(values: Any) -> int:
    """The bytes of a row, where all rows have the same number; else 0."""
    if isinstance(values, Strings):
        return 0 if values.indices is None else values.indices.itemsize
    return 0 if isinstance(values, Ragged) else values.nbytes // max(len(values), 1)


def _slice(values: Any, start: int, stop: int) -> Any:
    if isinstance(values, Strings) and values.indices is not None:
        return values._replace(indices=values.indices[start:stop])
    if not isinstance(values, Ragged | Strings):
        return values[start:stop]
    offsets = values.offsets[start : stop + 1]
    low, high = int(offsets[0]), int(offsets[-1])
    if isinstance(values, Strings):
        return Strings(values.data[low:high], offsets - low)
    return Ragged(_slice(values.values, low, high), offsets - low)
