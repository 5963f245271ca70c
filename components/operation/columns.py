"""Columns that are parameters of operations."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from components.closest import suggest_name
from components.types import Block, DataError, Values


def check_columns(names: Collection[str], block: Block) -> None:
    """Raises DataError unless a block has columns of some names."""
    for name in names:
        if name not in block.columns:
            suggestion = suggest_name(name, block.columns, title="Columns")
            raise DataError(f"there is no column `{name}` in {block.origin}. {suggestion}")


def find_valid(values: Values, valid: np.ndarray | None) -> np.ndarray | None:
    """Which values of a column aren't missing, (rows,), bool. NaN, NaT and None are missing. None: all have a value."""
    if not isinstance(values, np.ndarray) or values.ndim > 1:
        return valid
    if values.dtype.hasobject:
        has_value = np.array([value is not None for value in values], bool)
    elif values.dtype.kind in "fcMm":
        has_value = values == values  # NaN and NaT differ from themselves
    else:
        return valid
    has_value = has_value if valid is None else has_value & valid
    return None if has_value.all() else has_value
