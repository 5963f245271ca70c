"""Data on the host: blocks of columns, and the sources that they come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


class Strings(NamedTuple):
    """Strings in Arrow's layout: string i is `data[offsets[i]:offsets[i + 1]]`, in UTF-8.

    With `indices` the strings are a dictionary, and row i is string `indices[i]` of it. Code that works on the
    dictionary handles a repeated string once.

    Attributes:
        data: (bytes,), uint8.
        offsets: (strings + 1,), int64, not decreasing; the first may be above 0.
        indices: (rows,), integers. None: row i is string i.
    """

    data: np.ndarray
    offsets: np.ndarray
    indices: np.ndarray | None = None

    @classmethod
    def from_bytes(cls, texts: Sequence[bytes]) -> Strings:
        """Strings without a dictionary, of texts in UTF-8."""
        import numpy as np

        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(texts), np.uint8), offsets)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1 if self.indices is None else len(self.indices)

    def tolist(self) -> list[str]:
        """The string of each row."""
        data, bounds = self.data.tobytes(), self.offsets.tolist()
        texts = [data[start:stop].decode() for start, stop in itertools.pairwise(bounds)]
        return texts if self.indices is None else [texts[index] for index in self.indices.tolist()]


class Ragged(NamedTuple):
    """Rows of different lengths: row i is `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        values: an array (total, …); in a block also `Strings`.
        offsets: (rows + 1,), int64, not decreasing, from 0.
    """

    values: Any
    offsets: np.ndarray


Encoded: TypeAlias = "np.ndarray | Ragged"
"""Rows that the program can take. The first axis counts them."""

Values: TypeAlias = "np.ndarray | Strings | Ragged"
"""Rows of a source, or of one column for another: also strings and 64-bit numbers."""


def row_count(values: Values) -> int:
    """The number of rows of a column."""
    if isinstance(values, Strings):
        return values.rows
    return len(values.offsets) - 1 if isinstance(values, Ragged) else len(values)


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a data set, column by column.

    Attributes:
        columns: the values by column.
        valid: (rows,), bool by column: False where a value is missing. A column without a mask has all its values.
        origin: the name of the data in messages.
        first: the number of the first row in the data.
        ids: names of the columns that hold the ids of a categorical column: -1 is an ordinary id there, and the least
            int32 means "no value".
    """

    columns: Mapping[str, Values]
    valid: Mapping[str, np.ndarray] = field(default_factory=dict)
    origin: str = "data"
    first: int = 0
    ids: frozenset[str] = frozenset()

    def where(self, row: int) -> str:
        """Describes where a row of the block is in the data, for messages."""
        return f"row {self.first + row} of {self.origin}"


class Source(Protocol):
    """A data set: rows in a fixed order, in parts (`train` and `test`, or `all` where it has no test set)."""

    def fingerprint(self) -> str:
        """A digest that changes when the rows change. It is cheap and reads as little as possible."""

    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each part, in the order of the parts."""

    def blocks(self, part: str) -> Iterator[Block]:
        """The rows of a part as consecutive blocks."""

    def splits(self) -> Mapping[str, np.ndarray]:
        """The row numbers of `train`, `valid` and `test`: sorted int64, counted over all parts in their order."""


@runtime_checkable
class Foldable(Protocol):
    """A source that supports cross-validation."""

    def folds(self, count: int, fold: int) -> Mapping[str, np.ndarray]:
        """The splits of a cross-validation.

        Args:
            count: the number of folds that the rows outside of the test split are divided into.
            fold: the number, from 0, of the fold that is the validation split.
        """
