"""Rows of a column at some indices, among which are gaps."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.ragged import take_rows
from components.types import Ragged, Strings, row_count

GAPS: dict[str, Any] = {"f": np.nan, "c": np.nan, "M": "NaT", "m": "NaT", "O": None, "U": "", "S": b""}  # others: 0


def take_or_gap(values: Any, valid_mask: np.ndarray | None, rows: np.ndarray) -> tuple[Any, np.ndarray | None]:
    """The rows of a column at some indices, and their mask. None: no value is missing.

    Args:
        values: the column.
        valid_mask: (rows,), bool: False where a value is missing. None: no value is missing.
        rows: the indices, int64; -1 is a gap.
    """
    is_gap = rows < 0
    if not is_gap.any():
        return take_rows(values, rows), None if valid_mask is None else valid_mask[rows]
    valid = ~is_gap
    if valid_mask is not None:
        valid[valid] = valid_mask[rows[valid]]
    return _take(values, rows, is_gap), valid


def _take(values: Any, rows: np.ndarray, is_gap: np.ndarray) -> Any:
    if isinstance(values, Strings):  # a gap is an empty string after all others
        indices = rows if values.indices is None else _take(values.indices, rows, is_gap)
        indices = np.where(is_gap, len(values.offsets) - 1, indices)
        return Strings(values.data, np.append(values.offsets, values.offsets[-1]), indices)
    if isinstance(values, Ragged):  # a gap is an empty list after all others
        padded = Ragged(values.values, np.append(values.offsets, values.offsets[-1]))
        return take_rows(padded, np.where(is_gap, row_count(values), rows))
    taken = np.full((len(rows), *values.shape[1:]), GAPS.get(values.dtype.kind, 0), values.dtype)
    taken[~is_gap] = values[rows[~is_gap]]
    return taken
