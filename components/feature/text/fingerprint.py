"""Fingerprint64 of strings, integers and what they hold together: the hash of TensorFlow's and Keras's buckets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.feature.text.farmhash import KINDS
from components.feature.text.packed_strings import LANES, hash_strings
from components.types import Ragged

MURMUR = np.uint64(0xC6A4A7935BD1E995)
HASH_KEY = 0xDECAFCAFFE
CHUNK = 1 << 16  # rows of a cross at once: three columns of them stay in the cache


def fingerprint64(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """FarmHash's Fingerprint64 of each string, uint64 (rows,).

    String i is `values[offsets[i]:offsets[i + 1]]`, uint8, as in Arrow; offsets may begin above 0.
    """
    return hash_strings(values, offsets, KINDS)


def fingerprint_cat64(a: np.ndarray | np.uint64, b: np.ndarray) -> np.ndarray:
    """TensorFlow's FingerprintCat64 (tsl/platform/fingerprint.h): two fingerprints' own, uint64; not symmetric."""
    crossed = np.array(np.broadcast_to(a, b.shape))
    _cross_with(crossed, b, np.empty_like(crossed), np.empty_like(crossed))
    return crossed


def cross(columns: Sequence[np.ndarray], hash_key: int | None = None) -> np.ndarray:
    """The fingerprint of what columns hold together, uint64 (rows,): TensorFlow's SparseCross before the remainder.

    A column is uint64 (rows,): fingerprints of strings, or integers as they are (a negative one modulo 2**64). The
    order of columns matters. A `hash_key` of None or 0 is TensorFlow's own.
    """
    result = _begin(len(columns[0]), hash_key)
    mixed, scratch = np.empty((2, min(len(result), CHUNK)), np.uint64)
    for first in range(0, len(result), CHUNK):
        crossed = result[first : first + CHUNK]
        for column in columns:
            _cross_with(crossed, column[first : first + CHUNK], mixed[: len(crossed)], scratch[: len(crossed)])
    return result


def _cross_with(crossed: np.ndarray, column: np.ndarray, mixed: np.ndarray, scratch: np.ndarray) -> None:
    """FingerprintCat64 in the place of its first argument: threads that allocate wait for each other."""
    np.multiply(column, MURMUR, out=mixed)
    _shift_mix(mixed, scratch)
    mixed *= MURMUR
    crossed ^= MURMUR
    crossed ^= mixed
    crossed *= MURMUR
    _shift_mix(crossed, scratch)
    crossed *= MURMUR
    _shift_mix(crossed, scratch)


def _shift_mix(words: np.ndarray, scratch: np.ndarray) -> None:
    words ^= np.right_shift(words, np.uint64(47), out=scratch)


def cross_ragged(columns: Sequence[Ragged], hash_key: int | None = None) -> Ragged:
    """`cross` of every choice of a value from each column, row by row, the last column's changing fastest.

    A row where a column has no value has none.
    """
    rows = len(columns[0].offsets) - 1
    crossed = Ragged(_begin(rows, hash_key), np.arange(rows + 1))
    for column in columns:
        crossed = _times(crossed, column)
    return crossed


def to_buckets(hashes: np.ndarray, count: int) -> np.ndarray:
    """The remainders of uint64 hashes by a `count` of 1 to 2**63: int32, or int64 where they need it."""
    whole = hashes // np.uint64(count)  # several times as fast as the remainder
    whole *= np.uint64(count)
    return np.subtract(hashes, whole, out=whole).astype(np.int32 if count <= 1 << 31 else np.int64)


def _begin(rows: int, hash_key: int | None) -> np.ndarray:
    return np.full(rows, (hash_key or HASH_KEY) % (1 << 64), np.uint64)


def _times(crossed: Ragged, column: Ragged) -> Ragged:
    """Every value of a row together with every one of the column's, in blocks of one's values for each other's."""
    partners = np.repeat(np.diff(column.offsets), np.diff(crossed.offsets))
    ends = np.concatenate([[0], np.cumsum(partners)])
    first = np.repeat(column.offsets[:-1], np.diff(crossed.offsets))
    partner = np.arange(ends[-1]) + np.repeat(first - ends[:-1], partners)
    values = fingerprint_cat64(np.repeat(crossed.values, partners), column.values[partner])
    return Ragged(values, ends[crossed.offsets])


def format_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers int64 (rows,) in decimal, as TensorFlow's `as_string`: uint8 (bytes,) and offsets int64 (rows + 1,)."""
    parts = [_decimal(values[first : first + LANES]) for first in range(0, len(values), LANES)]
    texts, lengths = zip(*parts, strict=True) if parts else ([np.empty(0, np.uint8)], [np.empty(0, np.int64)])
    return np.concatenate(texts), np.concatenate([[0], np.cumsum(np.concatenate(lengths))])


def _decimal(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The digits of some integers one after the other, and how many there are of each, with the sign."""
    values = values.astype(np.int64, casting="safe", copy=False)
    negative = values < 0
    left = np.where(negative, -values, values).view(np.uint64)  # the least number is its own negative, and right
    width = len(str(left.max())) + 1
    text = np.empty((len(values), width), np.uint8)
    length = negative + 1
    for place in range(width - 1, 0, -1):
        tens = left // 10
        text[:, place] = left - tens * 10 + ord("0")
        length += tens > 0
        left = tens
    start = width - length
    text[negative, start[negative]] = ord("-")
    return text[np.arange(width) >= start[:, None]], length
