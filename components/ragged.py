"""Lists in rows, and lists of lists: `Ragged`, level by level. The levels are offsets, those of the rows first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from components.types import DataError, Ragged, Strings, row_count

Levels = tuple[np.ndarray, ...]
SAME_DEPTH = "All rows must have lists of the same depth"
VALUE_NAMES = {  # by the kind of their dtype
    "b": "booleans",
    "i": "whole numbers",
    "u": "whole numbers",
    "f": "floats",
    "c": "complex numbers",
    "U": "texts",
    "S": "bytes",
    "M": "times",
    "m": "durations",
}


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
    lengths = offsets[rows + 1] - offsets[rows]
    selected = offsets_of(lengths)
    return np.arange(selected[-1]) + np.repeat(offsets[rows] - selected[:-1], lengths), selected


def truncate(values: Any, max_lengths: Sequence[int | None], *, last: bool) -> Any:
    """Cuts lists, and the lists within them.

    Args:
        values: a column of lists, or an array (rows, …), whose next axes are cut.
        max_lengths: the maximum number of elements of a list at each level, the outermost first. None: it isn't cut.
        last: whether the last elements stay, instead of the first ones.
    """
    if not isinstance(values, Ragged):
        ends = [slice(None) if n is None else slice(-n, None) if last else slice(n) for n in max_lengths]
        return values[(slice(None), *ends)] if max_lengths else values
    maximum, *inner = max_lengths
    lengths = np.diff(values.offsets)
    kept = lengths if maximum is None else np.minimum(lengths, maximum)
    offsets = offsets_of(kept)
    starts = values.offsets[1:] - kept if last else values.offsets[:-1]
    elements = take_rows(values.values, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], kept))
    return Ragged(truncate(elements, inner, last=last) if inner else elements, offsets)


def take_rows(values: Any, rows: np.ndarray) -> Any:
    """The rows of a column at some indices, in the order of the indices."""
    if isinstance(values, Strings):
        return values._replace(indices=rows if values.indices is None else values.indices[rows])
    if not isinstance(values, Ragged):
        return values[rows]
    elements, offsets = select_lists(values.offsets, rows)
    return Ragged(take_rows(values.values, elements), offsets)


def concatenate(values: Sequence[Any]) -> Any:
    """The rows of columns one after another. Arrays that are pieces of one array, in its order, aren't copied.

    Args:
        values: the columns, at least one. Those without rows may have another type: an empty list doesn't show it.

    Raises:
        DataError: the columns have values of different types.
    """
    filled = [each for each in values if row_count(each)] or [*values[:1]]
    if len(filled) == 1:
        return filled[0]
    if len(types := dict.fromkeys(map(_describe_type, filled))) > 1:
        raise DataError(f"some rows have {', others '.join(types)}. All rows must have values of the same type")
    if isinstance(filled[0], Ragged):
        offsets = offsets_of(np.concatenate([np.diff(each.offsets) for each in filled]))
        return Ragged(concatenate([each.values for each in filled]), offsets)
    return _concatenate_strings(filled) if isinstance(filled[0], Strings) else concatenate_arrays(filled)


def concatenate_arrays(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """`np.concatenate`, but a single array isn't copied, and pieces of one array, in its order, become a view of it."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    end = first.ctypes.data
    for each in arrays:
        is_next = each.base is first.base and each.ctypes.data == end and each.flags.c_contiguous
        if first.base is None or not is_next or each.dtype != first.dtype or each.shape[1:] != first.shape[1:]:
            return np.concatenate(arrays)
        end += each.nbytes
    shape = (sum(map(len, arrays)), *first.shape[1:])
    return np.lib.stride_tricks.as_strided(first, shape, first.strides, writeable=False)


def _describe_type(values: Any) -> str:
    """The type of a column, without that of the elements of its lists."""
    if isinstance(values, Ragged | Strings):
        return "lists" if isinstance(values, Ragged) else "texts"
    dtype = "" if values.dtype.kind in "USO" else f" ({values.dtype})"  # texts of NumPy have different lengths
    return f"{describe_lists(0, values.shape[1:], name_values(values.dtype))}{dtype}"


