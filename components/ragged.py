"""Lists in rows, and lists of lists: `Ragged`, level by level. The levels are offsets, those of the rows first."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from components.types import Ragged, Strings, row_count

Levels = tuple[np.ndarray, ...]


class Layout(NamedTuple):
    """How the values of a column are arranged in rows.

    Attributes:
        levels: the offsets of each level of lists. (): rows have no lists.
        shape: (rows, …), or with levels (elements of the innermost lists, …). The other axes have fixed lengths.
    """

    levels: Levels
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.levels[0]) - 1 if self.levels else self.shape[0]

    @property
    def width(self) -> int:
        """The number of values of each element of the innermost lists, or of each row."""
        return math.prod(self.shape[1:])

    @property
    def all_levels(self) -> Levels:
        """The levels. If the elements of the innermost lists are arrays, these are the last level."""
        if len(self.shape) < 2:
            return self.levels
        return (*self.levels, np.arange(self.shape[0] + 1) * self.width)

    @property
    def is_nested(self) -> bool:
        """Whether rows have lists whose elements have several values themselves."""
        return len(self.levels) > 0 and len(self.all_levels) > 1

    @property
    def offsets(self) -> np.ndarray:
        """The position of the first value of each row, then the number of all values: int64 (rows + 1,)."""
        offsets = np.arange(self.rows + 1)
        for level in self.levels:
            offsets = level[offsets]
        return offsets * self.width

    def nest(self, values: np.ndarray) -> Any:
        """Arranges values, (values,), in rows."""
        return nest(values.reshape(self.shape), self.levels)

    def find_row(self, position: int) -> int:
        """The row of the value at a position."""
        return int(np.searchsorted(self.offsets, position, side="right")) - 1

    def __str__(self) -> str:
        return describe_lists(len(self.levels), self.shape[1:])


def split_levels(values: Any) -> tuple[Any, Levels]:
    """The elements of the innermost lists of a column, and the levels of its lists. (): it has no lists."""
    levels: list[np.ndarray] = []
    while isinstance(values, Ragged):
        levels.append(values.offsets)
        values = values.values
    return values, tuple(levels)


def layout_of(values: Any) -> Layout:
    """The layout of a column."""
    elements, levels = split_levels(values)
    return Layout(levels, (row_count(elements),) if isinstance(elements, Strings) else elements.shape)


def nest(elements: Any, levels: Levels) -> Any:
    """The column whose innermost lists have these elements: the inverse of `split_levels`."""
    for offsets in reversed(levels):
        elements = Ragged(elements, offsets)
    return elements


def select_lists(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the elements of some lists, and the offsets of these lists among them, both int64."""
    lengths = np.diff(offsets)[rows]
    selected = offsets_of(lengths)
    return np.arange(selected[-1]) + np.repeat(offsets[rows] - selected[:-1], lengths), selected


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """The offsets of lists with some lengths, int64 (lists + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def describe_lists(depth: int, shape: tuple[int, ...] = ()) -> str:
    """What rows with `depth` levels of lists, whose elements have a shape, have, for messages: `lists of lists`."""
    lists = " of ".join(["lists"] * depth)
    arrays = f"arrays {shape}" if shape else ""
    return " of ".join(filter(None, [lists, arrays])) or "single values"
