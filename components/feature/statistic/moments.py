"""Statistics of numbers: means, standard deviations, ranges and covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, UserError

EXPONENT_STEP = 256  # exponents of deviations are multiples, so that those of usual numbers are 0
SIGN_ROUNDING = 1e-6  # elements of unit vectors with a smaller relative difference count as equal
FAR_STDS = 1e4  # a mean of more standard deviations is far from 0
SQUARES_LOW, SQUARES_HIGH = 2.0**-512, 2.0**512  # sums of squares between them are computed without an exponent


class OffsetScale(NamedTuple):
    """Location and spread of numbers, float64, one number per element of the last axis; NaN without numbers.

    Attributes:
        offset: mean, minimum or median.
        scale: standard deviation, range, or distance between quantiles.
    """

    offset: np.ndarray
    scale: np.ndarray


class MomentSums(NamedTuple):
    """The state of `Moments`, with one number per element of the last axis.

    Attributes:
        total: the number of values.
        mean: their mean.
        squares: the sum of the squared deviations from the mean, each divided by 2^exponent before it is squared.
        exponent: 0 for usual numbers. Squares of 1e-170 and 1e170 would exceed the range of float64.
    """

    total: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    exponent: np.ndarray


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
        total = len(values) - is_missing.sum(axis=0)
        mask = is_missing if is_missing.any() else None
        mean = _compute_mean(values, total, mask)
        sums = self._sum_squares(values, total, mean, mask)
        if _is_far(mean, sums.squares, sums.exponent, total).any():
            mean = mean + _compute_mean(_subtract(values, mean, mask), total)
            low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
            mean = np.where(low == high, low, mean)  # so that the deviations of equal numbers are exactly 0
            sums = self._sum_squares(values, total, mean, mask)
        return sums

    def _sum_squares(
        self, values: np.ndarray, total: np.ndarray, mean: np.ndarray, is_missing: np.ndarray | None
    ) -> MomentSums:
        deviations = _subtract(values, mean, is_missing)
        with np.errstate(over="ignore"):
            squares = np.square(deviations).sum(axis=0)
        exponent = np.zeros(squares.shape, np.int64)
        if not _is_in_range(squares):
            exponent = _round_exponent(np.abs(deviations).max(axis=0, initial=0))
            squares = np.square(np.ldexp(deviations, -exponent)).sum(axis=0)
        return MomentSums(total, mean, squares, exponent)

    def merge(self, state: MomentSums, other: MomentSums) -> MomentSums:
        total = state.total + other.total
        share = other.total / np.maximum(total, 1)
        difference = np.where((state.total > 0) & (other.total > 0), other.mean - state.mean, 0)
        exponent = np.maximum(np.maximum(state.exponent, other.exponent), _round_exponent(np.abs(difference)))
        own, others = (np.ldexp(each.squares, 2 * (each.exponent - exponent)) for each in (state, other))
        squares = own + others + np.square(np.ldexp(difference, -exponent)) * (state.total * share)
        return MomentSums(total, state.mean + (other.mean - state.mean) * share, squares, exponent)

    def result(self, state: MomentSums) -> OffsetScale:
        total = np.where(state.total, state.total, np.nan)
        std = np.ldexp(np.sqrt(state.squares / total), state.exponent)
        return OffsetScale(np.where(state.total, state.mean, np.nan), std)


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
        total = np.where(np.isnan(std), np.nan, state.sums.total)
        with np.errstate(over="ignore"):
            variance = np.ldexp(state.sums.squares / total, 2 * state.sums.exponent)
        return SummaryResult(state.sums.total, state.missing, state.sum, mean, variance, *state.limits)


@dataclass(frozen=True, eq=False)
class CovarianceResult:
    """The result of `Covariance`, float64. Mean and covariance are NaN if no row is complete.

    Attributes:
        count: the number of rows without missing values.
        mean: (D,).
        covariance: (D, D), of the population, divided by 4^exponent.
        exponent: 0 for usual numbers, whose covariance is within the range of float64.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    exponent: int = 0


class _Products(NamedTuple):
    """The state of `Covariance`.

    Attributes:
        total: the number of rows.
        mean: their mean, (D,).
        products: the sum of the outer products of deviations, each divided by 2^exponent, (D, D).
        exponent: that of the largest deviation, as in `MomentSums`.
    """

    total: int
    mean: np.ndarray
    products: np.ndarray
    exponent: int


