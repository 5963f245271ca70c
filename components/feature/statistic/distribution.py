"""Statistics of distributions: quantiles in bounded memory, and histograms."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeAlias

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, Range, UserError

Method: TypeAlias = Literal["linear", "keras", "transform"]


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of numbers: exact for up to `capacity` distinct numbers, otherwise with a bounded error.

    The algorithm is a mergeable quantile sketch. A `Sketch` is a weighted sample: distinct numbers, each with a count
    of the rows that it represents.

    1. `summarize` makes the sketch of a block: its distinct numbers and how often each occurs.
    2. `merge` joins two sketches and adds the counts of equal numbers.
    3. After each of them, a sketch with more than `capacity` numbers is compacted: numbers give rows to a neighbour,
       and a number without rows is dropped. Four numbers with the counts 1 1 1 1 become two with the counts 2 2.

    Compaction moves rows in portions of 2^h. Level h has the numbers whose counts, as binary numbers, contain 2^h. To
    halve level h, its numbers are paired, each with the next one. One of the pair gives 2^h rows to the other, which
    changes a rank by at most 2^h. The smallest and the largest number are always kept.

    Error bound: a level is halved only if it has at least capacity / 8 numbers, and a row takes part in at most one
    halving per level. The error of a rank among n rows is therefore at most n (log2(8 n / capacity) + 1) 8 / capacity,
    in any order of merging. With the default capacity it is below a thousandth of the rows for up to 2^46 rows. The
    sketch adds up the actual error, which is usually much smaller.

    Attributes:
        key: the numbers.
        capacity: the maximum number of distinct numbers that are kept for each element of the last axis.

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
        """Halves the lowest level that has enough numbers, until at most `capacity` numbers remain."""
        min_numbers = 2 * math.ceil(self.capacity / 16)  # capacity / 8, rounded up to an even number
        level = 0
        while len(sketch.values) > self.capacity and sketch.counts.max() >= 1 << level:
            is_in_level = (sketch.counts >> level) & 1
            positions = np.flatnonzero(is_in_level)
            if len(positions) < min_numbers:
                level += 1
            else:
                sketch = _halve_level(sketch, positions, level)
        return sketch


class Sketch(NamedTuple):
    """A weighted sample of numbers.

    Attributes:
        values: (n,), float64, ascending, distinct.
        counts: (n,), int64: the number of rows that each value represents.
        error: the maximum error of a rank that is computed from the sample, in rows; 0 if the sample is exact.
    """

    values: np.ndarray
    counts: np.ndarray
    error: int


@dataclass(frozen=True)
class Distribution:
    """The result of `Quantiles`.

    Attributes:
        sketches: a sample for each of the D elements of the last axis.
    """

    sketches: tuple[Sketch, ...]

    @property
    def count(self) -> np.ndarray:
        """The number of values that aren't missing, int64 (D,)."""
        return np.array([sketch.counts.sum() for sketch in self.sketches], np.int64)

    @property
    def rank_error(self) -> float:
        """The maximum error of a rank, as a share of the numbers, over all elements; 0 if quantiles are exact."""
        return max(sketch.error / max(int(sketch.counts.sum()), 1) for sketch in self.sketches)

    def quantiles(self, probabilities: np.ndarray, method: Method = "linear") -> np.ndarray:
        """Computes quantiles, float64 (probabilities, D); NaN for an element without numbers.

        Args:
            probabilities: from 0 to 1, such as 1/n, …, (n - 1)/n for the boundaries of n buckets.
            method: the position of the quantile p in n sorted numbers, counted from 0. `linear`: p (n - 1), as NumPy's
                default. `keras`: p n - 1, as Keras's Discretization and NumPy's interpolated_inverted_cdf. Both
                interpolate linearly. `transform`: floor(p n), as in TensorFlow Transform.
        """
        probabilities = np.asarray(probabilities, np.float64)
        return np.stack([_compute_quantiles(sketch, probabilities, method) for sketch in self.sketches], axis=1)


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
        width = values.shape[1]
        bucket_count = len(self.boundaries) + 1
        buckets = np.searchsorted(np.array(self.boundaries), values, side="right")  # (rows, D)
        # With consecutive numbers for the buckets of all elements, one `bincount` counts them all.
        buckets += np.arange(width) * bucket_count
        counts = np.bincount(buckets[~np.isnan(values)], minlength=width * bucket_count)
        return counts.reshape(width, bucket_count)

    def merge(self, state: np.ndarray, other: np.ndarray) -> np.ndarray:
        return state + other

    def result(self, state: np.ndarray) -> np.ndarray:
        return state


