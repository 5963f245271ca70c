"""The padding of lists: how large a batch becomes if it holds the longest ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from components.ragged import select_lists
from components.types import Encoded, Padded, Ragged, RowNumbers

LENGTHS = sorted({base << power for power in range(24) for base in (8, 12)})  # lengths that lists are padded to
USUAL_SHARE = 0.99  # of the lists, which a message compares with the longest one


class ListLengths(NamedTuple):
    """The lengths of the lists in an array of a column.

    Attributes:
        column: the name of the column.
        key: the name of the array.
        longest: the number of elements of the longest list at each level, the outermost first.
        usual: the number of elements that 99 % of the lists don't exceed, at each level.
        row_bytes: the size of a row whose lists are padded to the longest ones.
    """

    column: str
    key: str
    longest: tuple[int, ...]
    usual: tuple[int, ...]
    row_bytes: int

    @property
    def widths(self) -> tuple[int, ...]:
        """The lengths that the lists are padded to."""
        return tuple(map(pad_length, self.longest))

    @property
    def max_length(self) -> str:
        """The value of `max_length` of Truncated with which 99 % of the lists of each level stay whole."""
        lengths = [str(max(1, length)) for length in self.usual]
        return lengths[0] if len(lengths) == 1 else f"[{','.join(lengths)}]"

    def __str__(self) -> str:
        nouns = ["lists"] * (len(self.longest) - 1) + ["values"]
        places = ["a row", *["a list"] * (len(self.longest) - 1)]
        levels = zip(self.longest, nouns, places, self.usual, strict=True)
        texts = [f"up to {most:,} {noun} in {place} (99 %: {usual:,})" for most, noun, place, usual in levels]
        return f"`{self.column}` has {' and '.join(texts)}"


def pad_length(length: int) -> int:
    """The length to which lists are padded whose longest one has some length."""
    return next(each for each in LENGTHS if each >= length)


def measure_lists(encoded: Mapping[str, Mapping[str, Any]], rows: RowNumbers) -> list[ListLengths]:
    """The lengths of the lists in some rows of each array that has lists, the largest array first."""
    found = [
        _measure(name, key, array, np.asarray(rows))
        for name, arrays in encoded.items()
        for key, array in arrays.items()
        if isinstance(array, Ragged)
    ]
    return sorted(found, key=lambda each: -each.row_bytes)


def _measure(name: str, key: str, array: Encoded, rows: np.ndarray) -> ListLengths:
    longest, usual = [], []
    values: Any = array
    while isinstance(values, Ragged):
        lengths = values.offsets[rows + 1] - values.offsets[rows]
        longest.append(int(lengths.max(initial=0)))
        usual.append(int(np.quantile(lengths, USUAL_SHARE, method="higher")) if len(lengths) else 0)
        if isinstance(values.values, Ragged):
            rows, _ = select_lists(values.offsets, rows)
        values = values.values
    counts = np.cumprod([pad_length(length) for length in longest], dtype=object)  # of elements, and bytes of masks
    row_bytes = sum(counts) + counts[-1] * math.prod(values.shape[1:]) * values.dtype.itemsize
    return ListLengths(name, key, tuple(longest), tuple(usual), row_bytes)


def describe_longest(lists: Sequence[ListLengths]) -> str:
    """What the longest lists are, and how to cut them: two lines for an error about memory, without the last period."""
    return (
        f"All lists of a batch are padded to its longest ones, and {lists[0]}.\n"
        f"Cut them by components.feature.Truncated with max_length={lists[0].max_length}, for example, before another "
        "column, such as Vocabulary, reads them; tokens by max_tokens of Tokens"
    )


def widen(data: Any, lists: Sequence[ListLengths]) -> Any:
    """The shapes of a batch whose lists are padded to the longest ones.

    Args:
        data: the arrays of a batch, (rows, …), by column and name.
        lists: the lengths of the lists of each array that has lists.
    """
    widths = {(each.column, each.key): each.widths for each in lists}

    def resize(path: tuple[Any, ...], array: Any) -> Any:
        if isinstance(array, Padded):
            return _resize(array, array.mask.shape[:1], widths[path[0].key, path[1].key])
        return jax.ShapeDtypeStruct(np.shape(array), array.dtype)

    return jax.tree_util.tree_map_with_path(resize, data, is_leaf=lambda each: isinstance(each, Padded))


def _resize(array: Padded, outer: tuple[int, ...], widths: Sequence[int]) -> Padded:
    shape = (*outer, widths[0])
    mask: Any = jax.ShapeDtypeStruct(shape, array.mask.dtype)
    if isinstance(array.values, Padded):
        return Padded(_resize(array.values, shape, widths[1:]), mask)
    return Padded(jax.ShapeDtypeStruct((*shape, *array.values.shape[len(shape) :]), array.values.dtype), mask)
