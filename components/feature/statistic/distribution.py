"""Statistics of distributions: quantiles in bounded memory, and histograms."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, Range, UserError


class Sketch(NamedTuple):
    """A weighted sample of the numbers of one element of the last axis.

    Attributes:
        values: float64, ascending.
        counts: int64: the number of rows that each value represents.
        error: the maximum error of a rank that is computed from the sample, in rows.
    """

    values: np.ndarray
    counts: np.ndarray
    error: int


@dataclass(frozen=True)
class Distribution:
    """The distribution of numbers, for each element of the last axis."""

    sketches: tuple[Sketch, ...]

    @property
    def count(self) -> np.ndarray:
        """The number of values that aren't missing, int64 (D,)."""
        return np.array([sketch.counts.sum() for sketch in self.sketches], np.int64)

    @property
    def rank_error(self) -> float:
        """The maximum error of a rank, as a share of the numbers, over all elements; 0 if quantiles are exact."""
        return max(sketch.error / max(int(sketch.counts.sum()), 1) for sketch in self.sketches)

    def quantiles(
        self, probabilities: np.ndarray, method: Literal["linear", "keras", "transform"] = "linear"
    ) -> np.ndarray:
        """Computes quantiles, float64 (probabilities, D); NaN for an element without numbers.

        Args:
            probabilities: from 0 to 1, such as 1/n, …, (n - 1)/n for the boundaries of n buckets.
            method: the position of the quantile p in n sorted numbers, counted from 0. `linear`: p (n - 1), as NumPy's
                default. `keras`: p n - 1, as Keras's Discretization and NumPy's interpolated_inverted_cdf. Both
                interpolate linearly. `transform`: floor(p n), as in TensorFlow Transform.
        """
        probabilities = np.asarray(probabilities, np.float64)
        return np.stack([_interpolate(sketch, probabilities, method) for sketch in self.sketches], axis=1)


