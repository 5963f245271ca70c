"""64-bit hashes of the values of columns, the same on every machine and in every version."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from components.ragged import compact_texts, offsets_of
from components.types import Ragged, Strings, Values

# Of MurmurHash3's 64-bit finalizer (Appleby, 2008), and 2^64 divided by the golden ratio.
FIRST_FACTOR, SECOND_FACTOR, SHIFT = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
NOT_WHOLE = np.uint64(0x5555555555555555)  # so that the bits of a fraction aren't those of a whole number
MISSING = np.uint64(0xA5A5A5A5A5A5A5A5)  # the hash of a missing value
LONG = 256  # a string of more bytes is hashed by BLAKE2b, because the arrays of shorter ones have 8 bytes per byte
CHUNK_BYTES = 1 << 18  # of strings that are hashed at once, so that the arrays fit into the processor's cache
MAX_EXACT = 2.0**53  # larger whole numbers aren't exact in float64


def mix(numbers: np.ndarray) -> np.ndarray:
    """Maps 64-bit numbers one to one so that each bit of the result depends on all bits of the number."""
    mixed, shifted = np.array(numbers), np.empty_like(numbers)  # few arrays, as memory is slower than the arithmetic
    for factor in (FIRST_FACTOR, SECOND_FACTOR):
        mixed ^= np.right_shift(mixed, SHIFT, out=shifted)
        mixed *= factor
    mixed ^= np.right_shift(mixed, SHIFT, out=shifted)
    return mixed


def to_shares(hashes: np.ndarray) -> np.ndarray:
    """Random numbers in [0, 1) from hashes."""
    return (hashes >> np.uint64(11)) * 2.0**-53


def hash_values(values: Values, valid: np.ndarray | None = None) -> np.ndarray:
    """The hash of each row of a column, uint64 (rows,). Equal rows have equal hashes, also 1, 1.0 and True.

    Args:
        values: the column.
        valid: (rows,), bool: False where a value is missing. All missing values have one hash. None: none is missing.
    """
    hashes = _hash_column(values)
    return hashes if valid is None else np.where(valid, hashes, MISSING)


def _hash_column(values: Values) -> np.ndarray:
    if isinstance(values, Strings):
        data, offsets, indices = compact_texts(values)  # a dictionary may have the strings of many other rows
        hashes = _hash_strings(data, offsets)
        return hashes if indices is None else hashes[indices]
    if isinstance(values, Ragged):
        lengths = np.diff(values.offsets)
        positions = np.arange(values.offsets[-1] - values.offsets[0]) - np.repeat(
            values.offsets[:-1] - values.offsets[0], lengths
        )
        elements = hash_values(values.values)[values.offsets[0] : values.offsets[-1]]
        return _sum_rows(mix(elements + _spread(positions)), values.offsets - values.offsets[0])
    if values.dtype.hasobject:
        return hash_values(Strings.from_bytes([_to_bytes(value) for value in values]))
    if values.ndim == 1 and values.dtype.kind in "biufM":
        return mix(_to_words(values))
    size = math.prod(values.shape[1:]) * values.itemsize
    padded = np.zeros((len(values), -(-size // 8) * 8), np.uint8)
    padded[:, :size] = np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(len(values), size)
    words = padded.view("<u8")
    return mix(mix(words + _spread(np.arange(words.shape[1]))).sum(axis=1, dtype=np.uint64))


def combine_hashes(columns: Iterable[np.ndarray]) -> np.ndarray:
    """The hash of each row of a table, from the hashes of its columns, in their order. There must be a column."""
    total = np.zeros(1, np.uint64)
    for hashes in columns:
        total = mix(total + GOLDEN ^ hashes)
    return total


def _to_words(values: np.ndarray) -> np.ndarray:
    """Numbers, booleans or times as uint64. A whole float has the word of the integer."""
    if values.dtype.kind == "M":
        return values.astype("M8[us]").view(np.uint64)
    if values.dtype.kind != "f":
        return values.astype(np.uint64 if values.dtype.kind == "u" else np.int64).view(np.uint64)
    numbers = np.ascontiguousarray(values, np.float64)
    with np.errstate(invalid="ignore"):  # NaN and numbers beyond 64 bits become integers beyond MAX_EXACT
        whole = numbers.astype(np.int64)
    is_whole = whole == numbers
    is_whole &= np.abs(numbers) <= MAX_EXACT
    if (is_nan := np.isnan(numbers)).any():  # of several bits
        numbers = np.where(is_nan, np.nan, numbers)
    words = numbers.view(np.uint64) ^ NOT_WHOLE
    np.copyto(words, whole.view(np.uint64), where=is_whole)
    return words


def _hash_strings(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The hash of each string of `Strings`, without its indices."""
    lengths = np.diff(offsets)
    is_long = lengths > LONG
    hashes = np.empty(len(lengths), np.uint64)
    buffer = np.ascontiguousarray(data).data
    for number in np.flatnonzero(is_long).tolist():
        content = buffer[int(offsets[number]) : int(offsets[number + 1])]
        hashes[number] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    first = 0
    short = np.flatnonzero(~is_long)
    ends = np.cumsum(lengths[short])
    while first < len(short):
        begin = ends[first] - lengths[short[first]]
        stop = max(int(np.searchsorted(ends, begin + CHUNK_BYTES, side="right")), first + 1)
        some = short[first:stop]
        bounds = offsets_of(lengths[some])
        positions = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths[some])
        content = data[positions + np.repeat(offsets[some], lengths[some])]
        hashes[some] = _sum_rows(mix(content.astype(np.uint64) + _spread(positions)), bounds)
        first = stop
    return hashes


def _sum_rows(hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The hash of each row from the hashes of its elements, which depend on their positions."""
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes, dtype=np.uint64)])
    return mix(totals[offsets[1:]] - totals[offsets[:-1]] + np.diff(offsets).astype(np.uint64))


def _spread(positions: np.ndarray) -> np.ndarray:
    return (positions.astype(np.uint64) + np.uint64(1)) * GOLDEN


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray):
        return f"{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    return str(value).encode()
