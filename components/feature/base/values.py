"""The values of categorical columns: strings or integers. Rows have one value, a fixed number, or (nested) lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.closest import suggest_name
from components.feature.base.raw import NO_ID as NO_ID
from components.feature.base.raw import format_value
from components.feature.text.string_ops import (
    concatenate_categories,
    format_category,
    is_encodable,
    split_dictionary,
    take,
    to_categories,
    to_strings,
)
from components.ragged import Layout, layout_of, split_levels
from components.types import Block, DataError, Encoded, Remedy, Strings, UserError, Values

INT64_STOP = 1 << 63  # the smallest integer above all int64
NEED_CATEGORY = "a category is text or a whole number from -2**63 to 2**63 - 1"
USE_BUCKETIZED = Remedy("use Bucketized for other numbers", "columns")
NEED_ONE_TYPE = "categories are either all text or all whole numbers from -2**63 to 2**63 - 1; None is a missing value"

Locate: TypeAlias = Callable[[int], str]  # describes the location of the value at a position, for a message


class CategoryValues(NamedTuple):
    """The values of a column, flattened.

    Attributes:
        values: strings, or int64.
        valid_mask: (values,), bool: False where a value is missing. None: no value is missing.
        layout: how the values are arranged in rows.
    """

    values: Strings | np.ndarray
    valid_mask: np.ndarray | None
    layout: Layout

    def to_rows(self, values: np.ndarray) -> Encoded:
        """Reshapes `values`, one for each value of the column, to the column's rows."""
        return self.layout.nest(values)

    def encode_ids(self, ids: np.ndarray) -> dict[str, Encoded]:
        """Reshapes `ids`, one for each value of the column, to its rows, int32. Missing values get NO_ID."""
        ids = ids.astype(np.int32, copy=False)
        if self.valid_mask is not None:
            ids = np.where(self.valid_mask, ids, NO_ID)
        return {"ids": self.to_rows(ids)}

    @property
    def value_count(self) -> int:
        """The number of values, including missing values."""
        return self.values.rows if isinstance(self.values, Strings) else len(self.values)

    @property
    def is_all_missing(self) -> bool:
        """Whether all values are missing."""
        return self.value_count == 0 if self.valid_mask is None else not self.valid_mask.any()

    @property
    def is_one_dimensional(self) -> bool:
        """Whether the layout is (rows,)."""
        return not self.layout.levels and len(self.layout.shape) == 1

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return self.layout.rows

    def find_row(self, position: int) -> int:
        """The row of the value at a position."""
        return self.layout.find_row(position)

    def number_rows(self) -> np.ndarray | None:
        """The row of each value. None: each row has one value."""
        if not self.layout.levels and self.layout.width == 1:
            return None
        return np.repeat(np.arange(self.row_count), np.diff(self.layout.offsets))


def read_values(
    block: Block,
    key: str,
    parents: Mapping[str, Mapping[str, Values]] | None = None,
    *,
    missing: str | int | None = None,
    empty_is_missing: bool = True,
) -> CategoryValues:
    """Reads the values of a raw column, or of one of the `parents`.

    Args:
        block: the rows.
        key: the name of the column.
        parents: the encoded arrays of the feature columns that the caller reads, by column and array name. A column
            among them is read instead of the raw column of the same name.
        missing: replaces missing values. None: they stay missing.
        empty_is_missing: whether "" and -1 are missing values, as in TensorFlow. In a ragged column, whose rows may
            have different numbers of values, and in the ids of a categorical column, they are ordinary values.

    Raises:
        DataError: a value is neither text nor an integer.
    """
    arrays = (parents or {}).get(key)
    name, values = next(iter(arrays.items())) if arrays else (key, get_column(block, key))
    layout = layout_of(values)
    values, _ = split_levels(values)
    valid = None if arrays else block.valid.get(key)
    is_ids = name == "ids" if arrays else key in block.ids

    def locate(position: int) -> str:
        return f"{block.locate(layout.find_row(position))}: column `{key}`"

    flat, valid_mask = as_categories(values, locate)
    if valid is not None and not valid.all():
        valid_mask = _combine_masks(valid_mask, np.repeat(valid, np.diff(layout.offsets)))
    if is_ids and not isinstance(flat, Strings):
        valid_mask = _combine_masks(valid_mask, flat != NO_ID)
    elif empty_is_missing and not layout.levels:
        valid_mask = _combine_masks(valid_mask, _find_not_empty(flat))
    if valid_mask is not None and valid_mask.all():
        valid_mask = None
    categories = CategoryValues(flat, valid_mask, layout)
    if valid_mask is None or missing is None:
        return categories
    check_category_type(block, key, categories, f"missing={missing!r}", isinstance(missing, str))
    return CategoryValues(_fill_missing(categories, valid_mask, missing), None, layout)


def first_array(arrays: Mapping[str, Values]) -> Values:
    """The first of a feature column's arrays: the one that other columns read. The others are weights or classes."""
    return next(iter(arrays.values()))


