"""Normalizers of numbers. Some are fixed functions; others are fitted to the training split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from components.feature.statistic import Distribution, Extremes, Moments, OffsetScale, Quantiles
from components.feature.statistic.elements import Key
from components.types import DataError, Range, Statistic, UserError

RELATIVE_ROUNDING = 2 * np.finfo(np.float64).eps  # numbers with a smaller relative difference count as equal


class FixedNormalizer(Protocol):
    """A function of numbers that isn't fitted. `xp` is the library of the arrays, NumPy or `jax.numpy`."""

    def __call__(self, values: Any, xp: Any) -> Any: ...

    def undo(self, values: Any, xp: Any) -> Any:
        """The inverse function; raises UserError if there is none."""

    def undo_difference(self, difference: Any, values: Any, xp: Any) -> Any:
        """undo(values + difference) - undo(values), without the rounding error of a difference of large numbers."""


class FittableNormalizer(Protocol):
    """(x - offset) / scale, where both are fitted to a statistic of the training split; then fixed normalizers."""

    @property
    def after(self) -> tuple[FixedNormalizer, ...]:
        """The fixed normalizers that follow the division by the scale."""

    def statistic(self, key: Key) -> Statistic:
        """The statistic that it is fitted to."""

    def fit(self, result: Any) -> OffsetScale:
        """Computes offset and scale from the result of the statistic.

        Raises:
            DataError: the scale is 0. The message doesn't name the column.
        """


def is_constant(fitted: OffsetScale) -> np.ndarray:
    """Where the differences of numbers are only rounding errors in float64."""
    return fitted.scale <= RELATIVE_ROUNDING * np.abs(fitted.offset)


@dataclass(frozen=True)
class Stretch:
    """Maps the range [0, 1] to [low, high]."""

    low: float
    high: float

    def __call__(self, values: Any, xp: Any) -> Any:
        return values * (self.high - self.low) + self.low

    def undo(self, values: Any, xp: Any) -> Any:
        return (values - self.low) / (self.high - self.low)

    def undo_difference(self, difference: Any, values: Any, xp: Any) -> Any:
        return difference / (self.high - self.low)


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise UserError(f"`low` (={low}) must be below `high` (={high})")


@dataclass(frozen=True, kw_only=True)
class Log:
    """log(x + offset), where the sum must be above 0. Log1p is more precise near 0 for an offset of 1.

    Attributes:
        offset: is added to each number.
    """

    offset: float = 0.0

    def __call__(self, values: Any, xp: Any) -> Any:
        return xp.log(values + self.offset)

    def undo(self, values: Any, xp: Any) -> Any:
        return xp.exp(values) - self.offset

    def undo_difference(self, difference: Any, values: Any, xp: Any) -> Any:
        return xp.exp(values) * xp.expm1(difference)


@dataclass(frozen=True, kw_only=True)
class Log1p:
    """log(x + 1), where x must be above -1. It is precise near 0."""

    def __call__(self, values: Any, xp: Any) -> Any:
        return xp.log1p(values)

    def undo(self, values: Any, xp: Any) -> Any:
        return xp.expm1(values)

    def undo_difference(self, difference: Any, values: Any, xp: Any) -> Any:
        return xp.exp(values) * xp.expm1(difference)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Clips numbers to the range [low, high].

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
        raise UserError("Clip can't normalize a target, because predictions must be mapped back; clip the data instead")

    def undo_difference(self, difference: Any, values: Any, xp: Any) -> Any:
        return self.undo(values, xp)


@dataclass(frozen=True, kw_only=True)
class ZScore:
    """(x - mean) / standard deviation. The standard deviation is that of the population."""

    after: ClassVar[tuple[FixedNormalizer, ...]] = ()

    def statistic(self, key: Key) -> Moments:
        return Moments(key)

    def fit(self, result: OffsetScale) -> OffsetScale:
        return result


@dataclass(frozen=True, kw_only=True)
class MinMax:
    """Maps the range of the training split to [low, high]. Numbers outside of the range are extrapolated.

    Attributes:
        low: the image of the smallest number.
        high: the image of the largest number.
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

    def fit(self, result: OffsetScale) -> OffsetScale:
        return result


@dataclass(frozen=True, kw_only=True)
class Robust:
    """(x - median) / (quantile of `high` - quantile of `low`). Outliers have little influence.

    The two quantiles must differ, unless the column is constant.

    Attributes:
        low: the probability of the lower quantile; by default the first quartile.
        high: the probability of the upper quantile; by default the third quartile.
    """

    after: ClassVar[tuple[FixedNormalizer, ...]] = ()
    low: Annotated[float, Range(0, 1)] = 0.25
    high: Annotated[float, Range(0, 1)] = 0.75

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    def statistic(self, key: Key) -> Quantiles:
        return Quantiles(key)

    def fit(self, result: Distribution) -> OffsetScale:
        minimum, low, median, high, maximum = result.quantiles(np.array([0, self.low, 0.5, self.high, 1]))
        fitted = OffsetScale(median, high - low)
        has_no_scale = is_constant(fitted) & ~is_constant(OffsetScale(median, maximum - minimum))
        if has_no_scale.any():
            raise DataError(
                f"its quantiles {self.low:g} and {self.high:g} are both {low[has_no_scale][0]:g}, so their difference "
                "can't be the scale; choose z_score, or Robust with a lower `low` or a higher `high`"
            )
        return fitted


Normalizer: TypeAlias = (
    Literal["z_score", "min_max", "robust", "log", "log1p"] | ZScore | MinMax | Robust | Log | Log1p | Clip
)

NORMALIZERS: Mapping[str, FixedNormalizer | FittableNormalizer] = {
    "z_score": ZScore(),
    "min_max": MinMax(),
    "robust": Robust(),
    "log": Log(),
    "log1p": Log1p(),
}
