"""Means, standard deviations, ranges and covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.feature.statistic.elements import Key, read_elements
from components.types import Block, UserError


class OffsetScale(NamedTuple):
    """Where numbers lie and how far they spread, float64, one number per element of the last axis.

    Both are NaN for an element without numbers.

    Attributes:
        offset: mean, minimum or median.
        scale: standard deviation, range, or distance between quantiles.
    """

    offset: np.ndarray
    scale: np.ndarray


class Sums(NamedTuple):
    """The state of `Moments`: how many numbers, their mean, and the sum of their squared deviations from it."""

    total: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


class Limits(NamedTuple):
    """The state of `Extremes`: the smallest and the largest number; NaN without numbers."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Figures:
    """The result of `Summary`, one number per element of the last axis; the last four are NaN without numbers.

    Attributes:
        count: how many numbers, int64.
        missing: how many gaps, int64.
        sum: their sum.
        mean: their mean.
        variance: the variance of the population.
        minimum: the smallest.
        maximum: the largest.
    """

    count: np.ndarray
    missing: np.ndarray
    sum: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray


class _SummaryState(NamedTuple):
    sums: Sums
    limits: Limits
    missing: np.ndarray
    sum: np.ndarray


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation (Chan, Golub and LeVeque, 1983)."""

    key: Key

    def summarize(self, block: Block) -> Sums:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> Sums:
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
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> Limits:
        low = np.fmin.reduce(values, axis=0, initial=np.nan)  # ignores NaN
        return Limits(low, np.fmax.reduce(values, axis=0, initial=np.nan))

    def merge(self, state: Limits, other: Limits) -> Limits:
        return Limits(np.fmin(state.low, other.low), np.fmax(state.high, other.high))

    def result(self, state: Limits) -> OffsetScale:
        return OffsetScale(state.low, state.high - state.low)


@dataclass(frozen=True)
class Summary:
    """Count, gaps, sum, mean, variance, minimum and maximum at once."""

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

    def result(self, state: _SummaryState) -> Figures:
        mean, std = Moments(self.key).result(state.sums)
        variance = state.sums.squares / np.where(np.isnan(std), np.nan, state.sums.total)
        return Figures(state.sums.total, state.missing, state.sum, mean, variance, *state.limits)


@dataclass(frozen=True, eq=False)
class Joint:
    """The result of `Covariance`, float64; NaN without a complete row.

    Attributes:
        count: the number of rows without a gap.
        mean: (D,).
        covariance: (D, D), of the population.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray


class _Products(NamedTuple):
    """The number of rows, their mean, and the sum of the products of deviations from it, (D, D)."""

    total: int
    mean: np.ndarray
    products: np.ndarray


@dataclass(frozen=True)
class Covariance:
    """Mean and population covariance of vectors, without the rows that have a gap (Chan, Golub and LeVeque, 1983)."""

    key: Key

    def summarize(self, block: Block) -> _Products:
        return self.summarize_numbers(read_elements(block, self.key))

    def summarize_numbers(self, values: np.ndarray) -> _Products:
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
    """The unit vectors along which the variance is largest, float64 (D, components), in that order.

    The element of each that is farthest from 0 is positive, so that every run gets the same vectors.
    """
    if not 1 <= components <= len(covariance):
        raise UserError(f"`components` (={components}) must be from 1 to the {len(covariance)} elements of a row")
    _, vectors = np.linalg.eigh(covariance)  # by increasing variance
    chosen = vectors[:, ::-1][:, :components]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=0, keepdims=True), axis=0)
    return chosen * np.sign(largest)
