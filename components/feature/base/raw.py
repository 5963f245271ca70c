"""Raw columns of a block, with checks: each error names the row, the column and the value."""

from __future__ import annotations

import math
import numbers as abstract
from typing import Any

import numpy as np

from components.closest import suggest_name
from components.types import Block, DataError, Ragged, Strings

LARGEST = np.finfo(np.float32).max
LONGEST = 100  # characters of a value in a message
FINITE = "a finite number that float32 can hold is needed: correct it, or leave the row out"


def read_column(block: Block, key: str) -> np.ndarray:
    """A column that has a value in every row; raises DataError otherwise."""
    values, valid_mask = _find(block, key)
    if valid_mask is not None:
        raise value_error(block, key, _first_missing(valid_mask), "has no value", "fill it in, or leave the row out")
    return values


def read_numbers(block: Block, key: str, *, gaps: bool = False) -> np.ndarray:
    """A column of finite numbers that float32 can hold, (rows, …).

    Args:
        block: the rows.
        key: the column.
        gaps: whether numbers may be missing; they are NaN then.

    Raises:
        DataError: a value is missing, no number, infinite, or NaN.
    """
    values, valid_mask = read_any_numbers(block, key)
    if valid_mask is not None:
        if not gaps:
            raise missing_error(block, key, valid_mask)
        values = values.astype(np.float64)
        values[~valid_mask] = np.nan
    if values.dtype.kind == "f":
        size = np.abs(values)
        bad = size > LARGEST if gaps else ~(size <= LARGEST)
        if bad.any():
            place = tuple(np.argwhere(bad)[0])
            raise value_error(block, key, int(place[0]), f"is {format_value(values[place])}", FINITE)
    return values


def read_any_numbers(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A column of numbers, also infinite ones and NaN, (rows, …), and a mask of that shape: False where one is missing.

    The mask is None where no number is missing. Raises DataError for other values.
    """
    if isinstance(block.columns.get(key), Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths; that needs `sequence: true`")
    values, valid_mask = _find(block, key)
    if 0 in values.shape[1:]:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}, without a number")
    if values.dtype.hasobject:
        values = values if valid_mask is None else np.where(valid_mask, values, np.nan)
        values = _convert_objects(block, key, values, (abstract.Real, np.bool_), np.float64, "a number is needed")
    if values.dtype.kind in "biuf":
        return values, valid_mask
    if len(values):
        raise value_error(block, key, 0, f"is {format_value(values.flat[0])}", "a number is needed")
    return np.zeros(values.shape), None  # without rows the values may be of any type


def read_labels(block: Block, key: str) -> np.ndarray:
    """A column of classes, (rows,): integers, strings or booleans. Raises DataError for other values."""
    values = read_column(block, key)
    needed = "a class is an integer, a string or a boolean"
    if values.ndim != 1:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}: {needed}")
    if values.dtype.hasobject:
        is_text = isinstance(values[0], str)
        kinds, dtype = ((str,), np.str_) if is_text else ((abstract.Integral, np.bool_), np.int64)
        values = _convert_objects(block, key, values, kinds, dtype, needed)
    if values.dtype.kind not in "biuU":
        raise value_error(block, key, 0, f"is {format_value(values[0])}", needed)
    return values


def missing_error(block: Block, key: str, valid_mask: np.ndarray) -> DataError:
    """The error for the first row of a column of numbers that lacks a value."""
    remedy = "fill it in, or leave the row out; `missing` fills the gaps of a feature"
    return value_error(block, key, _first_missing(valid_mask), "has no value", remedy)


def value_error(block: Block, key: str, row: int, fault: str, remedy: str) -> DataError:
    """The error for a value of a column."""
    return DataError(f"{block.locate(row)}: column `{key}` {fault}; {remedy}")


def format_value(value: Any) -> str:
    """A value as Python writes it; the beginning of a long one."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, int) and value.bit_length() > LONGEST:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _find(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A column, and a mask of its shape: False where a value is missing; None: none is."""
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}. {suggest_name(key, block.columns)}")
    values = block.columns[key]
    if isinstance(values, Ragged):
        raise DataError(f"column `{key}` of {block.origin} has rows of different lengths")
    if isinstance(values, Strings):
        values = np.array(values.tolist(), object)
    valid_mask = block.valid.get(key)
    if valid_mask is not None:
        wide = valid_mask.reshape(-1, *(1,) * (values.ndim - 1))
        valid_mask = None if valid_mask.all() else np.broadcast_to(wide, values.shape)
    if values.dtype.hasobject:
        values = values.astype(object, copy=False)
        filled = np.array([value is not None for value in values.flat], bool).reshape(values.shape)
        valid_mask = filled if valid_mask is None else valid_mask & filled
    return values, None if valid_mask is None or valid_mask.all() else valid_mask


def _first_missing(valid_mask: np.ndarray) -> int:
    """The first row in which a value is missing."""
    return int(np.argwhere(~valid_mask)[0][0])


def _convert_objects(
    block: Block, key: str, values: np.ndarray, kinds: tuple[type, ...], dtype: Any, needed: str
) -> np.ndarray:
    """An array of Python objects as one of NumPy's own types; raises DataError where a value is of another kind."""
    for place, value in enumerate(values.flat):
        if not isinstance(value, kinds):
            raise value_error(block, key, place // math.prod(values.shape[1:]), f"is {format_value(value)}", needed)
    try:
        return values.astype(dtype)
    except OverflowError as overflow:
        place, value = next(pair for pair in enumerate(values.flat) if not _fits(pair[1], dtype))
        fault = f"is {format_value(value)}, too large for {np.dtype(dtype)}"
        raise value_error(block, key, place // math.prod(values.shape[1:]), fault, needed) from overflow


def _fits(value: Any, dtype: Any) -> bool:
    try:
        np.array([value], object).astype(dtype)
    except OverflowError:
        return False
    return True
