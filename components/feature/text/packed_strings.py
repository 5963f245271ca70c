"""Strings as 64-bit words, many rows at a time: what the hashes of strings are computed over.

Rows are taken in blocks that stay in the cache and there ordered by length, so that the cost is that of their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

ROWS, BYTES = 1 << 16, 1 << 22  # of a block; a longer string is a block of its own
LANES = 1 << 13  # rows at once: a dozen intermediate results of so many words fit into the cache
PADDING = 64  # bytes: the most words that are read at once


class PackedStrings(NamedTuple):
    """Some strings of a block, from the shortest to the longest."""

    block: np.ndarray  # (bytes + PADDING,), uint8
    start: np.ndarray  # (rows,), int64: where they begin there
    length: np.ndarray  # (rows,), uint64: their bytes

    def read_words(self, at: np.ndarray | int, count: int) -> np.ndarray:
        """The little-endian words from byte `at` of each string on, uint64 (count, rows); past the end is anything.

        At most PADDING bytes. One element of `count` overlapping words a row is read in one go, whatever its alignment.
        """
        size = len(self.block) - 8 * count + 1
        overlapping = np.ndarray(size, f"V{8 * count}", self.block, strides=(1,))
        return overlapping[self.start + at].view("<u8").reshape(-1, count).T

    def read_ending(self, before: int, count: int) -> np.ndarray:
        """The same, from `before` bytes before the end of each string on."""
        return self.read_words(self.length.view(np.int64) - before, count)

    def select(self, rows: slice) -> PackedStrings:
        return PackedStrings(self.block, self.start[rows], self.length[rows])


Hash: TypeAlias = Callable[[PackedStrings], np.ndarray]


def hash_strings(values: np.ndarray, offsets: np.ndarray, kinds: Sequence[tuple[int, Hash]]) -> np.ndarray:
    """A number for each string, uint64 (rows,).

    String i is `values[offsets[i]:offsets[i + 1]]`, uint8, as in Arrow; offsets may begin above 0. `kinds` is the
    shortest length and the function of each kind of string, from length 0 on.
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
    """Takes into the state (n, rows) `words` words of each string, as many times over as `steps` (rows,) says.

    `step(state, data)` gives the n words of the new state; `steps` don't decrease.
    """
    for number in range(int(steps[-1])):
        left = slice(int(np.searchsorted(steps, number, side="right")), None)
        data = strings.select(left).read_words(8 * words * number, words)
        for old, new in zip(state, step(state[:, left], data), strict=True):
            old[left] = new


def rotate(word: np.ndarray, bits: int) -> np.ndarray:
    """Rotated to the right."""
    return (word >> bits) | (word << (64 - bits))


def _hash_block(result: np.ndarray, values: np.ndarray, offsets: np.ndarray, kinds: Sequence[tuple[int, Hash]]) -> None:
    block = np.empty(offsets[-1] - offsets[0] + PADDING, np.uint8)
    block[:-PADDING] = values[offsets[0] : offsets[-1]]
    length = np.diff(offsets)
    # Numbers of at most 16 bits are sorted by radix, which is three times as fast.
    order = np.argsort(length.astype(np.min_scalar_type(int(length.max()))), kind="stable")
    strings = PackedStrings(block, (offsets[:-1] - offsets[0])[order], length[order].view(np.uint64))
    bounds = [*np.searchsorted(strings.length, [shortest for shortest, _ in kinds]).tolist(), len(order)]
    for (_, function), low, high in zip(kinds, bounds[:-1], bounds[1:], strict=True):
        for at in range(low, high, LANES):
            rows = slice(at, min(at + LANES, high))
            result[order[rows]] = function(strings.select(rows))
