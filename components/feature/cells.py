"""What categorical columns read and give: strings or integers, one of a row, a fixed number of them, or any number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from components.types import Block, DataError, Encoded, Ragged, Strings, Values

NO_ID = np.int32(np.iinfo(np.int32).min)
"""The id of a cell that holds no value: it crosses with nothing, and stands for no bucket."""


class Cells(NamedTuple):
    """The values of a column one after the other, and how they make up rows."""

    values: Strings | np.ndarray  # integers, int64
    there: np.ndarray | None  # (values,), bool: which cells hold a value; None: all
    form: np.ndarray | tuple[int, ...]  # offsets, int64 (rows + 1,), of rows of any length; else (rows,) or (rows, K)

    def rows(self, values: np.ndarray) -> Encoded:
        """An array with an element for each value, as rows again."""
        return values.reshape(self.form) if isinstance(self.form, tuple) else Ragged(values, self.form)


def cells(block: Block, key: str, parents: Mapping[str, Mapping[str, Values]] | None = None) -> Cells:
    """The cells of a raw column, or of one of the `parents`.

    As in TensorFlow, a cell that is "" or -1 holds no value where every row has as many cells, and one that says
    so does where rows have any number of them. Gaps are no values. Raises DataError for other kinds of values.
    """
    values = _first(parents[key]) if parents and key in parents else _raw(block, key)
    form: Any = None
    if isinstance(values, Ragged):
        values, form = values.values, values.offsets
    valid = None if parents and key in parents else block.valid.get(key)
    if not isinstance(values, Strings):
        form = values.shape if form is None else form
        values = _plain(block, key, values.reshape(-1))
    elif form is None:
        form = (values.rows,)
    there = _there(values) if isinstance(form, tuple) else None
    if valid is not None and not valid.all() and isinstance(form, tuple):
        there = np.repeat(valid, len(there) // len(valid)) & there if there is not None else valid
    return Cells(values, None if there is None or there.all() else there, form)


def each(strings: Strings, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """What a function of (data, offsets) makes of the strings, row by row; those that repeat are worked on once."""
    distinct, inverse = compact(strings)
    results = function(distinct.data, distinct.offsets)
    return results if inverse is None else results[inverse]


def compact(strings: Strings) -> tuple[Strings, np.ndarray | None]:
    """The strings that occur, without a dictionary, and which of them each row is; None: row i is string i.

    A dictionary that isn't larger than the rows is taken whole, so some of its strings may not occur.
    """
    if strings.indices is None:
        return strings, None
    if len(strings.offsets) - 1 <= len(strings.indices):
        return strings._replace(indices=None), strings.indices
    used, inverse = np.unique(strings.indices, return_inverse=True)
    return gather(strings, used), inverse


def gather(strings: Strings, places: np.ndarray) -> Strings:
    """Some strings of a dictionary, in that order, as plain ones."""
    starts, lengths = strings.offsets[places], np.diff(strings.offsets)[places]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return Strings(strings.data[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)], offsets)


def to_strings(texts: list[str]) -> Strings:
    """Python's strings as Arrow has them."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Strings(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def _raw(block: Block, key: str) -> Values:
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}, but {', '.join(block.columns)}")
    return block.columns[key]


def _first(arrays: Mapping[str, Values]) -> Values:
    return next(iter(arrays.values()))


def _plain(block: Block, key: str, values: np.ndarray) -> Strings | np.ndarray:
    """NumPy's values as strings or int64."""
    if values.dtype.kind == "U" or (values.dtype.hasobject and all(isinstance(value, str) for value in values)):
        distinct, inverse = np.unique(values.astype(str), return_inverse=True)
        return to_strings(distinct.tolist())._replace(indices=inverse)
    if values.dtype.kind in "biu" and values.dtype != np.uint64:
        return values.astype(np.int64)
    wrong = (
        next((n for n, value in enumerate(values) if not isinstance(value, str)), 0) if values.dtype.hasobject else 0
    )
    shown = repr(values[wrong].item() if isinstance(values[wrong], np.generic) else values[wrong])
    raise DataError(
        f"column `{key}` of {block.origin} holds {shown} ({values.dtype}); a category is a string or an integer"
    )


def _there(values: Strings | np.ndarray) -> np.ndarray:
    if not isinstance(values, Strings):
        return values != -1
    filled = np.diff(values.offsets) > 0
    return filled if values.indices is None else filled[values.indices]
