"""The types of the columns of a CSV file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.arrow import convert_numbers, read_strings, read_valid_mask
from components.types import ColumnType, Values

if TYPE_CHECKING:
    import pyarrow

ZERO, PLUS = np.uint8(ord("0")), np.uint8(ord("+"))
EXPONENT, HEXADECIMAL = np.frombuffer(b"eE", np.uint8), np.frombuffer(b"xX", np.uint8)
LOWER_CASE = np.uint8(0x20)  # the bit that differs from upper case
INT64_DIGITS = 19  # of the largest int64
MIN_TELEPHONE = 8  # characters of a telephone number with its +
MIN_CODE_LENGTH = 6  # digits of codes with an E inside


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


def has_wrong_years(column: pyarrow.ChunkedArray) -> bool:
    """Whether some times are before the year 1, which Arrow accepts."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    if not (types.is_date(column.type) or types.is_timestamp(column.type)) or column.null_count == len(column):
        return False
    return compute.year(compute.min(column)).as_py() < 1


def are_whole(column: pyarrow.ChunkedArray) -> bool:
    """Whether all numbers are whole, as float64, or infinite. Missing values and NaN don't count."""
    values = convert_numbers(column, "f8", read_valid_mask(column), np.nan)
    present = values[~np.isnan(values)]
    return len(present) > 0 and bool((present == np.floor(present)).all())


def may_have_thousands(column: pyarrow.ChunkedArray) -> bool:
    """Whether the points in a column of floats may separate thousands, as in 1.234 and 56.

    Then the numbers without a point are below 1,000, and all others have three decimals and are at least 1.
    """
    import pyarrow

    if not pyarrow.types.is_floating(column.type):
        return False
    values = convert_numbers(column, "f8", read_valid_mask(column), np.nan)
    sizes = np.abs(values[~np.isnan(values)])
    is_whole = sizes == np.floor(sizes)
    fractions = sizes[~is_whole]
    return (
        0 < is_whole.sum() < len(sizes)
        and bool((sizes < 1000).all())
        and bool((fractions > 1).all())
        and not has_decimal_point(fractions)
    )


def has_decimal_point(values: Values) -> bool:
    """Whether some number is below 1 or doesn't have exactly three decimals, so that its point separates decimals."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        return False
    sizes = np.abs(values[np.isfinite(values)])
    sizes = sizes[sizes != np.floor(sizes)]
    thousandths = sizes * 1000
    return bool(((sizes < 1) | (np.abs(thousandths - np.round(thousandths)) > 1e-9 * thousandths)).any())


def are_codes(column: pyarrow.ChunkedArray, *, is_integer: bool) -> bool:
    """Whether texts that Arrow reads as whole numbers are codes.

    Codes are hexadecimal numbers, telephone numbers that all start with +, and digits of which some have a leading zero
    or exceed an int64. Codes of digits may have an E inside, such as 0047583311587E59, if others have none: then all
    texts must have the same length, have a leading zero, or exceed an int64.

    Args:
        column: the texts.
        is_integer: whether Arrow reads them as int64.
    """
    data, offsets, _ = read_strings(column)
    lengths = np.diff(offsets)
    starts = offsets[:-1][lengths > 1]  # of texts with two characters or more
    data = data[: offsets[-1]]
    if np.isin(data[offsets[0] :], HEXADECIMAL).any():
        return True
    is_digit = data - ZERO < 10  # bytes below "0" wrap around to large numbers
    if not is_digit[offsets[0] :].all():
        others = np.flatnonzero(~is_digit)
        others = others[others >= offsets[0]]
        if len(starts) and len(others) == (lengths > 0).sum() and (data[others] == PLUS).all():
            return bool((lengths[lengths > 0] >= MIN_TELEPHONE).all() and np.isin(others, starts).all())
        per_text = np.diff(np.searchsorted(others, offsets))
        is_inside = ~np.isin(others, offsets[:-1]) & ~np.isin(others + 1, offsets[1:])
        if not (np.isin(data[others], EXPONENT).all() and is_inside.all() and per_text.max() == 1):
            return False
        has_exponent = per_text > 0
        lengths_of_digits = lengths[(lengths > 0) & ~has_exponent]
        same_length = len(set(lengths[lengths > 0].tolist())) == 1 and lengths.max() >= MIN_CODE_LENGTH
        if len(lengths_of_digits) and (same_length or lengths_of_digits.max() > INT64_DIGITS):
            return True
    elif not is_integer:
        return True  # whole numbers without a point beyond int64
    return bool((data[starts] == ZERO).any())


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


def has_hexadecimal(text: bytes) -> bool:
    """Whether 0x or 0X occurs in a text. It is faster than a search for the bytes."""
    codes = np.frombuffer(text, np.uint8)
    return bool(((codes[:-1] == ZERO) & ((codes[1:] | LOWER_CASE) == HEXADECIMAL[0])).any())
