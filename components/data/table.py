"""The base class of sources whose rows fit into memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from components.closest import suggest_name
from components.data.holdout import split, split_for_fold
from components.types import Block, DataError, Ragged, Range, Strings, Values

# The maximum size of a block, which should fit into the processor's cache.
BLOCK_ROWS = 1 << 17
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Table(ABC):
    """A source that reads all its rows into memory, and splits them.

    The parts of a source are `train` and `test`, or only `all` if it has no test set. Splits are made from the parts.

    Attributes:
        valid: the rows of the validation split: a share in (0, 1), or a count from 1.
        test: the rows of the test split, likewise, if the only part is `all`. Otherwise the part `test` is the test
            split; then subclasses that read files may have the names of its files here.
        stratify: a column of classes. Every split gets the same shares of its classes. It needs a `seed`. None: splits
            ignore classes.
        seed: seed of the shuffling before the split. None: rows aren't shuffled; the last ones are held out.
        valid_from: the part that the validation split is taken from. `test` is possible if the source has a test set.
    """

    valid: Annotated[float, Range(0, bounds="()")]
    test: float | str | tuple[str, str] | None = None
    stratify: str | None = None
    seed: Annotated[int, Range(0)] | None = 0
    valid_from: Literal["train", "test"] = "train"

    @abstractmethod
    def content_digest(self) -> str:
        """A digest that changes when the rows change. It should be cheap to compute."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """The number of rows by part, in the order of the parts."""

    @abstractmethod
    def read(self) -> Mapping[str, Mapping[str, Values]]:
        """Reads all columns, by part and column name."""

    @abstractmethod
    def origin(self, part: str) -> str:
        """The name of a part for messages."""

    def fingerprint(self) -> str:
        """A digest that changes when the rows or the splits change."""
        split_options = f"{self.valid=}, {self.test=}, {self.stratify=}, {self.seed=}"
        if self.valid_from != "train":
            split_options += f", {self.valid_from=}"
        return f"{self.content_digest()}, {split_options}"

    @cached_property
    def columns_by_part(self) -> Mapping[str, Mapping[str, Values]]:
        """The result of `read`. It is kept, because the rows are needed several times."""
        return self.read()

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of a part in consecutive blocks."""
        columns = self.columns_by_part[part]
        for first, stop in _find_bounds(columns, self.sizes()[part]):
            yield self.make_block(part, {name: _slice(values, first, stop) for name, values in columns.items()}, first)

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        """Makes a block of consecutive rows of a part; `first_row` is the position of the first in the part."""
        return Block(columns, origin=self.origin(part), first_row=first_row)

    def splits(self) -> dict[str, np.ndarray]:
        """The row numbers of `train`, `valid` and `test`, counted over all parts."""
        sizes = self.sizes()
        test = self.test if isinstance(self.test, int | float) else None
        split_part = "all" if "all" in sizes else self.valid_from
        strata = self._read_classes([split_part])  # the rows of the other part all go to one split
        return split(sizes, valid=self.valid, test=test, seed=self.seed, strata=strata, valid_from=self.valid_from)

    def folds(self, count: int, fold: int) -> dict[str, np.ndarray]:
        """The splits of a cross-validation with `count` folds; `fold`, from 0, is the validation split."""
        splits = self.splits()
        classes = self._read_classes(self.sizes())  # of all parts, because row numbers are counted over all parts
        pool = np.sort(np.concatenate([splits["train"], splits["valid"]]))
        strata = None if classes is None else classes[pool]
        return split_for_fold(splits, folds=count, fold=fold, seed=self.seed, strata=strata)

    def _read_classes(self, parts: Iterable[str]) -> np.ndarray | None:
        """The class of each row of the parts. None: the splits aren't stratified."""
        if self.stratify is None:
            return None
        if self.seed is None:
            raise DataError(
                f"`seed` (=null) holds out the last rows, `stratify` (={self.stratify}) the same share of each class; "
                "set `seed` to a number, or `stratify` to null"
            )
        return np.concatenate([_read_class_column(self.columns_by_part[part], self.stratify) for part in parts])


def _read_class_column(columns: Mapping[str, Values], name: str) -> np.ndarray:
    if name not in columns:
        raise DataError(f"`stratify` (={name}) is no column. {suggest_name(name, columns)}")
    classes = columns[name]
    if isinstance(classes, Strings):
        return np.array(classes.tolist(), object)  # an array of texts would drop trailing NULs
    if isinstance(classes, Ragged) or classes.ndim != 1:
        raise DataError(f"`stratify` (={name}) must be a column with one value in each row")
    return classes


def _find_bounds(columns: Mapping[str, Values], rows: int) -> Iterator[tuple[int, int]]:
    """Yields the first row and the end of each block. A block has at most BLOCK_ROWS and BLOCK_BYTES, or one row."""
    fixed_bytes = sum(_row_bytes(values) for values in columns.values())  # of a row
    varying = [values for values in columns.values() if not _row_bytes(values)]  # rows have different lengths
    offsets = sum((_byte_offsets(values) for values in varying), start=np.zeros(1, np.int64))
    max_rows = max(min(BLOCK_ROWS, BLOCK_BYTES // max(fixed_bytes, 1)), 1)
    first = 0
    while first < rows:
        stop = min(first + max_rows, rows)
        if varying:
            free_bytes = BLOCK_BYTES - fixed_bytes * (stop - first)
            stop_by_bytes = int(np.searchsorted(offsets, offsets[first] + free_bytes, side="right")) - 1
            stop = min(stop, max(stop_by_bytes, first + 1))
        yield first, stop
        first = stop


def _byte_offsets(values: Any) -> np.ndarray:
    """The offset of the first byte of each row, then the number of bytes of all rows: (rows + 1,)."""
    if isinstance(values, Ragged):
        return _byte_offsets(values.values)[values.offsets]
    if isinstance(values, Strings) and values.indices is None:
        return values.offsets - values.offsets[0]
    return np.arange((values.rows if isinstance(values, Strings) else len(values)) + 1) * _row_bytes(values)


def _row_bytes(values: Any) -> int:
    """The number of bytes of each row; 0 if rows have different lengths."""
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