@dataclass(frozen=True)
class Covariance:
    """Mean and population covariance of vectors. Rows with missing values are left out. Merged as `Moments`."""

    key: Key

    def summarize(self, block: Block) -> _Products:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> _Products:
        complete = values[~np.isnan(values).any(axis=1)]
        mean = _compute_mean(complete, len(complete))
        sums = self._sum_products(complete, mean)
        if _is_far(mean, np.diag(sums.products), sums.exponent, len(complete)).any():
            mean = mean + _compute_mean(complete - mean, len(complete))
            sums = self._sum_products(complete, mean)
        return sums

    def _sum_products(self, complete: np.ndarray, mean: np.ndarray) -> _Products:
        deviations, exponent = complete - mean, 0
        with np.errstate(over="ignore", invalid="ignore"):
            products = deviations.T @ deviations
        if not _is_in_range(np.diag(products)):
            exponent = int(_round_exponent(np.abs(deviations).max(initial=0)))
            deviations = np.ldexp(deviations, -exponent)
            products = deviations.T @ deviations
        return _Products(len(complete), mean, products, exponent)

    def merge(self, state: _Products, other: _Products) -> _Products:
        total = state.total + other.total
        share = other.total / max(total, 1)
        difference = other.mean - state.mean
        size = np.abs(difference).max() if state.total and other.total else np.zeros(())
        exponent = max(state.exponent, other.exponent, int(_round_exponent(size)))
        own, others = (np.ldexp(each.products, 2 * (each.exponent - exponent)) for each in (state, other))
        scaled = np.ldexp(difference, -exponent) if state.total and other.total else difference
        products = own + others + np.outer(scaled, scaled) * (state.total * share)
        return _Products(total, state.mean + difference * share, products, exponent)

    def result(self, state: _Products) -> CovarianceResult:
        total = state.total or np.nan
        # Numbers that don't vary have the lowest exponent, and a covariance of 0 with any exponent.
        exponent = state.exponent if state.products.any() else 0
        return CovarianceResult(state.total, state.mean * (total / total), state.products / total, exponent)


def _compute_mean(values: np.ndarray, total: Any, is_missing: np.ndarray | None = None) -> np.ndarray:
    """The mean of values (rows, D). `total` is the number of those that aren't missing; None: no value is missing."""
    count = np.maximum(total, 1)
    present = values if is_missing is None else np.where(is_missing, 0, values)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = present.sum(axis=0) / count
    if np.isfinite(mean).all():
        return mean
    return (present / len(values)).sum(axis=0) * (len(values) / count)  # the sum exceeds the range of float64


def _subtract(values: np.ndarray, mean: np.ndarray, is_missing: np.ndarray | None) -> np.ndarray:
    """The deviations of values (rows, D) from their mean; 0 where a value is missing."""
    deviations = values - mean
    if is_missing is not None:
        deviations[is_missing] = 0
    return deviations


def _is_in_range(squares: np.ndarray) -> bool:
    """Whether sums of squares are precise without an exponent."""
    return bool(((squares > SQUARES_LOW) & (squares < SQUARES_HIGH)).all())


def _is_far(mean: np.ndarray, squares: np.ndarray, exponent: Any, total: Any) -> np.ndarray:
    """Where a mean is so far from 0 that its rounding error matters for the deviations.

    NumPy adds the rows of vectors one after another. The error of a mean is the mean deviation from it.
    """
    return np.abs(mean) / FAR_STDS > np.ldexp(np.sqrt(squares / np.maximum(total, 1)), exponent)


def _round_exponent(size: np.ndarray) -> np.ndarray:
    """A power of 2 near each size, as an exponent: 0 from about 2^-128 to 2^128; the lowest one for the size 0."""
    _, bits = np.frexp(size)
    rounded = EXPONENT_STEP * np.round(bits / EXPONENT_STEP).astype(np.int64)
    return np.where(size > 0, rounded, -5 * EXPONENT_STEP)


def find_principal_components(covariance: np.ndarray, components: int) -> np.ndarray:
    """The principal directions, in descending order of variance: unit vectors as columns, float64 (D, components).

    The sign of an eigenvector is arbitrary. To make it reproducible, its element with the largest absolute value is
    positive; of several that differ by rounding only, as for two standardized columns, the first one.
    """
    if not 1 <= components <= len(covariance):
        raise UserError(f"`components` (={components}) must be from 1 to {len(covariance)}, the elements of a row")
    _, vectors = np.linalg.eigh(covariance)  # in ascending order of variance
    chosen = vectors[:, ::-1][:, :components]
    sizes = np.abs(chosen)
    is_largest = sizes > (1 - SIGN_ROUNDING) * sizes.max(axis=0)
    largest = np.take_along_axis(chosen, is_largest.argmax(axis=0, keepdims=True), axis=0)
    return chosen * np.sign(largest)
