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
    if is_timestamp(kind):
        return "timestamp"
    return "int" if types.is_integer(kind) else "float"


def is_timestamp(kind: pyarrow.DataType) -> bool:
    """Whether a type of Arrow is one of times, or of a column without values."""
    import pyarrow

    return pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) or pyarrow.types.is_null(kind)


def exceeds_int64(column: pyarrow.ChunkedArray) -> bool:
    """Whether some numbers are too large for an int64, and all are whole in float64."""
    values = convert_numbers(column, "f8", read_valid_mask(column), 0.0)
    largest = np.abs(values).max(initial=0)
    return bool(INT64_LIMIT <= largest < np.inf) and bool((values == np.floor(values)).all())


def has_only_digits(column: pyarrow.ChunkedArray, *, padded: bool) -> bool:
    """Whether all texts consist of digits and, if `padded`, some text has a leading zero."""
    data, offsets, _ = read_strings(column)
    is_digit = data[offsets[0] : offsets[-1]] - ZERO < 10  # bytes below "0" wrap around to large numbers
    starts = offsets[:-1][np.diff(offsets) > 1]  # of texts with two characters or more
    return bool(is_digit.all()) and (not padded or bool((data[starts] == ZERO).any()))


def has_leading_zero(text: bytes, delimiter: str) -> bool:
    """Whether some field starts with a 0 and another digit. The first byte must be from before the field."""
    codes = np.frombuffer(text, np.uint8)
    is_digit = codes - ZERO < 10
    before_zero = np.flatnonzero((codes[1:-1] == ZERO) & is_digit[2:] & ~is_digit[:-2])
    return bool(np.isin(codes[before_zero], np.frombuffer(f'{delimiter}\n\r"'.encode(), np.uint8)).any())
