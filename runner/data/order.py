"""The order of the training examples: a pure function of (seed, epoch, position).

The rows at any positions of an epoch are computed in a time that depends on their number alone, so that a run resumes
anywhere at once. Random numbers are raw random bits of NumPy, which promises never to change them, or hashes.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Callable

import numpy as np

from components.hashing import mix, to_shares
from components.types import RowNumbers

SMALL = 2**16  # NumPy permutes up to this many rows in some milliseconds, and faster than the Feistel network
GROUP = 4  # batches of similar lengths that come together: the steps of a dispatch of ragged data
ROUNDS = 8  # with 4 rounds, permutations fail tests of uniformity; with 6, they pass


class EpochOrder:
    """The training rows in the order of an epoch: `order[start:stop]` computes the rows at these positions only.

    Args:
        rows: the training rows (n,).
        find: (positions, int64) -> indices into `rows`.
    """

    def __init__(self, rows: RowNumbers, find: Callable[[np.ndarray], np.ndarray]) -> None:
        self.rows, self.find = rows, find

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, window: slice) -> np.ndarray:
        start, stop, step = window.indices(len(self))
        return self.rows[self.find(np.arange(start, stop, step))]


def epoch_order(
    rows: RowNumbers, seed: int, epoch: int, *, shuffle: bool | int = True, cumulative: np.ndarray | None = None
) -> EpochOrder:
    """The training rows in the order of an epoch.

    Args:
        rows: the training rows.
        seed: the seed of the run.
        epoch: the epoch, counted from 0.
        shuffle: True: a random permutation. False: the rows' own order. A number: consecutive windows of so many rows
            come one after another, each in a random order.
        cumulative: the cumulative weights of the rows, float64 (n,). The examples are then drawn with replacement, each
            row in proportion to its weight, whatever `shuffle` is. None: each row comes once.
    """
    count = len(rows)
    if cumulative is not None:
        return EpochOrder(rows, lambda positions: _draw(positions, cumulative, (seed, epoch)))
    if shuffle is False:
        return EpochOrder(rows, lambda positions: positions)
    if shuffle is True or shuffle >= count:
        return EpochOrder(rows, lambda positions: permute(positions, count, (seed, epoch)))
    return EpochOrder(rows, lambda positions: _permute_windows(positions, count, shuffle, (seed, epoch)))


def bucket_by_length(
    order: EpochOrder, lengths: np.ndarray, batch_size: int, batches: int, seed: tuple[int, int] | None
) -> EpochOrder:
    """The same order, in which the examples of a batch have similar lengths.

    Consecutive windows of several batches are sorted by length and cut into batches, of which four come together,
    because all rows of a dispatch of several steps are padded to its longest row. The last batch of the epoch, if it
    is smaller, keeps its examples, so that the examples that `drop_remainder` drops don't depend on their lengths.

    Args:
        order: the order.
        lengths: the length of each row, by its number.
        batch_size: the number of examples of a batch.
        batches: the number of batches of a window.
        seed: the seed of the run, and the epoch, for the random order of the groups of batches in a window. None: the
            group with the earliest example comes first.
    """
    whole, size = len(order) // batch_size * batch_size, batches * batch_size

    @functools.lru_cache(maxsize=2)
    def sort_window(window: int) -> np.ndarray:
        positions = np.arange(window * size, min((window + 1) * size, whole))
        found = order.find(positions)
        by_length = np.argsort(lengths[order.rows[found]], kind="stable").reshape(-1, batch_size)
        groups = np.array_split(by_length, range(GROUP, len(by_length), GROUP))
        if seed is None:
            turns = np.argsort([group.min() for group in groups])
        else:
            count = len(groups)
            turns = permute(np.arange(count), count, (*seed, window, 1))  # another order than that of `shuffle`
        return found[np.concatenate([groups[turn] for turn in turns.tolist()]).reshape(-1)]

    def find(positions: np.ndarray) -> np.ndarray:
        result = order.find(positions)
        is_sorted = positions < whole
        windows = positions // size
        for window in np.unique(windows[is_sorted]).tolist():
            here = is_sorted & (windows == window)
            result[here] = sort_window(window)[positions[here] - window * size]
        return result

    return EpochOrder(order.rows, find)


def interleave(sizes: np.ndarray, cycle: int, block: int) -> np.ndarray:
    """The order of the rows of several files that come in turns, as `interleave` of tf.data orders them, int64.

    Each of `cycle` places has a file. In each round, every place has a turn: the next `block` rows of its file, or the
    rest of it. If a turn finds fewer than `block` rows, the place gets the next file in the next round.

    Args:
        sizes: the number of rows of each file, in the order of the files. Rows are numbered from 0 over all files.
        cycle: the number of files whose rows come in turns.
        block: the number of rows of a turn.
    """
    free = [(0, place) for place in range(cycle)]  # the round in which each place gets its next file: a heap
    starts = np.empty((len(sizes), 2), np.int64)  # the first round and the place of each file
    for file, size in enumerate(sizes.tolist()):
        starts[file] = first, place = free[0]
        heapq.heapreplace(free, (first + size // block + 1, place))
    row_in_file = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rounds, places = np.repeat(starts, sizes, axis=0).T
    return np.argsort((rounds + row_in_file // block) * cycle + places, kind="stable")


def draw_uniforms(seed: tuple[int, int], first: int, count: int, draws: int) -> np.ndarray:
    """Uniform random numbers in [0, 1) for consecutive positions of an epoch, float64 (count, draws).

    Args:
        seed: the seed of the run, and the epoch.
        first: the first position.
        count: the number of positions.
        draws: how many numbers each position has.
    """
    blocks = -(-draws // 4)  # the generator makes four numbers for each value of its counter
    key = np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(2, np.uint64)  # another one than of orders
    bits = np.random.Philox(key=key, counter=first * blocks).random_raw(count * blocks * 4)
    return to_shares(bits.reshape(count, -1)[:, :draws])


def permute(positions: np.ndarray, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """The numbers at some positions of a random permutation of 0 … count - 1.

    Large permutations are generalized Feistel networks (Black and Rogaway, 2002): a number below a * b is a pair (left,
    right), and each round adds a hash of one half to the other. Results of `count` or more are permuted again.
    """
    if count <= SMALL:
        return _small_permutation(count, seed)[positions]
    keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)
    left_size = math.isqrt(count - 1) + 1
    sizes = np.uint64(left_size), np.uint64(-(-count // left_size))
    result = _apply_network(positions.astype(np.uint64), sizes, keys)
    while (outside := result >= count).any():  # less than 1 / sqrt(count) of them
        result[outside] = _apply_network(result[outside], sizes, keys)
    return result.astype(np.int64)


def shuffle_rows(rows: np.ndarray, *seed: int) -> np.ndarray:
    """The rows in a random order that depends on the seed alone."""
    bits = np.random.Philox(np.random.SeedSequence(seed)).random_raw(len(rows))
    return rows[np.argsort(bits, kind="stable")]


@functools.lru_cache(maxsize=8)
def _small_permutation(count: int, seed: tuple[int, ...]) -> np.ndarray:
    return shuffle_rows(np.arange(count), *seed)


def _apply_network(numbers: np.ndarray, sizes: tuple[np.uint64, np.uint64], keys: np.ndarray) -> np.ndarray:
    halves = [*np.divmod(numbers, sizes[1])]
    for round_number, key in enumerate(keys):
        side = round_number % 2
        shift = mix(halves[1 - side] ^ key) >> np.uint64(1)  # below 2^63, so that the sum doesn't overflow
        halves[side] = (halves[side] + shift) % sizes[side]
    return halves[0] * sizes[1] + halves[1]


def _permute_windows(positions: np.ndarray, count: int, size: int, seed: tuple[int, int]) -> np.ndarray:
    windows, inner = np.divmod(positions, size)
    result = windows * size
    starts = np.flatnonzero(np.diff(windows, prepend=-1))
    for window, start, stop in zip(
        windows[starts].tolist(), starts, np.append(starts, len(positions))[1:], strict=True
    ):
        result[start:stop] += permute(inner[start:stop], min(size, count - window * size), (*seed, window))
    return result


def _draw(positions: np.ndarray, cumulative: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Draws an index for each position, in proportion to the weights. An index of the weight 0 is never drawn."""
    blocks = positions // 4  # the generator makes four numbers for each value of its counter
    first, last = (int(blocks.min()), int(blocks.max())) if len(blocks) else (0, 0)
    generator = np.random.Philox(key=np.random.SeedSequence(seed).generate_state(2, np.uint64), counter=first)
    bits = generator.random_raw(4 * (last - first + 1))[positions - 4 * first]
    shares = to_shares(bits) * cumulative[-1]
    drawn = np.searchsorted(cumulative, shares, side="right")
    last_weighted = int(np.searchsorted(cumulative, cumulative[-1]))  # a product may be rounded up to the sum
    return np.minimum(drawn, last_weighted)
