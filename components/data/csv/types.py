"""The types of the columns of a CSV file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.arrow import convert_numbers, read_strings, read_valid_mask
from components.types import ColumnType

if TYPE_CHECKING:
    import pyarrow

INT64_LIMIT = 2.0**63  # the smallest number above all int64
ZERO = np.uint8(ord("0"))


def convert_type(kind: pyarrow.DataType) -> ColumnType:
    """Converts a type of Arrow."""
    import pyarrow

    types = pyarrow.types
    if types.is_string(kind):
        return "string"
    if types.is_boolean(kind):
        return "bool"
    if can_be_timestamp(kind):
        return "timestamp"
    return "int" if types.is_integer(kind) else "float"


def can_be_timestamp(kind: pyarrow.DataType) -> bool:
    """Whether a column of this Arrow type can be read as timestamps. Null, the type of a column without values, can."""
    import pyarrow

    return pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) or pyarrow.types.is_null(kind)


def are_integers_beyond_int64(column: pyarrow.ChunkedArray) -> bool:
    """Whether all numbers are whole (as float64) and at least one of them is too large for an int64."""
    values = convert_numbers(column, "f8", read_valid_mask(column), 0.0)
    largest = np.abs(values).max(initial=0)
    return bool(INT64_LIMIT <= largest < np.inf) and bool((values == np.floor(values)).all())


def has_only_digits(column: pyarrow.ChunkedArray, *, require_leading_zero: bool) -> bool:
    """Whether all texts consist of digits. If `require_leading_zero`, at least one must also start with a padding 0."""
    data, offsets, _ = read_strings(column)
    is_digit = data[offsets[0] : offsets[-1]] - ZERO < 10  # bytes below "0" wrap around to large numbers
    starts = offsets[:-1][np.diff(offsets) > 1]  # of texts with two characters or more
    return bool(is_digit.all()) and (not require_leading_zero or bool((data[starts] == ZERO).any()))


def has_leading_zero(text: bytes, delimiter: str) -> bool:
    """Whether some field of a CSV text starts with a 0 and another digit.

    Args:
        text: fields, after the byte that precedes the first of them, such as a line break.
        delimiter: the character between two fields.
    """
    codes = np.frombuffer(text, np.uint8)
    is_digit = codes - ZERO < 10
    is_padding = (codes[1:-1] == ZERO) & is_digit[2:] & ~is_digit[:-2]
    bytes_before = codes[:-2][is_padding]
    return bool(np.isin(bytes_before, np.frombuffer(f'{delimiter}\n\r"'.encode(), np.uint8)).any())
