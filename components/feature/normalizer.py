"""Normalizers of numbers: fixed ones, and ones that are fitted to the training split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from components.feature.statistic import Distribution, Extremes, Moments, OffsetScale, Quantiles
from components.feature.statistic.elements import Key
from components.types import DataError, Range, Statistic, UserError

ROUNDING = 2.0**8 * np.finfo(np.float64).eps  # relative difference below which numbers count as equal


class FixedNormalizer(Protocol):
    """A function of numbers that isn't fitted. `xp` is the library of the arrays, NumPy or `jax.numpy`."""

    def __call__(self, values: Any, xp: Any) -> Any: ...

    def undo(self, values: Any, xp: Any) -> Any:
        """The inverse; raises UserError where there is none."""


class FittedNormalizer(Protocol):
    """(x - offset) / scale, fitted to a statistic of the training split, and fixed normalizers after it."""

    @property
    def after(self) -> tuple[FixedNormalizer, ...]:
        """The fixed normalizers that follow."""

    def statistic(self, key: Key) -> Statistic:
        """The statistic that it is fitted to."""

    def offset_scale(self, result: Any) -> OffsetScale:
        """Offset and scale, from the statistic's result.

        Raises:
            DataError: there is none; the message doesn't name the column.
        """


def is_constant(fitted: OffsetScale) -> np.ndarray:
    """Where numbers differ by no more than their rounding in float64."""
    return fitted.scale <= ROUNDING * np.abs(fitted.offset)


@dataclass(frozen=True)
class Stretch:
    """Maps the range from 0 to 1 to the one from `low` to `high`."""

    low: float
    high: float

    def __call__(self, values: Any, xp: Any) -> Any:
        return values * (self.high - self.low) + self.low

    def undo(self, values: Any, xp: Any) -> Any:
        return (values - self.low) / (self.high - self.low)


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise UserError(f"`low` (={low}) must be below `high` (={high})")


@dataclass(frozen=True, kw_only=True)
class Log:
    """log(x + offset); the sum must be above 0. For an offset of 1, `log1p` is also exact near 0.

    Attributes:
        offset: is added to each number.
    """

    offset: float = 0.0

    def __call__(self, values: Any, xp: Any) -> Any:
        return xp.log(values + self.offset)

    def undo(self, values: Any, xp: Any) -> Any:
        return xp.exp(values) - self.offset


@dataclass(frozen=True, kw_only=True)
class Log1p:
    """log(x + 1); x must be above -1."""

    def __call__(self, values: Any, xp: Any) -> Any:
        return xp.log1p(values)

    def undo(self, values: Any, xp: Any) -> Any:
        return xp.expm1(values)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The nearest number from `low` to `high`.

    Attributes:
        low: the lower bound.
        high: the upper bound.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    def __call__(self, values: Any, xp: Any) -> Any:
        return xp.clip(values, self.low, self.high)

    def undo(self, values: Any, xp: Any) -> Any:
        raise UserError("a target can't be clipped by Clip, as predictions must be mapped back; clip the data itself")


@dataclass(frozen=True, kw_only=True)
class ZScore:
    """(x - mean) / standard deviation, of the population."""

    after: ClassVar[tuple[FixedNormalizer, ...]] = ()

    def statistic(self, key: Key) -> Moments:
        return Moments(key)

    def offset_scale(self, result: OffsetScale) -> OffsetScale:
        return result


@dataclass(frozen=True, kw_only=True)
class MinMax:
    """Maps the range of the training split to the one from `low` to `high`. Other numbers are extrapolated.

    Attributes:
        low: where the smallest number goes.
        high: where the largest number goes.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    @property
    def after(self) -> tuple[FixedNormalizer, ...]:
        return () if (self.low, self.high) == (0, 1) else (Stretch(self.low, self.high),)

    def statistic(self, key: Key) -> Extremes:
        return Extremes(key)

    def offset_scale(self, result: OffsetScale) -> OffsetScale:
        return result


@dataclass(frozen=True, kw_only=True)
class Robust:
    """(x - median) / (quantile of `high` - quantile of `low`), so that outliers have little influence.

    The two quantiles must differ, unless all numbers are equal.

    Attributes:
        low: the lower probability; by default that of the first quartile.
        high: the upper probability; by default that of the third quartile.
    """

    after: ClassVar[tuple[FixedNormalizer, ...]] = ()
    low: Annotated[float, Range(0, 1)] = 0.25
    high: Annotated[float, Range(0, 1)] = 0.75

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    def statistic(self, key: Key) -> Quantiles:
        return Quantiles(key)

    def offset_scale(self, result: Distribution) -> OffsetScale:
        least, low, median, high, most = result.quantiles(np.array([0, self.low, 0.5, self.high, 1]))
        found = OffsetScale(median, high - low)
        if (level := is_constant(found) & ~is_constant(OffsetScale(median, most - least))).any():
            raise DataError(
                f"its quantiles {self.low:g} and {self.high:g} are both {low[level][0]:g}, although it isn't constant: "
                "there is nothing to divide by; choose z_score, or Robust with a lower `low` or a higher `high`"
            )
        return found


Normalizer: TypeAlias = (
    Literal["z_score", "min_max", "robust", "log", "log1p"] | ZScore | MinMax | Robust | Log | Log1p | Clip
)

NAMES: Mapping[str, FixedNormalizer | FittedNormalizer] = {
    "z_score": ZScore(),
    "min_max": MinMax(),
    "robust": Robust(),
    "log": Log(),
    "log1p": Log1p(),
}
