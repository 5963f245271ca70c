"""Strings as 64-bit words, for hashes over many rows at once.

Strings are copied in blocks that stay in the cache, and ordered there by length: each step then works on the strings
that are long enough, and no time goes into short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

ROWS, BYTES = 1 << 16, 1 << 22  # of a block; a longer string is a block on its own
LANES = 1 << 13  # rows at once: a dozen intermediate results of so many words fit into the cache
PADDING = 64  # bytes behind a block: the largest number of bytes that are read at once


class PackedStrings(NamedTuple):
    """Some strings of a block, from the shortest to the longest.

    Attributes:
        block: (bytes + PADDING,), uint8.
        start: (rows,), int64: where the strings begin in the block.
        length: (rows,), uint64: how many bytes they have.
    """

    block: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def read_words(self, at: np.ndarray | int, count: int) -> np.ndarray:
        """Reads little-endian words, uint64 (count, rows). Bytes behind the end of a string are arbitrary.

        Args:
            at: the byte of each string, or of all, where the first word begins; it needs no alignment.
            count: how many words are read, at most PADDING bytes.
        """
        size = len(self.block) - 8 * count + 1
        overlapping = np.ndarray(size, f"V{8 * count}", self.block, strides=(1,))
        return overlapping[self.start + at].view("<u8").reshape(-1, count).T

    def read_ending(self, before: int, count: int) -> np.ndarray:
        """Reads words that begin `before` bytes before the end of each string."""
        return self.read_words(self.length.view(np.int64) - before, count)

    def select(self, rows: slice) -> PackedStrings:
        """Some of the strings."""
        return PackedStrings(self.block, self.start[rows], self.length[rows])


Hash: TypeAlias = Callable[[PackedStrings], np.ndarray]


def hash_strings(values: np.ndarray, offsets: np.ndarray, kinds: Sequence[tuple[int, Hash]]) -> np.ndarray:
    """Hashes each string, uint64 (rows,).

    Args:
        values: the bytes of the strings, uint8.
        offsets: string i is `values[offsets[i]:offsets[i + 1]]`, as in Arrow; the first may be above 0.
        kinds: hash functions, each with the least length of its strings, from length 0 on.
    """
    result = np.empty(len(offsets) - 1, np.uint64)
    first = 0
    while first < len(result):
        fit = np.searchsorted(offsets[first + 1 : first + ROWS + 1], int(offsets[first]) + BYTES, side="right")
        last = first + max(int(fit), 1)
        _hash_block(result[first:last], values, offsets[first : last + 1].astype(np.int64, copy=False), kinds)
        first = last
    return result


def absorb(
    state: np.ndarray, strings: PackedStrings, steps: np.ndarray, words: int, step: Callable[..., Sequence[np.ndarray]]
) -> None:
    """Updates the state of each string, (n, rows), with its words, in place.

    Args:
        state: n words per string.
        strings: the strings.
        steps: (rows,), how many steps each string takes; not decreasing.
        words: how many words a step consumes.
        step: maps (state, data) to the n words of the new state.
    """
    for number in range(int(steps[-1])):
        left = slice(int(np.searchsorted(steps, number, side="right")), None)
        data = strings.select(left).read_words(8 * words * number, words)
        for old, new in zip(state, step(state[:, left], data), strict=True):
            old[left] = new


def rotate(word: np.ndarray, bits: int) -> np.ndarray:
    """Rotates to the right."""
    return (word >> bits) | (word << (64 - bits))


def _hash_block(result: np.ndarray, values: np.ndarray, offsets: np.ndarray, kinds: Sequence[tuple[int, Hash]]) -> None:
    block = np.empty(offsets[-1] - offsets[0] + PADDING, np.uint8)
    block[:-PADDING] = values[offsets[0] : offsets[-1]]
    length = np.diff(offsets)
    # NumPy sorts numbers of at most 16 bits by radix, which is three times as fast.
    order = np.argsort(length.astype(np.min_scalar_type(int(length.max()))), kind="stable")
    strings = PackedStrings(block, (offsets[:-1] - offsets[0])[order], length[order].view(np.uint64))
    bounds = [*np.searchsorted(strings.length, [shortest for shortest, _ in kinds]).tolist(), len(order)]
    for (_, function), low, high in zip(kinds, bounds[:-1], bounds[1:], strict=True):
        for at in range(low, high, LANES):
            rows = slice(at, min(at + LANES, high))
            result[order[rows]] = function(strings.select(rows))
