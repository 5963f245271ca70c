"""Raw columns of a block, checked: every error names the row, the column and the value."""

from __future__ import annotations

import difflib
import numbers as abstract
from typing import Any

import numpy as np

from components.types import Block, DataError, Ragged, Strings

LARGEST = np.finfo(np.float32).max
FINITE = "a finite number that float32 can hold is needed: mend it, or leave the row out"


def column(block: Block, key: str) -> np.ndarray:
    """A raw column, in which no value is missing."""
    values, there = _found(block, key)
    if there is not None and not there.all():
        raise error(block, key, int(np.argmin(there)), "has no value", "fill it in, or leave the row out")
    return values


def numbers(block: Block, key: str, *, gaps: bool = False) -> np.ndarray:
    """A column of finite numbers that float32 can hold, (rows, …); with `gaps`, NaN stands where one is missing."""
    values, there = any_numbers(block, key)
    if there is not None and not there.all():
        if not gaps:
            raise gap(block, key, there)
        values = values.astype(np.float64)
        values[~there] = np.nan
    if values.dtype.kind == "f":
        size = np.abs(values)
        bad = size > LARGEST if gaps else ~(size <= LARGEST)
        if bad.any():
            place = tuple(np.argwhere(bad)[0])
            raise error(block, key, int(place[0]), f"is {show(values[place])}", FINITE)
    return values


def any_numbers(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A column of numbers, infinite ones and NaN too, (rows, …), and which rows have one, (rows,); None: all."""
    if isinstance(block.columns.get(key), Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths; that needs `sequence: true`")
    values, there = _found(block, key)
    if values.dtype.hasobject:
        if there is not None:
            values = np.where(there.reshape(-1, *(1,) * (values.ndim - 1)), values, np.nan)
        values = _converted(block, key, values, abstract.Real, np.float64, "a number is needed")
    if values.dtype.kind not in "biuf":
        raise error(block, key, 0, f"is {show(values[0])}", "a number is needed")
    return values, there


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
        raise error(block, key, 0, f"is {show(values[0])}", needed)
    return values


def gap(block: Block, key: str, there: np.ndarray) -> DataError:
    """That a number is missing in the first row where there is none."""
    remedy = "fill it in, or leave the row out; `missing` fills the gaps of a feature"
    return error(block, key, int(np.argmin(there)), "has no value", remedy)


def error(block: Block, key: str, row: int, fault: str, remedy: str) -> DataError:
    """What is wrong with a value of a column."""
    return DataError(f"{block.where(row)}: column `{key}` {fault}; {remedy}")


def show(value: Any) -> str:
    """A value as Python writes it."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def _found(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A column, and which rows of it have a value."""
    if key not in block.columns:
        near = difflib.get_close_matches(key, block.columns, n=1)
        hint = f"did you mean `{near[0]}`? There are" if near else "but"
        raise DataError(f"there is no column `{key}` in {block.origin}, {hint} {', '.join(block.columns)}")
    values = block.columns[key]
    if isinstance(values, Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths")
    if isinstance(values, Strings):
        values = np.array(values.tolist(), object)
    return values, block.valid.get(key)


def _converted(block: Block, key: str, values: np.ndarray, kind: type, dtype: Any, needed: str) -> np.ndarray:
    """An array of Python objects as one of NumPy's own types, if all are of one kind."""
    for row, value in enumerate(values):
        if not isinstance(value, kind):
            raise error(block, key, row, f"is {show(value)}", needed)
    return values.astype(dtype)
