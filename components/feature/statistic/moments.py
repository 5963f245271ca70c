"""Where numbers lie, and how wide they spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, UserError


class OffsetScale(NamedTuple):
    """Where numbers lie and how wide they spread, float64, an element of the last axis each; NaN where all are gaps."""

    offset: np.ndarray
    width: np.ndarray


class Sums(NamedTuple):
    """How many numbers, their mean, and the sum of their squared deviations from it."""

    total: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


class Limits(NamedTuple):
    """The smallest and the largest number, NaN before there is one."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Figures:
    """What is commonly asked of numbers, an element of the last axis each; NaN for the last four where all are gaps."""

    count: np.ndarray  # of numbers, int64
    missing: np.ndarray  # gaps, int64
    sum: np.ndarray
    mean: np.ndarray
    variance: np.ndarray  # of the population
    minimum: np.ndarray
    maximum: np.ndarray


class _Seen(NamedTuple):
    sums: Sums
    limits: Limits
    missing: np.ndarray
    sum: np.ndarray


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation (Chan, Golub and LeVeque, 1983)."""

    key: Key

    def summarize(self, block: Block) -> Sums:
        return self.of(read_elements(block, self.key))

    def of(self, values: np.ndarray) -> Sums:
        gaps = np.isnan(values)
        if len(values) and not gaps.any():
            mean = values.mean(axis=0)
            return Sums(np.full(mean.shape, len(values)), mean, np.square(values - mean).sum(axis=0))
        total = len(values) - gaps.sum(axis=0)
        mean = np.where(gaps, 0, values).sum(axis=0) / np.maximum(total, 1)
        return Sums(total, mean, np.square(np.where(gaps, 0, values - mean)).sum(axis=0))

    def merge(self, state: Sums, other: Sums) -> Sums:
        total = state.total + other.total
        share = other.total / np.maximum(total, 1)
        difference = other.mean - state.mean
        squares = state.squares + other.squares + np.square(difference) * (state.total * share)
        return Sums(total, state.mean + difference * share, squares)

    def result(self, state: Sums) -> OffsetScale:
        total = np.where(state.total, state.total, np.nan)
        return OffsetScale(np.where(state.total, state.mean, np.nan), np.sqrt(state.squares / total))


@dataclass(frozen=True)
class Extremes:
    """The smallest number, and the distance from it to the largest."""

    key: Key

    def summarize(self, block: Block) -> Limits:
        return self.of(read_elements(block, self.key))

    def of(self, values: np.ndarray) -> Limits:
        low = np.fmin.reduce(values, axis=0, initial=np.nan)  # NaN is passed over
        return Limits(low, np.fmax.reduce(values, axis=0, initial=np.nan))

    def merge(self, state: Limits, other: Limits) -> Limits:
        return Limits(np.fmin(state.low, other.low), np.fmax(state.high, other.high))

    def result(self, state: Limits) -> OffsetScale:
        return OffsetScale(state.low, state.high - state.low)


@dataclass(frozen=True)
class Summary:
    """Count, gaps, sum, mean, variance, minimum and maximum at once."""

    key: Key

    def summarize(self, block: Block) -> _Seen:
        return self.of(read_elements(block, self.key))

    def of(self, values: np.ndarray) -> _Seen:
        sums = Moments(self.key).of(values)
        return _Seen(sums, Extremes(self.key).of(values), len(values) - sums.total, np.nansum(values, axis=0))

    def merge(self, state: _Seen, other: _Seen) -> _Seen:
        sums = Moments(self.key).merge(state.sums, other.sums)
        limits = Extremes(self.key).merge(state.limits, other.limits)
        return _Seen(sums, limits, state.missing + other.missing, state.sum + other.sum)

    def result(self, state: _Seen) -> Figures:
        mean, deviation = Moments(self.key).result(state.sums)
        variance = state.sums.squares / np.where(np.isnan(deviation), np.nan, state.sums.total)
        return Figures(state.sums.total, state.missing, state.sum, mean, variance, *state.limits)


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
        return self.of(read_elements(block, self.key))

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


def find_principal_components(covariance: np.ndarray, components: int) -> np.ndarray:
    """Principal components, float64 (D, components): unit vectors along which the variance is largest, in that order.

    The element of each that is the farthest from 0 is positive, so that they are the same in every run.
    """
    if not 1 <= components <= len(covariance):
        raise UserError(f"`components` (={components}) must be from 1 to the {len(covariance)} elements of a row")
    _, vectors = np.linalg.eigh(covariance)  # by increasing variance
    chosen = vectors[:, ::-1][:, :components]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=0, keepdims=True), axis=0)
    return chosen * np.sign(largest)