@dataclass(frozen=True)
class Quantiles:
    """The distribution of numbers: exact up to `capacity` distinct numbers, and beyond it with a bounded error.

    The algorithm is a mergeable quantile sketch. Each kept number has a count: the number of rows that it represents.
    The bits of the count are the levels that the number belongs to: bit h stands for 2^h rows. When there are more
    numbers than `capacity`, one level h is halved: of every two neighbours in it, one gets the 2^h rows of the other,
    which changes ranks by at most 2^h. A level is halved only if it has at least capacity / 8 numbers, and each row
    takes part in at most one halving per level. The error for n rows is therefore at most
    n (log2(8 n / capacity) + 1) 8 / capacity, in any order of merging. With the default capacity it is below a
    thousandth of the rows for up to 2^46 rows. The actual error is counted, and is usually much smaller. The smallest
    and the largest number are always kept.

    References:
        Munro and Paterson, Selection and Sorting with Limited Storage, 1980; Agarwal, Cormode, Huang, Phillips, Wei and
        Yi, Mergeable Summaries, 2012.
    """

    key: Key
    capacity: Annotated[int, Range(32)] = 1 << 18

    def summarize(self, block: Block) -> tuple[Sketch, ...]:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> tuple[Sketch, ...]:
        return tuple(self._compact(_make_sketch(column)) for column in values.T)

    def merge(self, state: tuple[Sketch, ...], other: tuple[Sketch, ...]) -> tuple[Sketch, ...]:
        return tuple(self._compact(_merge(*pair)) for pair in zip(state, other, strict=True))

    def result(self, state: tuple[Sketch, ...]) -> Distribution:
        return Distribution(state)

    def _compact(self, sketch: Sketch) -> Sketch:
        """Halves levels until at most `capacity` values remain: always the lowest level with enough values."""
        min_values = 2 * -(-self.capacity // 16)  # capacity / 8, rounded up to an even number
        level = 0
        while len(sketch.values) > self.capacity and sketch.counts.max() >> level:
            positions = np.flatnonzero((sketch.counts >> level) & 1)  # the values of the level
            if len(positions) < min_values:
                level += 1
            else:
                sketch = _halve(sketch, positions, level)
        return sketch


@dataclass(frozen=True)
class Histogram:
    """The number of values in each bucket, int64 (D, boundaries + 1).

    Bucket b is [boundaries[b - 1], boundaries[b]); the first bucket has no lower boundary, the last no upper one.
    """

    key: Key
    boundaries: tuple[float, ...]

    def __post_init__(self) -> None:
        for low, high in itertools.pairwise(self.boundaries):
            if not low < high:
                raise UserError(f"`boundaries` must increase, but {high} follows {low}")

    def summarize(self, block: Block) -> np.ndarray:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> np.ndarray:
        buckets, width = len(self.boundaries) + 1, values.shape[1]
        positions = np.searchsorted(np.array(self.boundaries), values, side="right") + np.arange(width) * buckets
        return np.bincount(positions[~np.isnan(values)], minlength=width * buckets).reshape(width, buckets)

    def merge(self, state: np.ndarray, other: np.ndarray) -> np.ndarray:
        return state + other

    def result(self, state: np.ndarray) -> np.ndarray:
        return state


def _make_sketch(column: np.ndarray) -> Sketch:
    """Makes a sketch of all numbers of an array, except NaN, which is a missing number."""
    values = np.sort(column + 0.0)  # -0.0 becomes 0.0
    values = values[: len(values) - np.count_nonzero(np.isnan(values))]
    first = _find_first(values)
    return Sketch(values[first], np.diff(first, append=len(values)), 0)


def _merge(sketch: Sketch, other: Sketch) -> Sketch:
    values = np.concatenate([sketch.values, other.values])
    order = np.argsort(values, kind="stable")
    first = _find_first(values[order])
    counts = np.add.reduceat(np.concatenate([sketch.counts, other.counts])[order], first)
    return Sketch(values[order][first], counts, sketch.error + other.error)


def _find_first(values: np.ndarray) -> np.ndarray:
    """The position of the first value of each run of equal values."""
    is_first = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=is_first[1:])
    return np.flatnonzero(is_first)


def _halve(sketch: Sketch, positions: np.ndarray, level: int) -> Sketch:
    """Halves a level with values at `positions`: in each pair of neighbours, one value gets 2^level rows of the other.

    The receiver is alternately the lower and the higher value; in the last pair it is the higher, so that the largest
    number is kept.
    """
    pairs = positions[: len(positions) // 2 * 2].reshape(-1, 2)
    receiver = np.arange(len(pairs)) % 2
    receiver[-1] = 1
    counts = sketch.counts.copy()
    counts[pairs] -= 1 << level
    counts[pairs[np.arange(len(pairs)), receiver]] += 2 << level
    occupied = counts > 0
    return Sketch(sketch.values[occupied], counts[occupied], sketch.error + (1 << level))


def _interpolate(sketch: Sketch, probabilities: np.ndarray, method: str) -> np.ndarray:
    """Computes the quantiles of one element, (probabilities,)."""
    cumulative_counts = np.cumsum(sketch.counts)
    if not len(cumulative_counts):
        return np.full(len(probabilities), np.nan)
    total = int(cumulative_counts[-1])

    def value_at(rank: np.ndarray) -> np.ndarray:
        rank = np.minimum(rank, total - 1)
        return sketch.values[np.searchsorted(cumulative_counts, rank, "right")]

    if method == "linear":
        positions = probabilities * (total - 1)
    elif method == "keras":
        positions = np.maximum(probabilities * total - 1, 0)
    else:  # 0.29 * 100 is 28.999…: with the factor, two units in the last place above 1, its floor is 29
        positions = np.minimum(np.floor(probabilities * total * (1 + 2**-51)), total - 1)
    floor = np.floor(positions)
    low, high = value_at(floor), value_at(floor + 1)
    return low + (high - low) * (positions - floor)