def check_category_type(block: Block, key: str, categories: CategoryValues, other: str, is_text: bool) -> None:
    """Raises DataError unless a column and another value are both text, or both whole numbers.

    Args:
        block: the rows.
        key: the name of the column.
        categories: the values of the column.
        other: the name of the other value, for the message.
        is_text: whether the other value is text.
    """
    first = 0 if categories.valid_mask is None else int(np.argmax(categories.valid_mask))
    if categories.is_all_missing or isinstance(categories.values, Strings) == is_text:
        return
    column_type = "whole numbers" if is_text else "text"
    value = format_category(categories.values, first)
    raise DataError(
        f"column `{key}` of {block.origin} has {column_type} ({value!r}), unlike {other}; "
        "both must be text, or both whole numbers"
    )


def as_categories(values: Any, locate: Locate) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Flattens values to strings or int64.

    Args:
        values: strings, or an array of integers, booleans, texts or Python objects; bytes are text in UTF-8.
        locate: describes the location of the value at a position.

    Returns:
        The values, and a mask (values,), bool: False where a value is missing. None: no value is missing.

    Raises:
        DataError: a value has another type, or is a text that UTF-8 can't encode.
    """
    if isinstance(values, Strings):
        if values.indices is not None and len(values.offsets) < 2:  # the dictionary is empty if all values are missing
            values = values._replace(offsets=np.zeros(2, np.int64))
        return values, None
    flat = values.reshape(-1)
    if flat.dtype.hasobject or flat.dtype.kind in "US":
        return _convert_objects(flat.tolist(), locate)
    if not len(flat):
        return np.zeros(0, np.int64), None
    exceeds_int64 = flat.dtype == np.uint64 and bool((flat >> np.uint64(63)).any())
    if flat.dtype.kind not in "biu" or exceeds_int64:
        position = int(np.argmax(flat)) if exceeds_int64 else 0
        fault = f"{locate(position)} is {format_value(flat[position])} ({flat.dtype}); {NEED_CATEGORY}"
        raise DataError(fault, USE_BUCKETIZED)
    return flat.astype(np.int64, copy=False), None


def get_column(block: Block, key: str) -> Values:
    """A raw column. Raises DataError, with the nearest name, if there is none."""
    if key not in block.columns:
        raise DataError(
            f"there is no column `{key}` in {block.origin}. {suggest_name(key, block.columns, title='Columns')}"
        )
    return block.columns[key]


def _find_not_empty(values: Strings | np.ndarray) -> np.ndarray | None:
    """Which values are neither "" nor -1. None: all of them."""
    if not isinstance(values, Strings):
        return values != -1
    not_empty = np.diff(values.offsets) > 0
    if not_empty.all():
        return None
    return not_empty if values.indices is None else not_empty[values.indices]


def _combine_masks(mask: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if mask is None or other is None:
        return other if mask is None else mask
    return mask & other


def _fill_missing(categories: CategoryValues, valid_mask: np.ndarray, missing: str | int) -> Strings | np.ndarray:
    """Replaces missing values by `missing`."""
    if categories.is_all_missing:
        return take(to_categories([missing]), np.zeros(len(valid_mask), np.int64))
    if not isinstance(categories.values, Strings):
        return np.where(valid_mask, categories.values, np.int64(missing))
    strings, positions = split_dictionary(categories.values)
    indices = np.arange(len(valid_mask)) if positions is None else positions
    extended = concatenate_categories(strings, to_strings([str(missing)]))
    assert isinstance(extended, Strings)
    return extended._replace(indices=np.where(valid_mask, indices, len(strings.offsets) - 1))


def _convert_objects(values: list[Any], locate: Locate) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Converts strings, bytes or integers of Python and NumPy; None is a missing value."""
    kinds = set(map(type, values))
    valid_mask = np.array([value is not None for value in values], bool) if NoneType in kinds else None
    if not any(issubclass(kind, str | bytes) for kind in kinds):
        integers = [_convert_integer(value, position, locate) for position, value in enumerate(values)]
        return np.array(integers, np.int64), valid_mask
    if kinds <= {str, NoneType}:
        texts = [value or "" for value in values]
    else:
        texts = [_convert_text(value, position, locate) for position, value in enumerate(values)]
    try:
        return to_strings(texts), valid_mask
    except UserError as error:
        position = next(position for position, text in enumerate(texts) if not is_encodable(text))
        raise DataError(
            f"{locate(position)} is {format_value(texts[position])}, which UTF-8 can't encode; correct it"
        ) from error


def _convert_integer(value: Any, position: int, locate: Locate) -> int:
    if value is None:
        return 0
    if isinstance(value, int | np.integer | np.bool_) and -INT64_STOP <= int(value) < INT64_STOP:
        return int(value)
    raise DataError(f"{locate(position)} is {format_value(value)}; {NEED_ONE_TYPE}")


def _convert_text(value: Any, position: int, locate: Locate) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if not isinstance(value, bytes):
        raise DataError(f"{locate(position)} is {format_value(value)} among text; {NEED_ONE_TYPE}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        fault = "which isn't UTF-8; decode it with its own encoding first"
        raise DataError(f"{locate(position)} is {format_value(value)}, {fault}") from error
