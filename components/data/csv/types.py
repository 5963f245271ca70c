"""Which type the values of a CSV column have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.arrow import convert_numbers, read_strings, read_valid_mask
from components.types import ColumnType

if TYPE_CHECKING:
    import pyarrow

INT64 = 2.0**63  # where an int64 ends


def type_of(kind: pyarrow.DataType) -> ColumnType:
    """The type of a column that Arrow has read."""
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
    """Whether a column has times, or no values."""
    import pyarrow

    return pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) or pyarrow.types.is_null(kind)


def is_too_long(column: pyarrow.ChunkedArray) -> bool:
    """Whether some numbers are larger than an int64, and all are whole as far as float64 shows."""
    values = convert_numbers(column, "f8", read_valid_mask(column), 0.0)
    largest = np.abs(values).max(initial=0)
    return bool(INT64 <= largest < np.inf) and bool((values == np.floor(values)).all())


def has_only_digits(column: pyarrow.ChunkedArray, *, padded: bool) -> bool:
    """Whether all texts are digits alone and, if `padded`, one has a 0 before others."""
    data, offsets, _ = read_strings(column)
    digits = data[offsets[0] : offsets[-1]] - np.uint8(48) < 10
    first = offsets[:-1][np.diff(offsets) > 1]
    return bool(digits.all()) and (not padded or bool((data[first] == 48).any()))


def has_padded_digits(text: bytes, delimiter: str) -> bool:
    """Whether a field after the first byte of a text begins with a 0 and another digit."""
    codes = np.frombuffer(text, np.uint8)
    digit = codes - np.uint8(48) < 10
    found = np.flatnonzero((codes[1:-1] == 48) & digit[2:] & ~digit[:-2])
    return bool(np.isin(codes[found], np.frombuffer(f'{delimiter}\n\r"'.encode(), np.uint8)).any())
