"""Fingerprint64 of strings, integers and crosses: the hash of TensorFlow's and Keras's buckets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.feature.text.farmhash import KINDS
from components.feature.text.packed_strings import LANES, hash_strings
from components.types import Ragged

MURMUR = np.uint64(0xC6A4A7935BD1E995)
HASH_KEY = 0xDECAFCAFFE
CHUNK = 1 << 16  # rows of a cross at once: three columns stay in the cache


def fingerprint64(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """FarmHash's Fingerprint64 of each string, uint64 (rows,).

    Args:
        values: the bytes of the strings, uint8.
        offsets: string i is `values[offsets[i]:offsets[i + 1]]`, as in Arrow; the first may be above 0.
    """
    return hash_strings(values, offsets, KINDS)


def fingerprint_cat64(a: np.ndarray | np.uint64, b: np.ndarray) -> np.ndarray:
    """TensorFlow's FingerprintCat64 (tsl/platform/fingerprint.h) of two fingerprints, uint64. It isn't symmetric."""
    crossed = np.array(np.broadcast_to(a, b.shape))
    _cross_with(crossed, b, np.empty_like(crossed), np.empty_like(crossed))
    return crossed


def cross(columns: Sequence[np.ndarray], hash_key: int | None = None) -> np.ndarray:
    """The fingerprint of each row of several columns, uint64 (rows,): TensorFlow's SparseCross before the remainder.

    Args:
        columns: uint64 (rows,) each: fingerprints of strings, or integers (a negative one modulo 2**64). Their order
            matters.
        hash_key: what the hash begins with. None or 0: TensorFlow's own number.
    """
    result = _start(len(columns[0]), hash_key)
    mixed, scratch = np.empty((2, min(len(result), CHUNK)), np.uint64)
    for first in range(0, len(result), CHUNK):
        crossed = result[first : first + CHUNK]
        for column in columns:
            _cross_with(crossed, column[first : first + CHUNK], mixed[: len(crossed)], scratch[: len(crossed)])
    return result


def _cross_with(crossed: np.ndarray, column: np.ndarray, mixed: np.ndarray, scratch: np.ndarray) -> None:
    """FingerprintCat64 in place of its first argument. It allocates nothing: threads that do wait for others."""
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
    """`cross` of each combination of the columns' values, row by row; the last column's value changes fastest.

    A row in which a column has no value has no combination.
    """
    rows = len(columns[0].offsets) - 1
    crossed = Ragged(_start(rows, hash_key), np.arange(rows + 1))
    for column in columns:
        crossed = _combine(crossed, column)
    return crossed


def to_buckets(hashes: np.ndarray, count: int) -> np.ndarray:
    """The remainders of uint64 hashes by a `count` from 1 to 2**63: int32, or int64 where they need it."""
    whole = hashes // np.uint64(count)  # several times as fast as NumPy's remainder
    whole *= np.uint64(count)
    return np.subtract(hashes, whole, out=whole).astype(np.int32 if count <= 1 << 31 else np.int64)


def _start(rows: int, hash_key: int | None) -> np.ndarray:
    return np.full(rows, (hash_key or HASH_KEY) % (1 << 64), np.uint64)


def _combine(crossed: Ragged, column: Ragged) -> Ragged:
    """Crosses each value of a row with each value of the column in that row, which changes fastest."""
    partners = np.repeat(np.diff(column.offsets), np.diff(crossed.offsets))
    ends = np.concatenate([[0], np.cumsum(partners)])
    first = np.repeat(column.offsets[:-1], np.diff(crossed.offsets))
    partner = np.arange(ends[-1]) + np.repeat(first - ends[:-1], partners)
    values = fingerprint_cat64(np.repeat(crossed.values, partners), column.values[partner])
    return Ragged(values, ends[crossed.offsets])


def format_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Formats int64 (rows,) as TensorFlow's `as_string` does: uint8 (bytes,), and offsets int64 (rows + 1,)."""
    parts = [_format(values[first : first + LANES]) for first in range(0, len(values), LANES)]
    texts, lengths = zip(*parts, strict=True) if parts else ([np.empty(0, np.uint8)], [np.empty(0, np.int64)])
    return np.concatenate(texts), np.concatenate([[0], np.cumsum(np.concatenate(lengths))])


def _format(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The digits of some integers one after the other, and how many each has, with the sign."""
    values = values.astype(np.int64, casting="safe", copy=False)
    negative = values < 0
    left = np.where(negative, -values, values).view(np.uint64)  # right for the least int64 too
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
