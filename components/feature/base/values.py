"""Values of categorical columns: strings or integers; a row has one, a fixed number, or any number of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.closest import suggest_name
from components.feature.base.raw import format_value
from components.feature.text.string_ops import (
    compact,
    concatenate_categories,
    format_category,
    is_encodable,
    take,
    to_categories,
    to_strings,
)
from components.types import Block, DataError, Encoded, Ragged, Strings, UserError, Values

NO_ID = np.int32(np.iinfo(np.int32).min)
"""The id of a missing value. It crosses with nothing and selects no bucket."""

LARGEST = 1 << 63
NEEDED = "a category is text or a whole number from -2**63 to 2**63 - 1 (Bucketized makes one of any number)"
ONE_TYPE = f"{NEEDED}, or None for a gap, all of one type"

Layout: TypeAlias = np.ndarray | tuple[int, ...]
"""How values make up rows: offsets, int64 (rows + 1,), for rows of different lengths; else a shape, (rows,) or
(rows, K)."""

Where: TypeAlias = Callable[[int], str]  # describes where a value is, for a message


class CategoryValues(NamedTuple):
    """The values of a column one after the other.

    Attributes:
        values: strings, or integers in int64.
        valid_mask: (values,), bool: False where a value is missing. None: none is.
        layout: how the values make up rows.
    """

    values: Strings | np.ndarray
    valid_mask: np.ndarray | None
    layout: Layout

    def rows(self, values: np.ndarray) -> Encoded:
        """Arranges an array with an element per value as rows."""
        return values.reshape(self.layout) if isinstance(self.layout, tuple) else Ragged(values, self.layout)

    def ids(self, found: np.ndarray) -> dict[str, Encoded]:
        """The ids of the values as `ids`, int32, with NO_ID for missing values."""
        ids = found.astype(np.int32, copy=False)
        return {"ids": self.rows(ids if self.valid_mask is None else np.where(self.valid_mask, ids, NO_ID))}

    @property
    def total(self) -> int:
        """The number of values, with missing ones."""
        return self.values.rows if isinstance(self.values, Strings) else len(self.values)

    @property
    def is_empty(self) -> bool:
        """Whether all values are missing."""
        return self.total == 0 if self.valid_mask is None else not self.valid_mask.any()

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return self.layout[0] if isinstance(self.layout, tuple) else len(self.layout) - 1

    def row(self, place: int) -> int:
        """The row of a value."""
        return _row(self.layout, place)

    def row_numbers(self) -> np.ndarray | None:
        """The row of each value; None where each row has one value."""
        if not isinstance(self.layout, tuple):
            return np.repeat(np.arange(len(self.layout) - 1), np.diff(self.layout))
        width = int(np.prod(self.layout[1:]))
        return None if width == 1 else np.repeat(np.arange(self.layout[0]), width)


def read_values(
    block: Block,
    key: str,
    parents: Mapping[str, Mapping[str, Values]] | None = None,
    *,
    missing: str | int | None = None,
    empty_is_missing: bool = True,
) -> CategoryValues:
    """The values of a raw column, or of one of the `parents`.

    Args:
        block: the rows.
        key: the column.
        parents: the encoded arrays of feature columns.
        missing: replaces missing values. None: they stay missing.
        empty_is_missing: whether "" and -1 are missing values where all rows have the same number of values, as in
            TensorFlow. In rows of different lengths, and among the ids of a categorical column, they never are.

    Raises:
        DataError: a value is neither text nor an integer.
    """
    arrays = (parents or {}).get(key)
    name, values = next(iter(arrays.items())) if arrays else (key, _raw_values(block, key))
    layout: Layout
    if isinstance(values, Ragged):
        values, layout = values.values, values.offsets
    else:
        layout = (values.rows,) if isinstance(values, Strings) else values.shape
    valid = None if arrays else block.valid.get(key)
    ids = name == "ids" if arrays else key in block.ids
    read, valid_mask = as_category(values, lambda place: f"{block.locate(_row(layout, place))}: column `{key}`")
    if valid is not None and not valid.all():
        lengths = int(np.prod(layout[1:])) if isinstance(layout, tuple) else np.diff(layout)
        valid_mask = _both(valid_mask, np.repeat(valid, lengths))
    if ids and not isinstance(read, Strings):
        valid_mask = _both(valid_mask, read != NO_ID)
    elif empty_is_missing and isinstance(layout, tuple):
        valid_mask = _both(valid_mask, _not_empty(read))
    if valid_mask is not None and valid_mask.all():
        valid_mask = None
    found = CategoryValues(read, valid_mask, layout)
    if valid_mask is None or missing is None:
        return found
    check_category_type(block, key, found, f"missing={missing!r} is of", isinstance(missing, str))
    return CategoryValues(_fill(found, valid_mask, missing), None, layout)


def check_category_type(block: Block, key: str, found: CategoryValues, what: str, text: bool) -> None:
    """Raises DataError where a column's values and those of `what` aren't both text, or both integers."""
    place = 0 if found.valid_mask is None else int(np.argmax(found.valid_mask))
    if found.is_empty or isinstance(found.values, Strings) == text:
        return
    held, other = ("whole numbers", "text") if text else ("text", "whole numbers")
    value = format_category(found.values, place)
    raise DataError(
        f"column `{key}` of {block.origin} holds {held} ({value!r}), but {what} {other}; both must be of one type"
    )


def as_category(values: Any, where: Where) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Flattens values to strings or int64.

    Args:
        values: strings, or an array of integers, booleans, texts or Python objects; bytes are text in UTF-8.
        where: describes where a value is.

    Returns:
        The values, and which aren't missing, (values,), bool; None: all.

    Raises:
        DataError: a value is of another type, or a text that UTF-8 can't encode.
    """
    if isinstance(values, Strings):
        no_dictionary = values.indices is not None and len(values.offsets) < 2  # where all values are missing
        return (values._replace(offsets=np.zeros(2, np.int64)) if no_dictionary else values), None
    flat = values.reshape(-1)
    if flat.dtype.hasobject or flat.dtype.kind in "US":
        return _convert_objects(flat.tolist(), where)
    if not len(flat):
        return np.zeros(0, np.int64), None
    large = flat.dtype == np.uint64 and bool((flat >> np.uint64(63)).any())
    if flat.dtype.kind not in "biu" or large:
        place = int(np.argmax(flat)) if large else 0
        raise DataError(f"{where(place)} is {format_value(flat[place])} ({flat.dtype}); {NEEDED}")
    return flat.astype(np.int64, copy=False), None


