"""How numbers vary together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, elements
from components.types import Block, UserError


@dataclass(frozen=True, eq=False)
class Joint:
    """How vectors lie, float64; NaN where no row is whole."""

    count: int  # of rows without a gap
    mean: np.ndarray  # (D,)
    covariance: np.ndarray  # (D, D), of the population


class _Products(NamedTuple):
    total: int
    mean: np.ndarray
    products: np.ndarray  # of the deviations from the mean, (D, D), summed


@dataclass(frozen=True)
class Covariance:
    """Mean and population covariance of vectors; a row with a gap is left out (Chan, Golub and LeVeque, 1983)."""

    key: Key

    def summarize(self, block: Block) -> _Products:
        return self.of(elements(block, self.key))

    def of(self, values: np.ndarray) -> _Products:
        whole = values[~np.isnan(values).any(axis=1)]
        mean = whole.sum(axis=0) / max(len(whole), 1)
        deviations = whole - mean
        return _Products(len(whole), mean, deviations.T @ deviations)

    def merge(self, state: _Products, other: _Products) -> _Products:
        total = state.total + other.total
        share = other.total / max(total, 1)
        difference = other.mean - state.mean
        products = state.products + other.products + np.outer(difference, difference) * (state.total * share)
        return _Products(total, state.mean + difference * share, products)

    def result(self, state: _Products) -> Joint:
        total = state.total or np.nan
        return Joint(state.total, state.mean * (total / total), state.products / total)


def principal(covariance: np.ndarray, components: int) -> np.ndarray:
    """Principal components, float64 (D, components): unit vectors along which the variance is largest, in that order.

    The element of each that is the farthest from 0 is positive, so that they are the same in every run.
    """
    if not 1 <= components <= len(covariance):
        raise UserError(f"`components` (={components}) must be from 1 to the {len(covariance)} elements of a row")
    _, vectors = np.linalg.eigh(covariance)  # by increasing variance
    chosen = vectors[:, ::-1][:, :components]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=0, keepdims=True), axis=0)
    return chosen * np.sign(largest)
