"""Lists of lists as `Ragged`, and back."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from components.feature.text.string_ops import to_strings
from components.types import Padded, Ragged, Strings


def to_ragged(rows: list[Any], depth: int, dtype: Any = np.int64) -> Any:
    """A column whose rows have lists of some depth."""
    if depth == 0:
        return to_strings(rows) if dtype is str else np.array(rows, dtype)
    elements = [element for row in rows for element in row]
    return Ragged(to_ragged(elements, depth - 1, dtype), np.cumsum([0, *map(len, rows)], dtype=np.int64))


def to_lists(values: Any) -> list[Any]:
    """The rows of a column as lists."""
    if not isinstance(values, Ragged):
        return values.tolist() if isinstance(values, Strings) else np.asarray(values).tolist()
    elements, offsets = to_lists(values.values), np.asarray(values.offsets).tolist()
    return [elements[start:stop] for start, stop in itertools.pairwise(offsets)]


def unpad(values: Any) -> list[Any]:
    """The rows of an array or of Padded as lists, without padding."""
    leaves = values
    while isinstance(leaves, Padded):
        leaves = leaves.values
    return [_unpad_row(jax.tree.map(lambda leaf, row=row: leaf[row], values)) for row in range(len(leaves))]


def _unpad_row(row: Any) -> Any:
    if not isinstance(row, Padded):
        return np.asarray(row).tolist()
    steps = np.flatnonzero(row.mask)
    return [_unpad_row(jax.tree.map(lambda leaf, step=step: leaf[step], row.values)) for step in steps]
