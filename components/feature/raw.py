"""Raw columns of a block, checked: every error names the row, the column and the value."""

from __future__ import annotations

import math
import numbers as abstract
from typing import Any

import numpy as np

from components.closest import suggest_name
from components.types import Block, DataError, Ragged, Strings

LARGEST = np.finfo(np.float32).max
LONGEST = 100  # characters of a value in a message
FINITE = "a finite number that float32 can hold is needed: mend it, or leave the row out"


def column(block: Block, key: str) -> np.ndarray:
    """A raw column, in which no value is missing."""
    values, there = _found(block, key)
    if there is not None:
        raise error(block, key, _first_gap(there), "has no value", "fill it in, or leave the row out")
    return values


def numbers(block: Block, key: str, *, gaps: bool = False) -> np.ndarray:
    """A column of finite numbers that float32 can hold, (rows, …); with `gaps`, NaN stands where one is missing."""
    values, there = any_numbers(block, key)
    if there is not None:
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
    """A column of numbers, infinite ones and NaN too, (rows, …), and which there are, of that shape; None: all."""
    if isinstance(block.columns.get(key), Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths; that needs `sequence: true`")
    values, there = _found(block, key)
    if 0 in values.shape[1:]:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}, without a number")
    if values.dtype.hasobject:
        values = values if there is None else np.where(there, values, np.nan)
        values = _converted(block, key, values, (abstract.Real, np.bool_), np.float64, "a number is needed")
    if values.dtype.kind in "biuf":
        return values, there
    if len(values):
        raise error(block, key, 0, f"is {show(values.flat[0])}", "a number is needed")
    return np.zeros(values.shape), None  # rows of any length that are all empty may be of any kind


def labels(block: Block, key: str) -> np.ndarray:
    """A column of classes, (rows,): integers, strings or booleans."""
    values = column(block, key)
    needed = "a class is an integer, a string or a boolean"
    if values.ndim != 1:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}: {needed}")
    if values.dtype.hasobject:
        text = isinstance(values[0], str)
        kinds, dtype = ((str,), np.str_) if text else ((abstract.Integral, np.bool_), np.int64)
        values = _converted(block, key, values, kinds, dtype, needed)
    if values.dtype.kind not in "biuU":
        raise error(block, key, 0, f"is {show(values[0])}", needed)
    return values


def gap(block: Block, key: str, there: np.ndarray) -> DataError:
    """That a number is missing in the first row where there is none."""
    remedy = "fill it in, or leave the row out; `missing` fills the gaps of a feature"
    return error(block, key, _first_gap(there), "has no value", remedy)


def error(block: Block, key: str, row: int, fault: str, remedy: str) -> DataError:
    """What is wrong with a value of a column."""
    return DataError(f"{block.where(row)}: column `{key}` {fault}; {remedy}")


def show(value: Any) -> str:
    """A value as Python writes it, of a long one the beginning."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, int) and value.bit_length() > LONGEST:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _found(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A column, and which of its values are there, of its shape; None: all."""
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}; {suggest_name(key, block.columns)}")
    values = block.columns[key]
    if isinstance(values, Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths")
    if isinstance(values, Strings):
        values = np.array(values.tolist(), object)
    there = block.valid.get(key)
    if there is not None:
        there = None if there.all() else np.broadcast_to(there.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)
    if values.dtype.hasobject:
        values = values.astype(object, copy=False)
        filled = np.array([value is not None for value in values.flat], bool).reshape(values.shape)
        there = filled if there is None else there & filled
    return values, None if there is None or there.all() else there


def _first_gap(there: np.ndarray) -> int:
    """The first row in which a value is missing."""
    return int(np.argwhere(~there)[0][0])


def _converted(
    block: Block, key: str, values: np.ndarray, kinds: tuple[type, ...], dtype: Any, needed: str
) -> np.ndarray:
    """An array of Python objects as one of NumPy's own types, if all are of one kind."""
    for place, value in enumerate(values.flat):
        if not isinstance(value, kinds):
            raise error(block, key, place // math.prod(values.shape[1:]), f"is {show(value)}", needed)
    try:
        return values.astype(dtype)
    except OverflowError as overflow:
        place, value = next(pair for pair in enumerate(values.flat) if not _fits(pair[1], dtype))
        fault = f"is {show(value)}, too large for {np.dtype(dtype)}"
        raise error(block, key, place // math.prod(values.shape[1:]), fault, needed) from overflow


def _fits(value: Any, dtype: Any) -> bool:
    try:
        np.array([value], object).astype(dtype)
    except OverflowError:
        return False
    return True