def _concatenate_strings(values: Sequence[Strings]) -> Strings:
    first = values[0]
    if all(each.data is first.data and each.offsets is first.offsets for each in values):
        indices = [each.indices for each in values if each.indices is not None]
        if len(indices) == len(values):
            return first._replace(indices=concatenate_arrays(indices))
    compact = [compact_texts(each) for each in values]
    data = np.concatenate([each.data for each in compact])
    offsets = offsets_of(np.concatenate([np.diff(each.offsets) for each in compact]))
    if all(each.indices is None for each in compact):
        return Strings(data, offsets)
    dtype = np.int32 if len(offsets) <= np.iinfo(np.int32).max else np.int64
    indices, start = [], 0
    for each in compact:
        own = np.arange(each.rows) if each.indices is None else each.indices
        indices.append(np.add(own, start, dtype=dtype))
        start += len(each.offsets) - 1
    return Strings(data, offsets, np.concatenate(indices))


def compact_texts(values: Any) -> Any:
    """The same column, whose texts have at most as many strings as rows, and no bytes between them."""
    if isinstance(values, Ragged):
        return values._replace(values=compact_texts(values.values))
    if not isinstance(values, Strings):
        return values
    if values.indices is not None and len(values.offsets) - 1 > values.rows:
        used, indices = np.unique(values.indices, return_inverse=True)
        texts = _take_strings(values, used)
        is_plain = len(used) == values.rows and bool((np.diff(values.indices) > 0).all())
        return texts if is_plain else texts._replace(indices=indices.reshape(-1))
    low, high = int(values.offsets[0]), int(values.offsets[-1])
    if (low, high) == (0, len(values.data)):
        return values
    return values._replace(data=values.data[low:high], offsets=values.offsets - low)


def _take_strings(strings: Strings, numbers: np.ndarray) -> Strings:
    """Some of the strings of a dictionary, by their numbers, as plain strings."""
    positions, offsets = select_lists(strings.offsets, numbers)
    return Strings(strings.data[positions], offsets if len(numbers) else offsets_of(numbers))


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """The offsets of lists with some lengths, int64 (lists + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def describe_lists(depth: int, shape: tuple[int, ...] = (), values: str = "") -> str:
    """What rows have, for messages: `lists of lists`, or with their values `lists of arrays of floats of shape (2, 3)`.

    Args:
        depth: the number of levels of lists.
        shape: the shape of a row, or of an element of the innermost lists.
        values: the values. "": they aren't named.
    """
    levels = ["lists"] * depth + ["arrays"] * bool(shape)
    text = " of ".join([*levels, *([values] if values else [])]) if levels else f"single {values or 'values'}"
    return f"{text} of shape {shape}" if shape else text


def describe_values(values: Any) -> str:
    """What rows of a column have, for messages: `single texts`, or `lists of whole numbers`."""
    elements, levels = split_levels(values)
    if isinstance(elements, Strings):
        return describe_lists(len(levels), (), "texts")
    example = next((each for each in elements.flat if each is not None), None) if elements.dtype.hasobject else None
    dtype = np.asarray(example).dtype if isinstance(example, str | bytes) else elements.dtype
    return describe_lists(len(levels), elements.shape[1:], name_values(dtype))


def name_values(dtype: np.dtype | str) -> str:
    """The name of values of a type, for messages. The types of one name differ in size."""
    return VALUE_NAMES.get(np.dtype(dtype).kind, "objects")


def find_mixed_depths(column: Any) -> str:
    """The first two rows of a column whose lists have different depths, or a row with several; "": there are none."""
    first: tuple[int, int] | None = None
    for row, value in enumerate(column if isinstance(column, list | tuple) else ()):
        depths = sorted(_find_depths(value))
        if len(depths) > 1:
            return f"both {' and '.join(map(describe_lists, depths))} in row {row}"
        if depths and first is not None and depths[0] != first[1]:
            return f"{describe_lists(depths[0])} in row {row}, but {describe_lists(first[1])} in row {first[0]}"
        first = first or ((row, depths[0]) if depths else None)
    return ""


def _find_depths(value: Any) -> set[int]:
    """In how many lists each of the innermost values is. An empty list and a missing value don't show it."""
    if isinstance(value, list | tuple):
        return {depth + 1 for each in value for depth in _find_depths(each)}
    return set() if value is None else {0}
