"""Fingerprint64 of strings, integers and crosses. TensorFlow and Keras use it for their hash buckets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.feature.text.farmhash import HASH_BY_MIN_LENGTH
from components.feature.text.packed_strings import hash_strings
from components.types import Ragged

MURMUR_MULTIPLIER = np.uint64(0xC6A4A7935BD1E995)
DEFAULT_HASH_KEY = 0xDECAFCAFFE
CHUNK_ROWS = 1 << 16  # rows per chunk of a cross: few enough that the arrays of a chunk fit into the cache
FORMAT_ROWS = 1 << 13  # integers that are formatted at once


def fingerprint64(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """FarmHash's Fingerprint64 of each string, uint64 (rows,).

    Args:
        values: the bytes of the strings, uint8.
        offsets: string i is `values[offsets[i]:offsets[i + 1]]`, as in Arrow; the first may be above 0.
    """
    return hash_strings(values, offsets, HASH_BY_MIN_LENGTH)


def fingerprint_cat64(a: np.ndarray | np.uint64, b: np.ndarray) -> np.ndarray:
    """TensorFlow's FingerprintCat64 of two fingerprints, uint64. It isn't symmetric.

    See tsl/platform/fingerprint.h.
    """
    crossed = np.array(np.broadcast_to(a, b.shape))
    _cross_in_place(crossed, b, np.empty_like(crossed), np.empty_like(crossed))
    return crossed


def cross(columns: Sequence[np.ndarray], hash_key: int | None = None) -> np.ndarray:
    """The fingerprint of each row of several columns, uint64 (rows,), as in TensorFlow's SparseCross.

    Args:
        columns: uint64 (rows,) each: fingerprints of strings, or integers (a negative one modulo 2**64). Their order
            matters.
        hash_key: the initial value of the hash. None or 0: TensorFlow's own number.
    """
    result = _make_initial_hashes(len(columns[0]), hash_key)
    mixed, scratch = np.empty((2, min(len(result), CHUNK_ROWS)), np.uint64)
    for first in range(0, len(result), CHUNK_ROWS):
        crossed = result[first : first + CHUNK_ROWS]
        for column in columns:
            _cross_in_place(crossed, column[first : first + CHUNK_ROWS], mixed[: len(crossed)], scratch[: len(crossed)])
    return result


def _cross_in_place(crossed: np.ndarray, column: np.ndarray, mixed: np.ndarray, scratch: np.ndarray) -> None:
    """Computes FingerprintCat64 in place of its first argument.

    It allocates no memory, because threads that allocate memory wait for each other.
    """
    np.multiply(column, MURMUR_MULTIPLIER, out=mixed)
    _shift_mix_in_place(mixed, scratch)
    mixed *= MURMUR_MULTIPLIER
    crossed ^= MURMUR_MULTIPLIER
    crossed ^= mixed
    crossed *= MURMUR_MULTIPLIER
    _shift_mix_in_place(crossed, scratch)
    crossed *= MURMUR_MULTIPLIER
    _shift_mix_in_place(crossed, scratch)


def _shift_mix_in_place(words: np.ndarray, scratch: np.ndarray) -> None:
    words ^= np.right_shift(words, np.uint64(47), out=scratch)


def cross_ragged(columns: Sequence[Ragged], hash_key: int | None = None) -> Ragged:
    """Computes `cross` for each combination of one value of every column, row by row.

    The value of the last column changes fastest. If a column has no value in a row, the row has no combinations.
    """
    rows = len(columns[0].offsets) - 1
    crossed = Ragged(_make_initial_hashes(rows, hash_key), np.arange(rows + 1))
    for column in columns:
        crossed = _combine(crossed, column)
    return crossed


def to_buckets(hashes: np.ndarray, count: int) -> np.ndarray:
    """The remainders of uint64 hashes divided by a `count` from 1 to 2**63: int32, or int64 for large counts."""
    multiples = hashes // np.uint64(count)  # this is several times as fast as NumPy's remainder
    multiples *= np.uint64(count)
    return np.subtract(hashes, multiples, out=multiples).astype(np.int32 if count <= 1 << 31 else np.int64)


def _make_initial_hashes(rows: int, hash_key: int | None) -> np.ndarray:
    return np.full(rows, (hash_key or DEFAULT_HASH_KEY) % (1 << 64), np.uint64)


def _combine(crossed: Ragged, column: Ragged) -> Ragged:
    """Crosses each value of a row with each value of the column in that row. The latter changes fastest."""
    partner_counts = np.repeat(np.diff(column.offsets), np.diff(crossed.offsets))
    ends = np.concatenate([[0], np.cumsum(partner_counts)])
    first_partners = np.repeat(column.offsets[:-1], np.diff(crossed.offsets))
    partner_positions = np.arange(ends[-1]) + np.repeat(first_partners - ends[:-1], partner_counts)
    values = fingerprint_cat64(np.repeat(crossed.values, partner_counts), column.values[partner_positions])
    return Ragged(values, ends[crossed.offsets])


def format_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Formats int64 (rows,) as TensorFlow's `as_string`.

    Returns:
        The digits of all integers, uint8, and their offsets, int64 (rows + 1,).
    """
    parts = [_format_chunk(values[first : first + FORMAT_ROWS]) for first in range(0, len(values), FORMAT_ROWS)]
    texts, lengths = zip(*parts, strict=True) if parts else ([np.empty(0, np.uint8)], [np.empty(0, np.int64)])
    return np.concatenate(texts), np.concatenate([[0], np.cumsum(np.concatenate(lengths))])


def _format_chunk(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the characters of some integers, and the number of characters of each, including the sign."""
    values = values.astype(np.int64, casting="safe", copy=False)
    negative = values < 0
    remaining = np.where(negative, -values, values).view(np.uint64)  # also correct for the smallest int64
    width = len(str(remaining.max())) + 1
    text = np.empty((len(values), width), np.uint8)
    length = negative + 1
    for position in range(width - 1, 0, -1):
        tens = remaining // 10
        text[:, position] = remaining - tens * 10 + ord("0")
        length += tens > 0
        remaining = tens
    start = width - length
    text[negative, start[negative]] = ord("-")
    return text[np.arange(width) >= start[:, None]], length
