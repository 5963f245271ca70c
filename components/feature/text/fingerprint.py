"""Fingerprint64 of strings, integers and crosses. TensorFlow and Keras use it for their hash buckets.

id of a string:    to_buckets(fingerprint64(…), count)
id of an integer:  as a string, from format_integers
id of a cross:     to_buckets(cross(columns of fingerprints), count)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.feature.text.farmhash import HASH_BY_MIN_LENGTH
from components.feature.text.packed_strings import hash_strings
from components.types import Ragged, Strings

MURMUR_MULTIPLIER = np.uint64(0xC6A4A7935BD1E995)
DEFAULT_HASH_KEY = 0xDECAFCAFFE  # of TensorFlow's crosses
CROSS_CHUNK_ROWS = 1 << 16  # rows that are crossed at once: the arrays of a chunk fit into the cache
FORMAT_CHUNK_ROWS = 1 << 13  # integers that are formatted at once


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
    _cross_in_place(crossed, b, mixed=np.empty_like(crossed), scratch=np.empty_like(crossed))
    return crossed


def cross(columns: Sequence[np.ndarray], hash_key: int | None = None) -> np.ndarray:
    """The fingerprint of each row of several columns, as in TensorFlow's SparseCross, uint64 (rows,).

    For two columns it is `fingerprint_cat64(fingerprint_cat64(hash_key, columns[0]), columns[1])`.

    Args:
        columns: uint64 (rows,) each: fingerprints of strings, or integers (a negative one modulo 2**64). Their order
            matters.
        hash_key: the initial value of the hash. None or 0: TensorFlow's own number.
    """
    rows = len(columns[0])
    hashes = _make_initial_hashes(rows, hash_key)
    mixed, scratch = np.empty((2, min(rows, CROSS_CHUNK_ROWS)), np.uint64)
    for first in range(0, rows, CROSS_CHUNK_ROWS):
        chunk = slice(first, first + CROSS_CHUNK_ROWS)
        crossed = hashes[chunk]  # a view: `hashes` changes, too
        for column in columns:
            _cross_in_place(crossed, column[chunk], mixed[: len(crossed)], scratch[: len(crossed)])
    return hashes


def cross_ragged(columns: Sequence[Ragged], hash_key: int | None = None) -> Ragged:
    """Computes `cross` for each combination of one value of every column, row by row.

    The value of the last column changes fastest: a row with the values a, b and x, y has the crosses ax, ay, bx, by. If
    a column has no value in a row, the row has no crosses.
    """
    rows = len(columns[0].offsets) - 1
    crossed = Ragged(_make_initial_hashes(rows, hash_key), np.arange(rows + 1))  # one value in each row
    for column in columns:
        crossed = _cross_next_column(crossed, column)
    return crossed


def to_buckets(hashes: np.ndarray, count: int) -> np.ndarray:
    """Returns `hashes % count`, int32, or int64 for a count above 2**31.

    Args:
        hashes: uint64 (rows,).
        count: the number of buckets, from 1 to 2**63.
    """
    # This is several times as fast as NumPy's `%`.
    multiples = hashes // np.uint64(count)
    multiples *= np.uint64(count)
    remainders = np.subtract(hashes, multiples, out=multiples)
    return remainders.astype(np.int32 if count <= 1 << 31 else np.int64)


def format_integers(values: np.ndarray) -> Strings:
    """Formats int64 (rows,) as decimals, as TensorFlow's `as_string`: [7, -12] -> "7", "-12"."""
    characters = [np.empty(0, np.uint8)]
    lengths = [np.empty(0, np.int64)]
    for first in range(0, len(values), FORMAT_CHUNK_ROWS):
        chunk = _format_chunk(values[first : first + FORMAT_CHUNK_ROWS])
        characters.append(chunk.data)
        lengths.append(np.diff(chunk.offsets))
    return Strings(np.concatenate(characters), _to_offsets(np.concatenate(lengths)))


def _make_initial_hashes(rows: int, hash_key: int | None) -> np.ndarray:
    return np.full(rows, (hash_key or DEFAULT_HASH_KEY) % (1 << 64), np.uint64)


def _cross_in_place(crossed: np.ndarray, column: np.ndarray, mixed: np.ndarray, scratch: np.ndarray) -> None:
    """Sets `crossed` to FingerprintCat64 of `crossed` and `column`. All arrays are uint64 (rows,).

    With m = MURMUR_MULTIPLIER and shift_mix(x) = x ^ (x >> 47):

        mixed = shift_mix(column * m) * m
        crossed = shift_mix(shift_mix((crossed ^ m ^ mixed) * m) * m)

    It allocates no memory, because threads that allocate memory wait for each other. `mixed` and `scratch` are buffers.
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
    np.right_shift(words, np.uint64(47), out=scratch)
    words ^= scratch


def _cross_next_column(crossed: Ragged, column: Ragged) -> Ragged:
    """Crosses each value of a row with all values of the column in that row."""
    # For each value of `crossed`: how many values the column has in its row, and the position of the first one.
    values_per_row = np.diff(crossed.offsets)  # (rows,)
    partner_count = np.repeat(np.diff(column.offsets), values_per_row)
    first_partner = np.repeat(column.offsets[:-1], values_per_row)

    # Pairs `pair_offsets[i]:pair_offsets[i + 1]` have value i of `crossed`.
    pair_offsets = _to_offsets(partner_count)
    pairs = np.arange(pair_offsets[-1])
    partners = pairs + np.repeat(first_partner - pair_offsets[:-1], partner_count)  # positions in `column.values`

    hashes = fingerprint_cat64(np.repeat(crossed.values, partner_count), column.values[partners])
    return Ragged(hashes, pair_offsets[crossed.offsets])


def _format_chunk(values: np.ndarray) -> Strings:
    values = values.astype(np.int64, casting="safe", copy=False)
    is_negative = values < 0
    magnitudes = np.where(is_negative, -values, values).view(np.uint64)  # also correct for the smallest int64
    width = 1 + len(str(magnitudes.max()))  # the sign and the digits

    # All digits from right to left; leading zeros are dropped at the end.
    characters = np.empty((len(values), width), np.uint8)
    lengths = is_negative + 1  # the sign and the last digit
    remaining = magnitudes
    for position in range(width - 1, 0, -1):
        tens = remaining // 10
        characters[:, position] = remaining - tens * 10 + ord("0")
        lengths += tens > 0  # there is another digit
        remaining = tens

    starts = width - lengths
    characters[is_negative, starts[is_negative]] = ord("-")
    is_used = np.arange(width) >= starts[:, None]  # (rows, width)
    return Strings(characters[is_used], _to_offsets(lengths))


def _to_offsets(lengths: np.ndarray) -> np.ndarray:
    """[2, 1] -> [0, 2, 3]."""
    return np.concatenate([[0], np.cumsum(lengths)])
