"""Quantiles of any number of rows in bounded memory, and histograms."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, Range, UserError

LEVELS = 8  # of weights that may be full before all are compacted


class Sketch(NamedTuple):
    """A sample of the numbers of an element, each with the number of rows that it stands for.

    Attributes:
        values: float64, ascending.
        counts: int64, how many rows each value stands for.
        error: how much a rank that is counted with the sample is wrong at most.
    """

    values: np.ndarray
    counts: np.ndarray
    error: int


@dataclass(frozen=True)
class Distribution:
    """How the numbers of each element are distributed."""

    sketches: tuple[Sketch, ...]

    @property
    def count(self) -> np.ndarray:
        """How many numbers there were, without gaps, int64 (D,)."""
        return np.array([sketch.counts.sum() for sketch in self.sketches], np.int64)

    @property
    def rank_error(self) -> float:
        """The share of the numbers by which a rank is wrong at most, in the worst element; 0 when exact."""
        return max(sketch.error / max(int(sketch.counts.sum()), 1) for sketch in self.sketches)

    def quantiles(
        self, probabilities: np.ndarray, method: Literal["linear", "keras", "transform"] = "linear"
    ) -> np.ndarray:
        """Quantiles, float64 (probabilities, D); NaN for an element without numbers.

        Args:
            probabilities: from 0 to 1; the boundaries of n buckets are at 1/n, …, (n - 1)/n.
            method: of n ascending numbers counted from 0, `linear` interpolates at place p (n - 1), as NumPy does
                by default; `keras` at p n - 1, as Keras's Discretization (NumPy's interpolated_inverted_cdf);
                `transform` takes the one at place floor(p n), as TensorFlow Transform's quantiles.
        """
        given = np.asarray(probabilities, np.float64)
        return np.stack([_interpolate(sketch, given, method) for sketch in self.sketches], axis=1)


@dataclass(frozen=True)
class Quantiles:
    """The distribution of numbers: exact up to `capacity` distinct ones, then a summary with a bounded error.

    Beyond `capacity`, numbers that stand for 2^h rows each are halved: of every two neighbours one is kept, with the
    count of both, which makes ranks wrong by at most 2^h. Only capacity / 8 numbers or more are halved at once, and
    each row passes each h once. So n rows make an error of at most n (log2(8 n / capacity) + 1) 8 / capacity, in
    whatever order blocks are merged: with the default less than a thousandth of the rows for up to 2^46 of them. The
    actual error is counted, and usually much smaller. The smallest and the largest number are always kept.

    References:
        Munro and Paterson, 1980; Agarwal, Cormode, Huang, Phillips, Wei and Yi, Mergeable Summaries, 2012.
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
        """Halves values until there are few enough: always those of the least weight of which there are enough."""
        enough, level = 2 * -(-self.capacity // (2 * LEVELS)), 0  # even: at least so many are halved
        while len(sketch.values) > self.capacity and sketch.counts.max() >> level:
            places = np.flatnonzero(sketch.counts >> level & 1)
            if len(places) < enough:
                level += 1
            else:
                sketch = _halve(sketch, places, level)
        return sketch


@dataclass(frozen=True)
class Histogram:
    """How many numbers lie in each bucket, int64 (D, boundaries + 1).

    The number of a bucket is how many boundaries aren't above a number.
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
        places = np.searchsorted(np.array(self.boundaries), values, side="right") + np.arange(width) * buckets
        return np.bincount(places[~np.isnan(values)], minlength=width * buckets).reshape(width, buckets)

    def merge(self, state: np.ndarray, other: np.ndarray) -> np.ndarray:
        return state + other

    def result(self, state: np.ndarray) -> np.ndarray:
        return state


def _make_sketch(column: np.ndarray) -> Sketch:
    """All numbers of an array, in which NaN is a gap."""
    values = np.sort(column + 0.0)  # -0.0 becomes 0.0
    values = values[: len(values) - np.count_nonzero(np.isnan(values))]
    first = _find_first(values)
    return Sketch(values[first], np.diff(first, append=len(values)), 0)


def _merge(one: Sketch, other: Sketch) -> Sketch:
    values = np.concatenate([one.values, other.values])
    order = np.argsort(values, kind="stable")
    first = _find_first(values[order])
    counts = np.add.reduceat(np.concatenate([one.counts, other.counts])[order], first)
    return Sketch(values[order][first], counts, one.error + other.error)


def _find_first(values: np.ndarray) -> np.ndarray:
    """The place of the first of each run of equal values."""
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return np.flatnonzero(new)


def _halve(sketch: Sketch, places: np.ndarray, level: int) -> Sketch:
    """Keeps of every two neighbours the lower and the higher in turn, and always the last of all."""
    pairs = places[: len(places) // 2 * 2].reshape(-1, 2)
    kept = np.arange(len(pairs)) % 2
    kept[-1] = 1
    counts = sketch.counts.copy()
    counts[pairs] -= 1 << level
    counts[pairs[np.arange(len(pairs)), kept]] += 2 << level
    occupied = counts > 0
    return Sketch(sketch.values[occupied], counts[occupied], sketch.error + (1 << level))


def _interpolate(sketch: Sketch, probabilities: np.ndarray, method: str) -> np.ndarray:
    """Quantiles of an element, (probabilities,)."""
    ends = np.cumsum(sketch.counts)
    if not len(ends):
        return np.full(len(probabilities), np.nan)
    total = int(ends[-1])
    if method == "linear":
        places = probabilities * (total - 1)
    elif method == "keras":
        places = np.maximum(probabilities * total - 1, 0)
    else:  # rounding must not put the product below a whole number
        places = np.minimum(np.floor(probabilities * total * (1 + 2**-51)), total - 1)
    lower = np.floor(places)
    low, high = (sketch.values[np.searchsorted(ends, np.minimum(at, total - 1), "right")] for at in (lower, lower + 1))
    return low + (high - low) * (places - lower)
