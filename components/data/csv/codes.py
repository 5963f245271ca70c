"""Recognizes codes, such as 00501 and +16175551234: digits that would lose something as numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow

ZERO = np.uint8(ord("0"))
BLANKS, HEXADECIMAL_MARK = np.frombuffer(b" \t", np.uint8), np.uint8(ord("x"))
LOWER_CASE = np.uint8(0x20)  # the bit that differs from upper case
# Blanks, apostrophes and the underscore separate thousands, and can't be mistaken for a decimal separator.
NEUTRAL = " \u00a0\u2007\u2009\u202f'\u2019_"
# Regular expressions of RE2, which Arrow uses
NAN = "(?i)^[-+]?nan$"  # Arrow reads it as a number
HEXADECIMAL = "^[-+]?0[xX]"
TELEPHONE, TELEPHONE_WITHOUT_PLUS = "^[+][0-9][0-9 ]{6,}$", "^[+]?[0-9][0-9 ]{6,}$"
DIGITS = "^[-+]?[0-9]+$"
GROUPS = f"^[0-9][0-9{NEUTRAL}]*$"
DIGITS_OR_EXPONENT = "^[0-9]+([eE][0-9]+)?$"
PADDED, NEGATIVE = "^0[0-9]", "^-"
LONG = "^[-+]?[0-9]{19,}$"
REASONS = (
    (PADDED, "has a leading zero"),
    (LONG, "exceeds 64 bits"),
    (TELEPHONE, "starts with `+`, as telephone numbers do"),
)
MAX_RARE_SHARE = 0.05
SAMPLED = 100  # texts that are matched before all others
MIN_CODE_LENGTH = 6  # characters of codes with an E inside


def are_codes(texts: pyarrow.Array | pyarrow.ChunkedArray) -> bool:
    """Whether texts, each of which can be read as a number, are codes. Blanks around a text don't count.

    Codes are hexadecimal numbers, telephone numbers of which some start with +, and digits of which some have a leading
    zero or exceed an int64. Codes of digits may have an E inside, such as 0047583311587E59, if others have none: then
    all texts must have the same length, have a leading zero, or exceed an int64.
    """
    import pyarrow.compute as compute

    trimmed = compute.utf8_trim_whitespace(texts.unique().drop_null())
    numbers = trimmed.filter(compute.invert(compute.match_substring_regex(trimmed, f"^$|{NAN}")))
    if not len(numbers):
        return False
    if _match_any(numbers, HEXADECIMAL):
        return True
    if _match_any(numbers, TELEPHONE) and _match_all(numbers, TELEPHONE_WITHOUT_PLUS):
        return True
    are_padded = _match_any(numbers, PADDED) and not _match_any(numbers, NEGATIVE)
    if _match_all(numbers, DIGITS):
        return are_padded or _exceed_int64(numbers)
    if _match_all(numbers, GROUPS):
        return are_padded
    if not _match_all(numbers, DIGITS_OR_EXPONENT):
        return False
    digits = numbers.filter(compute.match_substring_regex(numbers, DIGITS))
    shortest, longest = compute.min_max(compute.binary_length(numbers)).as_py().values()
    same_length = shortest == longest >= MIN_CODE_LENGTH
    return are_padded or (len(digits) > 0 and (same_length or _exceed_int64(digits)))


def read_signed(texts: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | None:
    """Reads whole numbers of which some have a plus sign, which Arrow reads as floats. None: some are no int64."""
    import pyarrow
    import pyarrow.compute as compute

    trimmed = compute.utf8_trim_whitespace(texts)
    present = trimmed.drop_null()
    if not len(present) or not _match_all(present, DIGITS) or _exceed_int64(present):
        return None
    return compute.utf8_ltrim(trimmed, "+").cast(pyarrow.int64())


def find_rare_code(texts: pyarrow.ChunkedArray) -> tuple[int, str] | None:
    """The row of the first text that makes a column of numbers codes, and why, if few rows do. None: many rows do.

    Of telephone numbers, only some need to lack their plus sign: the others may be numbers.
    """
    import pyarrow.compute as compute

    trimmed = compute.utf8_trim_whitespace(texts)
    for pattern, reason in REASONS:
        found = compute.fill_null(compute.match_substring_regex(trimmed, pattern), False).to_numpy()
        values = len(found) - texts.null_count
        if 0 < found.sum() <= (values - 1 if pattern == TELEPHONE else MAX_RARE_SHARE * len(found)):
            rows = np.flatnonzero(found).tolist()
            if pattern == LONG:
                rows = [row for row in rows if not -(2**63) <= Decimal(trimmed[row].as_py()) < 2**63]  # of any length
            if rows:
                return rows[0], reason
    return None


def _match_any(texts: pyarrow.Array, pattern: str) -> bool:
    import pyarrow.compute as compute

    return bool(compute.any(compute.match_substring_regex(texts, pattern)).as_py())


def _match_all(texts: pyarrow.Array, pattern: str) -> bool:
    import pyarrow.compute as compute

    parts = (texts[:SAMPLED], texts)  # the first texts usually decide
    return all(compute.all(compute.match_substring_regex(part, pattern)).as_py() for part in parts)


def _exceed_int64(digits: pyarrow.Array) -> bool:
    """Whether some digits, which may have a sign, exceed an int64."""
    import pyarrow
    import pyarrow.compute as compute

    try:
        compute.utf8_ltrim(digits, "+").cast(pyarrow.int64())
    except pyarrow.ArrowInvalid:
        return True
    return False


def has_leading_zero(text: bytes, delimiter: str, quote: str | None) -> bool:
    """Whether some field of a CSV text seems to start with a 0 and another digit, after blanks and a quote.

    Args:
        text: fields, after the bytes that precede the first of them. Blanks at its start may start a field.
        delimiter: the character between two fields.
        quote: the character around fields. None: no field is quoted.
    """
    codes = np.frombuffer(text, np.uint8)
    is_digit = codes - ZERO < 10  # bytes below "0" wrap around to large numbers
    before = np.flatnonzero((codes[1:-1] == ZERO) & is_digit[2:] & ~is_digit[:-2])  # positions of the bytes before
    bounds = np.frombuffer(f"{delimiter}\n\r{quote or ''}".encode(), np.uint8)
    while len(before):
        is_bound = np.isin(codes[before], bounds)
        before = before[~is_bound & np.isin(codes[before], BLANKS)]
        if is_bound.any() or (before == 0).any():
            return True
        before = before - 1
    return False


def has_hexadecimal(text: bytes) -> bool:
    """Whether 0x or 0X occurs in a text."""
    if b"x" not in text and b"X" not in text:  # usual among numbers, and fast
        return False
    codes = np.frombuffer(text, np.uint8)  # faster than a search for the two bytes where an x is frequent
    return bool(((codes[:-1] == ZERO) & ((codes[1:] | LOWER_CASE) == HEXADECIMAL_MARK)).any())
