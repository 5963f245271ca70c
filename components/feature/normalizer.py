"""Normalizers of numbers: steps that are fixed, and steps that learn two numbers of each element from the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from components.feature.statistic import Distribution, Extremes, Moments, OffsetScale, Quantiles
from components.feature.statistic.elements import Key
from components.types import DataError, Range, Statistic, UserError

ROUNDING = 2.0**8 * np.finfo(np.float64).eps  # what equal numbers may seem to differ by, as a share of them


class FixedNormalizer(Protocol):
    """A function of numbers that learns nothing; `xp` is the library of the arrays, NumPy or `jax.numpy`."""

    def __call__(self, values: Any, xp: Any) -> Any: ...

    def undo(self, values: Any, xp: Any) -> Any:
        """The inverse; raises UserError where there is none."""


class FittedNormalizer(Protocol):
    """Numbers are shifted and divided by what a statistic says, and go through a few fixed steps then."""

    @property
    def after(self) -> tuple[FixedNormalizer, ...]: ...

    def statistic(self, key: Key) -> Statistic: ...

    def offset_scale(self, result: Any) -> OffsetScale:
        """What is subtracted, and what divided by then; raises DataError, without the column, if there is none."""


def is_constant(offset_scale: OffsetScale) -> np.ndarray:
    """Where numbers differ by no more than their rounding in float64."""
    return offset_scale.width <= ROUNDING * np.abs(offset_scale.offset)


@dataclass(frozen=True)
class Stretch:
    """The numbers from 0 to 1 as those from `low` to `high`."""

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
    """log(x + offset); the sum must be above 0. For an offset of 1, `log1p` is exact near 0 too."""

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
    """The nearest number from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    def __call__(self, values: Any, xp: Any) -> Any:
        return xp.clip(values, self.low, self.high)

    def undo(self, values: Any, xp: Any) -> Any:
        raise UserError("a target can't be clipped by Clip, as its numbers must be given back; clip the data itself")


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
    """The range that was learned, to the one from `low` to `high`; what lies beyond goes on beyond."""

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
    """(x - median) / (quantile of `high` - quantile of `low`), by default the quartiles: outliers count for little.

    The two must differ, unless all numbers are equal.
    """

    after: ClassVar[tuple[FixedNormalizer, ...]] = ()
    low: Annotated[float, Range(0, 1)] = 0.25
    high: Annotated[float, Range(0, 1)] = 0.75

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    def statistic(self, key: Key) -> Quantiles:
        return Quantiles(key)

    def offset_scale(self, result: Distribution) -> OffsetScale:
        least, low, median, high, most = result.at(np.array([0, self.low, 0.5, self.high, 1]))
        found = OffsetScale(median, high - low)
        if (level := is_constant(found) & ~is_constant(OffsetScale(median, most - least))).any():
            raise DataError(
                f"its quantiles {self.low:g} and {self.high:g} are both {low[level][0]:g}, and yet it isn't constant: "
                "nothing to divide by; choose z_score, or Robust with a lower `low` or a higher `high`"
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