def _make_sketch(numbers: np.ndarray) -> Sketch:
    """Makes the exact sketch of an array (rows,). NaN is a missing number."""
    ordered = np.sort(numbers + 0.0)  # -0.0 becomes 0.0; NaN comes last
    ordered = ordered[: len(ordered) - np.count_nonzero(np.isnan(ordered))]
    starts = _find_run_starts(ordered)
    return Sketch(values=ordered[starts], counts=np.diff(starts, append=len(ordered)), error=0)


def _merge(sketch: Sketch, other: Sketch) -> Sketch:
    values = np.concatenate([sketch.values, other.values])
    counts = np.concatenate([sketch.counts, other.counts])
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    starts = _find_run_starts(values)
    return Sketch(values[starts], np.add.reduceat(counts, starts), sketch.error + other.error)


def _find_run_starts(ordered: np.ndarray) -> np.ndarray:
    """The position of the first value of each run of equal values: [5, 5, 7, 8, 8] -> [0, 2, 3]."""
    is_start = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_start[1:])
    return np.flatnonzero(is_start)


def _halve_level(sketch: Sketch, positions: np.ndarray, level: int) -> Sketch:
    """Halves a level: in each pair of neighbours, one value gets 2^level rows of the other.

    Args:
        sketch: the sample.
        positions: the positions of the level's values. If their number is odd, the last value is in no pair.
        level: the level.
    """
    pair_count = len(positions) // 2
    pairs = positions[: 2 * pair_count].reshape(pair_count, 2)
    # The lower and the higher value receive in turn. In the last pair the higher one does, so that the largest number
    # is kept.
    receiver = np.arange(pair_count) % 2
    receiver[-1] = 1
    rows = 1 << level
    counts = sketch.counts.copy()
    counts[pairs] -= rows
    counts[pairs[np.arange(pair_count), receiver]] += 2 * rows
    is_kept = counts > 0
    return Sketch(sketch.values[is_kept], counts[is_kept], sketch.error + rows)


def _compute_quantiles(sketch: Sketch, probabilities: np.ndarray, method: Method) -> np.ndarray:
    """Computes the quantiles of one element, (probabilities,)."""
    if not len(sketch.values):
        return np.full(len(probabilities), np.nan)
    cumulative_counts = np.cumsum(sketch.counts)
    total = int(cumulative_counts[-1])

    def number_at(position: np.ndarray) -> np.ndarray:
        """The numbers at whole positions among the `total` sorted numbers, counted from 0."""
        position = np.minimum(position, total - 1)
        return sketch.values[np.searchsorted(cumulative_counts, position, side="right")]

    if method == "linear":
        positions = probabilities * (total - 1)
    elif method == "keras":
        positions = np.maximum(probabilities * total - 1, 0)
    else:
        # 0.29 * 100 is 28.999… in float64, but its floor must be 29. The factor is two units in the last place above 1.
        positions = np.minimum(np.floor(probabilities * total * (1 + 2**-51)), total - 1)
    lower_positions = np.floor(positions)
    low, high = number_at(lower_positions), number_at(lower_positions + 1)
    return low + (high - low) * (positions - lower_positions)
