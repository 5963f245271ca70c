"""Raw columns of a block, checked: every error names the row, the column and the value."""

from __future__ import annotations

import numbers as abstract
from typing import Any

import numpy as np

from components.types import Block, DataError, Ragged, Strings


def column(block: Block, key: str) -> np.ndarray:
    """A raw column, in which no value is missing."""
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}, but {', '.join(block.columns)}")
    values = block.columns[key]
    if isinstance(values, Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths")
    if isinstance(values, Strings):
        values = np.array(values.tolist(), object)
    valid = block.valid.get(key)
    if valid is not None and not valid.all():
        raise _error(block, key, int(np.argmin(valid)), "has no value", "fill it in, or leave the row out")
    return values


def numbers(block: Block, key: str) -> np.ndarray:
    """A column of finite numbers that float32 can hold, (rows, …)."""
    values = column(block, key)
    if values.dtype.hasobject:
        values = _converted(block, key, values, abstract.Real, np.float64, "a number is needed")
    if values.dtype.kind not in "biuf":
        raise _error(block, key, 0, f"is {_show(values[0])}", "a number is needed")
    if values.dtype.kind == "f":
        bad = ~(np.abs(values) <= np.finfo(np.float32).max)
        if bad.any():
            place = tuple(np.argwhere(bad)[0])
            remedy = "a finite number that float32 can hold is needed: mend it, or leave the row out"
            raise _error(block, key, int(place[0]), f"is {_show(values[place])}", remedy)
    return values


def labels(block: Block, key: str) -> np.ndarray:
    """A column of classes, (rows,): integers, strings or booleans."""
    values = column(block, key)
    needed = "a class is an integer, a string or a boolean"
    if values.ndim != 1:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}: {needed}")
    if values.dtype.hasobject:
        kind: tuple[type, Any] = (str, np.str_) if isinstance(values[0], str) else (abstract.Integral, np.int64)
        values = _converted(block, key, values, *kind, needed)
    if values.dtype.kind not in "biuU":
        raise _error(block, key, 0, f"is {_show(values[0])}", needed)
    return values


def _converted(block: Block, key: str, values: np.ndarray, kind: type, dtype: Any, needed: str) -> np.ndarray:
    """An array of Python objects as one of NumPy's own types, if all are of one kind."""
    for row, value in enumerate(values):
        if not isinstance(value, kind):
            raise _error(block, key, row, f"is {_show(value)}", needed)
    return values.astype(dtype)


def _error(block: Block, key: str, row: int, fault: str, remedy: str) -> DataError:
    return DataError(f"{block.where(row)}: column `{key}` {fault}; {remedy}")


def _show(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)
