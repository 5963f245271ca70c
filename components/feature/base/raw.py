"""Reads and checks raw columns of a block. The errors name the row, the column and the value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from components.closest import suggest_name
from components.ragged import layout_of
from components.types import Block, DataError, Ragged, Remedy, Strings

FLOAT32_MAX = float(np.finfo(np.float32).max)
LARGEST = 1e307  # differences of numbers up to it are finite in float64
NO_ID = np.int32(np.iinfo(np.int32).min)
"""The id of a missing value. Crosses, indicators and embeddings ignore it."""

LISTS_REMEDY = "use Vocabulary, Hashed or Numeric with `sequence=true` for a feature, or Labels for a target"
CORRECT, REMOVE_ROW = "correct it", "remove the row"  # remedies
MAX_VALUE_CHARACTERS = 100  # of a value in a message
MAX_INTEGER_BITS = 100  # of an integer in a message


def read_column(block: Block, key: str) -> np.ndarray:
    """Reads a column without missing values; raises DataError if a value is missing."""
    values, valid_mask = _get_column(block, key)
    if valid_mask is not None:
        raise make_gap_error(block, key, _first_missing(valid_mask))
    return values


def read_numbers(block: Block, key: str, *, allow_missing: bool = False, largest: float = LARGEST) -> np.ndarray:
    """Reads a column of finite numbers, (rows, …).

    Args:
        block: the rows.
        key: the name of the column.
        allow_missing: whether missing values and NaN are allowed. In the result both are NaN.
        largest: the largest allowed number. The smallest is its negative.

    Raises:
        DataError: a value is no number, is infinite or too large, or is missing or NaN if that isn't allowed.
    """
    values, valid_mask = read_any_numbers(block, key)
    if valid_mask is not None:
        if not allow_missing:
            raise make_missing_error(block, key, valid_mask)
        values = values.astype(np.float64)
        values[~valid_mask] = np.nan
    if values.dtype.kind == "f":
        size, limit = np.abs(values), min(largest, float(np.finfo(values.dtype).max))
        invalid = size > limit if allow_missing else ~(size <= limit)  # only the latter finds NaN
        if invalid.any():
            position = tuple(np.argwhere(invalid)[0])
            fault = f"is {format_value(values[position])}; {describe_range(largest)}"
            raise make_value_error(block, key, int(position[0]), fault, CORRECT, REMOVE_ROW)
    return values


def describe_range(largest: float) -> str:
    """Says which numbers are allowed, for messages."""
    return f"a finite number from {-largest:.3g} to {largest:.3g} is needed"


def read_any_numbers(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a column of numbers, including infinite numbers and NaN.

    Returns:
        The numbers, (rows, …), and a mask of the same shape: False where a number is missing. The mask is None if no
        number is missing.

    Raises:
        DataError: a value is no number.
    """
    if isinstance(block.columns.get(key), Ragged):
        raise DataError(_describe_lists(block, key), *_list_remedies(block, key))
    values, valid_mask = _get_column(block, key)
    if key in block.ids and (values == NO_ID).any():
        valid_mask = values != NO_ID
    if 0 in values.shape[1:]:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}, which have no numbers")
    if values.dtype.hasobject:
        values = values if valid_mask is None else np.where(valid_mask, values, np.nan)
        values = _convert_objects(block, key, values, (Real, np.bool_), np.float64, "a number is needed")
    if values.dtype.kind in "biuf":
        return values, valid_mask
    if len(values):
        raise make_value_error(block, key, 0, f"is {format_value(values.flat[0])}", "a number is needed")
    return np.zeros(values.shape), None  # without rows the values may be of any type


def read_row_shape(block: Block, key: str) -> tuple[int, ...]:
    """The shape of a row of a column: () for single values. Raises DataError for rows of different lengths."""
    if isinstance(block.columns.get(key), Strings):
        return ()
    values, _ = _get_column(block, key)
    return values.shape[1:]


def fill_missing(block: Block, key: str) -> tuple[Block, np.ndarray | None]:
    """Replaces the missing values of a column by its first value that isn't missing.

    Returns:
        The block with the filled column, and a mask of the column's shape: False where a value was missing. The mask is
        None if no value was missing. If all values are missing, the block is unchanged.
    """
    values, valid_mask = _get_column(block, key)
    if valid_mask is None or not valid_mask.any():
        return block, valid_mask
    filled = np.where(valid_mask, values, values[valid_mask][0])
    valid = {name: mask for name, mask in block.valid.items() if name != key}
    return replace(block, columns={**block.columns, key: filled}, valid=valid), valid_mask


def read_labels(block: Block, key: str) -> np.ndarray:
    """Reads a column of classes, (rows, …): integers, strings or booleans. Raises DataError for other values."""
    values = read_column(block, key)
    needed = "a class is an integer, a string or a boolean"
    if values.dtype.hasobject and values.size:
        is_text = isinstance(values.flat[0], str)
        kinds, dtype = ((str,), np.str_) if is_text else ((Integral, np.bool_), np.int64)
        converted = _convert_objects(block, key, values, kinds, dtype, needed)
        if is_text:
            check_classes(key, values[converted != values])
        values = converted
    if values.dtype.kind in "biuU":
        return values
    if len(values):
        raise make_value_error(block, key, 0, f"is {format_value(values.flat[0])}", needed)
    return np.zeros(0, np.int64)  # without rows the values may be of any type


