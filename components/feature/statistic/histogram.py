"""How many numbers lie between given boundaries."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from components.feature.statistic.elements import Key, elements
from components.types import Block, UserError


@dataclass(frozen=True)
class Histogram:
    """Counts, int64 (D, boundaries + 1): a number is in the bucket of as many boundaries as are not above it."""

    key: Key
    boundaries: tuple[float, ...]

    def __post_init__(self) -> None:
        for low, high in itertools.pairwise(self.boundaries):
            if not low < high:
                raise UserError(f"`boundaries` must increase, but {high} follows {low}")

    def summarize(self, block: Block) -> np.ndarray:
        return self.of(elements(block, self.key))

    def of(self, values: np.ndarray) -> np.ndarray:
        buckets, width = len(self.boundaries) + 1, values.shape[1]
        places = np.searchsorted(np.array(self.boundaries), values, side="right") + np.arange(width) * buckets
        return np.bincount(places[~np.isnan(values)], minlength=width * buckets).reshape(width, buckets)

    def merge(self, state: np.ndarray, other: np.ndarray) -> np.ndarray:
        return state + other

    def result(self, state: np.ndarray) -> np.ndarray:
        return state
