"""Statistics of numbers: means, standard deviations, ranges and covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, UserError


class OffsetScale(NamedTuple):
    """Location and spread of numbers, float64, one number per element of the last axis; NaN without numbers.

    Attributes:
        offset: mean, minimum or median.
        scale: standard deviation, range, or distance between quantiles.
    """

    offset: np.ndarray
    scale: np.ndarray


class MomentSums(NamedTuple):
    """The state of `Moments`: the number of values, their mean, and the sum of the squared deviations from the mean."""

    total: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


class Limits(NamedTuple):
    """The state of `Extremes`: the smallest and the largest number; NaN without numbers."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class SummaryResult:
    """The result of `Summary`, with one number per element of the last axis.

    Attributes:
        count: the number of values that aren't missing, int64.
        missing: the number of missing values, int64.
        sum: the sum.
        mean: the mean; NaN without values, like all that follow.
        variance: the variance of the population.
        minimum: the smallest value.
        maximum: the largest value.
    """

    count: np.ndarray
    missing: np.ndarray
    sum: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray


class _SummaryState(NamedTuple):
    sums: MomentSums
    limits: Limits
    missing: np.ndarray
    sum: np.ndarray


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation.

    Each block's deviations are from its own mean. This is numerically stable far from 0, unlike sums of squares.

    References:
        Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, 1983.
    """

    key: Key

    def summarize(self, block: Block) -> MomentSums:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> MomentSums:
        is_missing = np.isnan(values)
        if len(values) and not is_missing.any():
            mean = values.mean(axis=0)
            return MomentSums(np.full(mean.shape, len(values)), mean, np.square(values - mean).sum(axis=0))
        total = len(values) - is_missing.sum(axis=0)
        mean = np.where(is_missing, 0, values).sum(axis=0) / np.maximum(total, 1)
        return MomentSums(total, mean, np.square(np.where(is_missing, 0, values - mean)).sum(axis=0))

    def merge(self, state: MomentSums, other: MomentSums) -> MomentSums:
        total = state.total + other.total
        share = other.total / np.maximum(total, 1)
        difference = other.mean - state.mean
        squares = state.squares + other.squares + np.square(difference) * (state.total * share)
        return MomentSums(total, state.mean + difference * share, squares)

    def result(self, state: MomentSums) -> OffsetScale:
        total = np.where(state.total, state.total, np.nan)
        return OffsetScale(np.where(state.total, state.mean, np.nan), np.sqrt(state.squares / total))


@dataclass(frozen=True)
class Extremes:
    """The smallest number, and the range: the distance to the largest number."""

    key: Key

    def summarize(self, block: Block) -> Limits:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> Limits:
        low = np.fmin.reduce(values, axis=0, initial=np.nan)  # fmin and fmax ignore NaN
        return Limits(low, np.fmax.reduce(values, axis=0, initial=np.nan))

    def merge(self, state: Limits, other: Limits) -> Limits:
        return Limits(np.fmin(state.low, other.low), np.fmax(state.high, other.high))

    def result(self, state: Limits) -> OffsetScale:
        return OffsetScale(state.low, state.high - state.low)


@dataclass(frozen=True)
class Summary:
    """Count, number of missing values, sum, mean, variance, minimum and maximum."""

    key: Key

    def summarize(self, block: Block) -> _SummaryState:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> _SummaryState:
        sums = Moments(self.key).summarize_numbers(values)
        limits = Extremes(self.key).summarize_numbers(values)
        return _SummaryState(sums, limits, len(values) - sums.total, np.nansum(values, axis=0))

    def merge(self, state: _SummaryState, other: _SummaryState) -> _SummaryState:
        sums = Moments(self.key).merge(state.sums, other.sums)
        limits = Extremes(self.key).merge(state.limits, other.limits)
        return _SummaryState(sums, limits, state.missing + other.missing, state.sum + other.sum)

    def result(self, state: _SummaryState) -> SummaryResult:
        mean, std = Moments(self.key).result(state.sums)
        variance = state.sums.squares / np.where(np.isnan(std), np.nan, state.sums.total)
        return SummaryResult(state.sums.total, state.missing, state.sum, mean, variance, *state.limits)


@dataclass(frozen=True, eq=False)
class CovarianceResult:
    """The result of `Covariance`, float64. Mean and covariance are NaN if no row is complete.

    Attributes:
        count: the number of rows without missing values.
        mean: (D,).
        covariance: (D, D), of the population.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray


class _Products(NamedTuple):
    """The state of `Covariance`: the number of rows, their mean, and the sum of the outer products of deviations."""

    total: int
    mean: np.ndarray
    products: np.ndarray


@dataclass(frozen=True)
class Covariance:
    """Mean and population covariance of vectors. Rows with missing values are left out. Merged as `Moments`."""

    key: Key

    def summarize(self, block: Block) -> _Products:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> _Products:
        complete = values[~np.isnan(values).any(axis=1)]
        mean = complete.sum(axis=0) / max(len(complete), 1)
        deviations = complete - mean
        return _Products(len(complete), mean, deviations.T @ deviations)

    def merge(self, state: _Products, other: _Products) -> _Products:
        total = state.total + other.total
        share = other.total / max(total, 1)
        difference = other.mean - state.mean
        products = state.products + other.products + np.outer(difference, difference) * (state.total * share)
        return _Products(total, state.mean + difference * share, products)

    def result(self, state: _Products) -> CovarianceResult:
        total = state.total or np.nan
        return CovarianceResult(state.total, state.mean * (total / total), state.products / total)


def find_principal_components(covariance: np.ndarray, components: int) -> np.ndarray:
    """The principal directions, in descending order of variance: unit vectors as columns, float64 (D, components).

    The sign of an eigenvector is arbitrary. To make it reproducible, its element with the largest absolute value is
    positive.
    """
    if not 1 <= components <= len(covariance):
        raise UserError(f"`components` (={components}) must be from 1 to {len(covariance)}, the elements of a row")
    _, vectors = np.linalg.eigh(covariance)  # in ascending order of variance
    chosen = vectors[:, ::-1][:, :components]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=0, keepdims=True), axis=0)
    return chosen * np.sign(largest)
