"""Mergeable summaries of raw columns: the same however rows are cut into blocks, and blocks merged.

Counts and extremes are so exactly, moments up to rounding in float64. Numbers are summarized for each element
of the last axis (a vector's elements, an image's channels); a column of single numbers has one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from components.feature import raw
from components.types import Block


class Sums(NamedTuple):
    """How many numbers, their mean, and the sum of their squared deviations from it."""

    total: int
    mean: np.ndarray
    squares: np.ndarray


class Spread(NamedTuple):
    """Where numbers lie and how wide they spread, float64, an element of the last axis each."""

    offset: np.ndarray
    width: np.ndarray


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation (Chan, Golub and LeVeque, 1983)."""

    key: str

    def summarize(self, block: Block) -> Sums:
        values = _by_element(block, self.key)
        mean = values.mean(axis=0)
        return Sums(len(values), mean, np.square(values - mean).sum(axis=0))

    def merge(self, state: Sums, other: Sums) -> Sums:
        total = state.total + other.total
        difference = other.mean - state.mean
        mean = state.mean + difference * (other.total / total)
        squares = state.squares + other.squares + np.square(difference) * (state.total * other.total / total)
        return Sums(total, mean, squares)

    def result(self, state: Sums) -> Spread:
        return Spread(state.mean, np.sqrt(state.squares / state.total))


@dataclass(frozen=True)
class Extremes:
    """The smallest number, and the distance from it to the largest."""

    key: str

    def summarize(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        values = _by_element(block, self.key)
        return values.min(axis=0), values.max(axis=0)

    def merge(
        self, state: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.minimum(state[0], other[0]), np.maximum(state[1], other[1])

    def result(self, state: tuple[np.ndarray, np.ndarray]) -> Spread:
        return Spread(state[0], state[1] - state[0])


@dataclass(frozen=True)
class Distinct:
    """How often each class occurs, as a dictionary sorted by class."""

    key: str

    def summarize(self, block: Block) -> Counter[Any]:
        values, counts = np.unique(raw.labels(block, self.key), return_counts=True)
        return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def merge(self, state: Counter[Any], other: Counter[Any]) -> Counter[Any]:
        return state + other

    def result(self, state: Counter[Any]) -> dict[Any, int]:
        return dict(sorted(state.items()))


def _by_element(block: Block, key: str) -> np.ndarray:
    values = raw.numbers(block, key)
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