def check_classes(key: str, classes: Iterable[Any]) -> None:
    """Raises DataError for a text that ends with NUL. NumPy's arrays of texts drop it and so would merge classes."""
    for value in classes:
        if isinstance(value, str) and value.endswith("\0"):
            fault = f"column `{key}` has the class {format_value(value)}, which ends with a NUL character"
            raise DataError(f"{fault}; remove this character from the texts")


def make_missing_error(block: Block, key: str, valid_mask: np.ndarray) -> DataError:
    """Makes the error for the first missing number of a column."""
    remedy = Remedy("set `missing` to replace missing values of a feature", "gaps")
    return make_gap_error(block, key, _first_missing(valid_mask), remedy)


def make_gap_error(block: Block, key: str, row: int, *remedies: Remedy, fill: str = "fill it in") -> DataError:
    """Makes the error for a missing value. `remedies`: what to do apart from `fill` and removing the row."""
    fault = f"{block.locate(row)}: column `{key}` has no value"
    return DataError(fault, fill, REMOVE_ROW, *remedies, missing=key)


def make_value_error(block: Block, key: str, row: int, fault: str, *remedies: Remedy | str) -> DataError:
    """Makes the error for a value of a column."""
    return DataError(f"{block.locate(row)}: column `{key}` {fault}", *remedies)


def format_value(value: Any) -> str:
    """Formats a value as Python writes it. A long value is cut; a long integer is replaced by its number of bits."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}..."


def _get_column(block: Block, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns a column, and a mask of its shape: False where a value is missing. None: no value is missing."""
    if key not in block.columns:
        raise DataError(
            f"there is no column `{key}` in {block.origin}. {suggest_name(key, block.columns, title='Columns')}"
        )
    values = block.columns[key]
    if isinstance(values, Ragged):
        raise DataError(_describe_lists(block, key), Remedy(LISTS_REMEDY, "columns"))
    if isinstance(values, Strings):
        try:
            values = np.array(values.tolist(), object)
        except UnicodeDecodeError as error:
            raise DataError(
                f"column `{key}` of {block.origin} has bytes that aren't text, such as "
                f"{format_value(error.object[:16])}; numbers or texts are needed. Bytes of "
                "image files are read by components.feature.Image. In TFRecord "
                f"files, data.bytes_as.{key}=tensor reads serialized tensors"
            ) from None
    valid_mask = block.valid.get(key)
    if valid_mask is not None:
        per_row = valid_mask.reshape((-1,) + (1,) * (values.ndim - 1))  # (rows, 1, …), which broadcasts
        valid_mask = None if valid_mask.all() else np.broadcast_to(per_row, values.shape)
    if values.dtype.hasobject:
        values = values.astype(object, copy=False)  # `hasobject` is also true for NumPy's StringDType
        not_none = np.array([value is not None for value in values.flat], bool).reshape(values.shape)
        valid_mask = not_none if valid_mask is None else valid_mask & not_none
    return values, None if valid_mask is None or valid_mask.all() else valid_mask


def _describe_lists(block: Block, key: str) -> str:
    """A fault about rows with lists, where single values or arrays are needed."""
    layout, length = layout_of(block.columns[key]), _find_length(block, key)
    if layout.is_nested:
        lists = f"{layout} in its rows"
    else:
        lists = "rows of different lengths" if length is None else f"lists in its rows, the first one of {length}"
    return f"column `{key}` of {block.origin} has {lists}{'' if length is None else ' values'}"


def check_no_lists(block: Block, keys: Iterable[str]) -> None:
    """Raises DataError for a column of lists, for a reader that has no parameter for their length."""
    for key in keys:
        if isinstance(block.columns.get(key), Ragged):
            remedy = "read them by a feature column Numeric with `size`, and put its name in place of the column"
            raise DataError(_describe_lists(block, key), Remedy(remedy, "columns"))


def _find_length(block: Block, key: str) -> int | None:
    """The length of all lists of a column that are there. None: they have several, or are lists of lists."""
    layout = layout_of(block.columns[key])
    lengths = np.diff(layout.levels[0])
    lengths = np.unique(lengths[block.valid[key]] if key in block.valid else lengths)
    return None if layout.is_nested or len(lengths) != 1 else int(lengths[0])


def _list_remedies(block: Block, key: str) -> list[Remedy]:
    """What reads the lists of a column by `Numeric`."""
    if not (length := _find_length(block, key)):
        return [Remedy("set `sequence=true`", "columns")]
    vectors = Remedy(f"set `size={length}`", "columns", "for vectors of this length")
    return [vectors, Remedy("set `sequence=true`", "columns", "for sequences")]


def _first_missing(valid_mask: np.ndarray) -> int:
    """The first row with a missing value."""
    return int(np.argwhere(~valid_mask)[0][0])


def _convert_objects(
    block: Block, key: str, values: np.ndarray, kinds: tuple[type, ...], dtype: Any, needed: str
) -> np.ndarray:
    """Converts Python objects of some `kinds` to a NumPy type; raises DataError for an object of another kind."""
    row_size = math.prod(values.shape[1:])
    for position, value in enumerate(values.flat):
        if not isinstance(value, kinds):
            raise make_value_error(block, key, position // row_size, f"is {format_value(value)}", needed)
    try:
        return values.astype(dtype)
    except OverflowError as overflow:
        position, value = next((i, value) for i, value in enumerate(values.flat) if not _fits(value, dtype))
        fault = f"is {format_value(value)}, too large for {np.dtype(dtype)}"
        raise make_value_error(block, key, position // row_size, fault, needed) from overflow


def _fits(value: Any, dtype: Any) -> bool:
    try:
        np.array([value], object).astype(dtype)
    except OverflowError:
        return False
    return True
