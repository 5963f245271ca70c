"""Row numbers of splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, overload

if TYPE_CHECKING:
    import numpy as np

PIECE_ROWS = 1 << 17  # are compared at a time


def row_dtype(rows: int) -> str:
    """The type of the numbers of so many rows, which need half the memory below 2^31 rows."""
    return "int32" if rows < 2**31 else "int64"


class RowRange:
    """Row numbers at equal distances, in ascending order, which NumPy takes as an array of int64.

    Args:
        numbers: the row numbers.
    """

    __slots__ = ("numbers",)

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the array."""
        import numpy as np

        return np.dtype(np.int64)

    @property
    def nbytes(self) -> int:
        """The bytes of the numbers in memory."""
        return 0

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, positions: int) -> int: ...

    @overload
    def __getitem__(self, positions: slice | RowRange) -> RowRange: ...

    @overload
    def __getitem__(self, positions: np.ndarray | list[int]) -> np.ndarray: ...

    def __getitem__(self, positions: Any) -> Any:
        """The numbers at some positions: a RowRange for a slice or a RowRange, an array for positions or a mask."""
        import numpy as np

        if isinstance(positions, slice | RowRange):
            return RowRange(self.numbers[as_index(positions)])
        if not isinstance(positions, np.ndarray | list):
            return self.numbers[positions]
        places = np.asarray(positions)
        if places.dtype == bool:
            return np.asarray(self)[places]
        if len(places) and not (places.min() >= 0 and places.max() < len(self)):
            raise IndexError(f"positions must be from 0 to {len(self) - 1}")
        return places.astype(np.int64) * self.numbers.step + self.numbers.start

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        import numpy as np

        numbers = self.numbers
        array: np.ndarray = np.arange(numbers.start, numbers.stop, numbers.step, dtype=self.dtype)
        return array if dtype is None else array.astype(dtype, copy=False)

    def __add__(self, offset: int) -> RowRange:
        numbers = self.numbers
        return RowRange(range(numbers.start + offset, numbers.stop + offset, numbers.step))

    def __eq__(self, other: object) -> Any:
        """Whether each number equals the other one, as an array."""
        import numpy as np

        return np.asarray(self) == np.asarray(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RowRange({self.numbers!r})"

    def tolist(self) -> list[int]:
        """The numbers."""
        return list(self.numbers)

    def astype(self, dtype: Any) -> np.ndarray:
        """The numbers as an array of some type."""
        return self.__array__(dtype)

    def searchsorted(self, numbers: Any) -> np.ndarray:
        """The position at which each of some numbers would be inserted, before equal ones."""
        import numpy as np

        own = self.numbers
        return np.clip(-((own.start - np.asarray(numbers, np.int64)) // own.step), 0, len(own))


RowNumbers: TypeAlias = "np.ndarray | RowRange"
"""Row numbers: integers (n,)."""


def as_index(rows: RowNumbers | slice) -> Any:
    """Row numbers as an index of arrays. A slice of them is no copy."""
    if not isinstance(rows, RowRange):
        return rows
    numbers = rows.numbers
    return slice(numbers.start, max(numbers.stop, 0), numbers.step)


def compact_rows(rows: RowNumbers, total: int) -> RowNumbers:
    """Row numbers in as little memory as possible: a RowRange if they follow one another, or else the smallest type.

    Args:
        rows: the row numbers.
        total: more than the largest of them.
    """
    import numpy as np

    if isinstance(rows, RowRange):
        return rows
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
    if last - first + 1 == len(rows) and all(
        np.array_equal(piece, np.arange(first + start, first + start + len(piece)))
        for start in range(0, len(rows), PIECE_ROWS)
        for piece in [rows[start : start + PIECE_ROWS]]
    ):
        return RowRange(range(first, last + 1))
    return rows.astype(row_dtype(total))
