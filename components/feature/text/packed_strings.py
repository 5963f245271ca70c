"""Hashing of many strings at once, in 64-bit words.

Strings are copied in blocks that fit into the cache, and are sorted there by length. Each step of a hash then works on
a slice: the strings that have bytes left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

BLOCK_ROWS, BLOCK_BYTES = 1 << 16, 1 << 22  # the maximum of a block; a string with more bytes is a block of its own
CHUNK_ROWS = 1 << 13  # strings that are hashed at once; a dozen arrays with one word per string fit into the cache
PADDING = 64  # bytes after a block, because up to 64 bytes are read at once from any position in it


class PackedStrings(NamedTuple):
    """Some strings of a block, in ascending order of length.

    Attributes:
        block: (bytes + PADDING,), uint8.
        start: (rows,), int64: the position of each string in the block.
        length: (rows,), uint64: the number of bytes of each string.
    """

    block: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def read_words(self, *, at: np.ndarray | int, count: int) -> np.ndarray:
        """Reads little-endian words, uint64 (count, rows). Bytes after the end of a string are arbitrary.

        Args:
            at: the position of the first word in a string, in bytes: (rows,), or one position for all strings. It needs
                no alignment.
            count: the number of words; together they have at most PADDING bytes.
        """
        size = len(self.block) - 8 * count + 1
        # Entry i is the `count` words that start at byte i of the block. Entries overlap.
        words_from_byte = np.ndarray(size, f"V{8 * count}", self.block, strides=(1,))
        return words_from_byte[self.start + at].view("<u8").reshape(-1, count).T

    def read_ending(self, *, before: int, count: int) -> np.ndarray:
        """Reads words that start `before` bytes before the end of each string."""
        return self.read_words(at=self.length.view(np.int64) - before, count=count)

    def select(self, rows: slice) -> PackedStrings:
        """Some of the strings."""
        return PackedStrings(self.block, self.start[rows], self.length[rows])


Hash: TypeAlias = Callable[[PackedStrings], np.ndarray]


def hash_strings(values: np.ndarray, offsets: np.ndarray, hash_functions: Sequence[tuple[int, Hash]]) -> np.ndarray:
    """Hashes each string, uint64 (rows,).

    Args:
        values: the bytes of the strings, uint8.
        offsets: string i is `values[offsets[i]:offsets[i + 1]]`, as in Arrow; the first may be above 0.
        hash_functions: pairs of a minimum length in bytes and a hash function. The minimums ascend from 0. A function
            hashes the strings from its minimum up to the minimum of the next function.
    """
    result = np.empty(len(offsets) - 1, np.uint64)
    first = 0
    while first < len(result):
        fit_count = np.searchsorted(
            offsets[first + 1 : first + BLOCK_ROWS + 1], int(offsets[first]) + BLOCK_BYTES, side="right"
        )
        last = first + max(int(fit_count), 1)  # a block has at least one string
        _hash_block(result[first:last], values, offsets[first : last + 1].astype(np.int64, copy=False), hash_functions)
        first = last
    return result


def fold_words_into(
    state: np.ndarray,
    strings: PackedStrings,
    *,
    step_counts: np.ndarray,
    words_per_step: int,
    step: Callable[..., Sequence[np.ndarray]],
) -> None:
    """Updates the state of each string in place, in a loop over the words of the string.

    Args:
        state: (n, rows), n words per string.
        strings: the strings.
        step_counts: (rows,), ascending: the number of steps of each string.
        words_per_step: the number of words that a step consumes.
        step: maps the state and the consumed words to the n words of the new state.
    """
    for number in range(int(step_counts[-1])):
        rows = slice(int(np.searchsorted(step_counts, number, side="right")), None)  # the strings with words left
        data = strings.select(rows).read_words(at=8 * words_per_step * number, count=words_per_step)
        for old, new in zip(state, step(state[:, rows], data), strict=True):
            old[rows] = new


def rotate(word: np.ndarray, bits: int) -> np.ndarray:
    """Rotates 64-bit words to the right."""
    return (word >> bits) | (word << (64 - bits))


def _hash_block(
    result: np.ndarray, values: np.ndarray, offsets: np.ndarray, hash_functions: Sequence[tuple[int, Hash]]
) -> None:
    block = np.empty(offsets[-1] - offsets[0] + PADDING, np.uint8)
    block[:-PADDING] = values[offsets[0] : offsets[-1]]
    length = np.diff(offsets)
    # NumPy sorts numbers of at most 16 bits by radix, which is three times as fast.
    order = np.argsort(length.astype(np.min_scalar_type(int(length.max()))), kind="stable")
    strings = PackedStrings(block, (offsets[:-1] - offsets[0])[order], length[order].view(np.uint64))
    bounds = [*np.searchsorted(strings.length, [min_length for min_length, _ in hash_functions]).tolist(), len(order)]
    for (_, function), low, high in zip(hash_functions, bounds[:-1], bounds[1:], strict=True):
        for at in range(low, high, CHUNK_ROWS):
            rows = slice(at, min(at + CHUNK_ROWS, high))
            result[order[rows]] = function(strings.select(rows))