def _raw_values(block: Block, key: str) -> Values:
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}. {suggest_name(key, block.columns)}")
    return block.columns[key]


def _row(layout: Layout, place: int) -> int:
    if isinstance(layout, tuple):
        return place // max(int(np.prod(layout[1:])), 1)
    return int(np.searchsorted(layout, place, side="right")) - 1


def _not_empty(values: Strings | np.ndarray) -> np.ndarray | None:
    """Which values are neither "" nor -1; None: all."""
    if not isinstance(values, Strings):
        return values != -1
    filled = np.diff(values.offsets) > 0
    if filled.all():
        return None
    return filled if values.indices is None else filled[values.indices]


def _both(valid_mask: np.ndarray | None, also: np.ndarray | None) -> np.ndarray | None:
    return also if valid_mask is None else valid_mask if also is None else valid_mask & also


def _fill(found: CategoryValues, valid_mask: np.ndarray, missing: str | int) -> Strings | np.ndarray:
    """The values with `missing` in place of missing ones."""
    if found.is_empty:
        return take(to_categories([missing]), np.zeros(len(valid_mask), np.int64))
    if not isinstance(found.values, Strings):
        return np.where(valid_mask, found.values, np.int64(missing))
    distinct, inverse = compact(found.values)
    places = np.arange(len(valid_mask)) if inverse is None else inverse
    more = concatenate_categories(distinct, to_strings([str(missing)]))
    assert isinstance(more, Strings)
    return more._replace(indices=np.where(valid_mask, places, len(distinct.offsets) - 1))


def _convert_objects(values: list[Any], where: Where) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Strings, bytes or integers of Python and NumPy, with None for missing ones."""
    kinds = set(map(type, values))
    valid_mask = np.array([value is not None for value in values], bool) if NoneType in kinds else None
    if not any(issubclass(kind, str | bytes) for kind in kinds):
        integers = [_convert_integer(value, place, where) for place, value in enumerate(values)]
        return np.array(integers, np.int64), valid_mask
    if kinds <= {str, NoneType}:
        texts = [value or "" for value in values]
    else:
        texts = [_convert_text(value, place, where) for place, value in enumerate(values)]
    try:
        return to_strings(texts), valid_mask
    except UserError as error:
        place = next(place for place, text in enumerate(texts) if not is_encodable(text))
        raise DataError(f"{where(place)} is {format_value(texts[place])}, which has no UTF-8; correct it") from error


def _convert_integer(value: Any, place: int, where: Where) -> int:
    if value is None:
        return 0
    if isinstance(value, int | np.integer | np.bool_) and -LARGEST <= int(value) < LARGEST:
        return int(value)
    raise DataError(f"{where(place)} is {format_value(value)}; {ONE_TYPE}")


def _convert_text(value: Any, place: int, where: Where) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if not isinstance(value, bytes):
        raise DataError(f"{where(place)} is {format_value(value)} among text; {ONE_TYPE}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        fault = "which isn't UTF-8; decode it with its own encoding first"
        raise DataError(f"{where(place)} is {format_value(value)}, {fault}") from error
