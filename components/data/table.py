"""What sources that fit into memory have in common."""

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

BLOCK_ROWS, BLOCK_BYTES = 1 << 17, 1 << 22  # of a block, at most: so much is worked on in the cache


@dataclass(frozen=True, kw_only=True)
class Table(ABC):
    """Rows in memory, part by part, and which of them are held out.

    Attributes:
        valid: rows held out for validation: a share in (0, 1), or a count from 1.
        test: the same for testing, where the source has no test set of its own.
        stratify: a column whose classes every split gets in equal shares; None: no regard to classes.
        seed: of the shuffling before rows are held out; None holds out the last rows, in their order.
        valid_from: the part that `valid` is held out of; `test`: the test set, where the source has its own.
    """

    valid: Annotated[float, Range(0, bounds="()")]
    test: float | str | tuple[str, str] | None = None
    stratify: str | None = None
    seed: Annotated[int, Range(0)] | None = 0
    valid_from: Literal["train", "test"] = "train"

    @abstractmethod
    def content(self) -> str:
        """Changes when the rows do; found without reading more than it must."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each part."""

    @abstractmethod
    def read(self) -> Mapping[str, Mapping[str, Values]]:
        """The columns of each part, whole."""

    @abstractmethod
    def origin(self, part: str) -> str:
        """What a part is called in messages."""

    def fingerprint(self) -> str:
        """Changes when the rows do, or what is held out of them."""
        held = f"{self.valid=}, {self.test=}, {self.stratify=}, {self.seed=}"
        return f"{self.content()}, {held}" + (f", {self.valid_from=}" if self.valid_from != "train" else "")

    @cached_property
    def columns_by_part(self) -> Mapping[str, Mapping[str, Values]]:
        """What `read` gave, kept: the rows are passed several times."""
        return self.read()

    def blocks(self, part: str) -> Iterator[Block]:
        """The rows of a part, some thousands at a time."""
        columns = self.columns_by_part[part]
        for first, stop in _cuts(columns, self.sizes()[part]):
            yield self.block(part, {name: _slice(values, first, stop) for name, values in columns.items()}, first)

    def block(self, part: str, columns: Mapping[str, Values], first: int) -> Block:
        """Some rows of a part, of which `first` is the number of the first."""
        return Block(columns, origin=self.origin(part), first=first)

    def splits(self) -> dict[str, np.ndarray]:
        """The row numbers of `train`, `valid` and `test`, over all parts."""
        sizes = self.sizes()
        test = self.test if isinstance(self.test, int | float) else None
        strata = self._classes("all" if "all" in sizes else self.valid_from)
        return split(sizes, valid=self.valid, test=test, seed=self.seed, strata=strata, valid_from=self.valid_from)

    def folds(self, count: int, fold: int) -> dict[str, np.ndarray]:
        """The same with what isn't for testing in `count` parts, of which `fold` (from 0) validates."""
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
            raise DataError(f"`data.stratify` (={name}) is no column; {suggest_name(name, columns)}")
        strata = columns[name]
        if isinstance(strata, Strings):
            return np.array(strata.tolist())
        if isinstance(strata, Ragged) or strata.ndim != 1:
            raise DataError(f"`data.stratify` (={name}) must be a column of single values")
        return strata


def _cuts(columns: Mapping[str, Values], rows: int) -> Iterator[tuple[int, int]]:
    """Where blocks begin and end: of few enough rows and bytes each, or of one row."""
    width = sum(_width(values) for values in columns.values())
    ends = sum((_ends(values) for values in columns.values() if not _width(values)), np.zeros(1, np.int64))
    most = max(min(BLOCK_ROWS, BLOCK_BYTES // max(width, 1)), 1)
    first = 0
    while first < rows:
        stop = min(first + most, rows)
        if len(ends) > 1:  # of rows of any length
            room = BLOCK_BYTES - width * (stop - first)
            stop = min(stop, max(int(np.searchsorted(ends, ends[first] + room, side="right")) - 1, first + 1))
        yield first, stop
        first = stop


def _ends(values: Any) -> np.ndarray:
    """How many bytes there are before each row, and in all."""
    if isinstance(values, Ragged):
        return _ends(values.values)[values.offsets]
    if isinstance(values, Strings) and values.indices is None:
        return values.offsets - values.offsets[0]
    return np.arange((values.rows if isinstance(values, Strings) else len(values)) + 1) * _width(values)


def _width(values: Any) -> int:
    """The bytes of a row, where all have as many; else 0."""
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
