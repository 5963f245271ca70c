"""Columns of long texts, such as reviews. The reader of texts gets a short text in place of each."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Collection

import numpy as np

from components.arrow import mask_column, read_strings, strings_to_arrow
from components.types import Strings

MIN_BYTES = 128  # of a long text, and of a column's texts on average
MIN_LETTERS = 64  # of a long text: more than a time, a number with its unit or a boolean has
MIN_SHARE = 0.7  # of the texts that are long: so many that the reader can't read the column as anything but texts
OTHER_BYTES = bytes(code for code in range(128) if chr(code) not in string.ascii_letters)
LETTERS = str.maketrans(string.hexdigits[:16], "bcdghjklmpqrstvw")  # which spell no number, time or boolean


def shorten_long_texts(texts: Strings, kept: Collection[str]) -> Strings | None:
    """The texts of a column with a short one in place of each long one: equal ones for equal ones.

    Args:
        texts: the texts, without a dictionary. A missing one is empty.
        kept: texts that stay as they are, such as spellings of missing values.

    Returns:
        The texts; None: most of them are short.
    """
    lengths = np.diff(texts.offsets)
    if not lengths.size or lengths.mean() < MIN_BYTES:
        return None
    spellings = {text.encode() for text in kept}
    found = [text if text in spellings else _shorten(text) for text in texts.iterate_bytes()]
    is_long = np.array([len(text) for text in found]) != lengths
    long, short = ({text for text, is_in in zip(found, mask, strict=True) if is_in} for mask in (is_long, ~is_long))
    shares = is_long.sum() / max((lengths > 0).sum(), 1), len(long) / len(long | short)
    return Strings.from_bytes(found) if min(shares) >= MIN_SHARE else None


def _shorten(text: bytes) -> bytes:
    if b"\0" in text:  # which is an error of the reader
        return text
    if len(text) < MIN_BYTES or len(text.translate(None, OTHER_BYTES)) < MIN_LETTERS:
        return text
    return f"text {hashlib.blake2b(text, digest_size=8).hexdigest().translate(LETTERS)}".encode()


def empty_texts(texts: Strings, valid: np.ndarray) -> Strings:
    """The texts without those whose mask, (rows,), is False, which are empty."""
    if not np.diff(texts.offsets)[~valid].any():
        return texts
    import pyarrow

    return read_strings(mask_column(pyarrow.chunked_array([strings_to_arrow(texts)]), valid).fill_null(""))
