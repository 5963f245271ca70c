"""What a column of numbers learns: where they lie, how wide they spread, and what stands for a gap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from components.feature.normalizer import is_constant
from components.feature.number import scaling
from components.feature.number.expression import Expression
from components.feature.number.numbers import Numbers
from components.feature.number.pipeline import Pipeline
from components.feature.statistic import ByKey, Extremes, Moments, OffsetScale, Quantiles
from components.types import DataError, Statistic

Missing = float | Literal["mean", "median"] | None


@dataclass(frozen=True)
class NumericFit:
    """What is learned of one column, or expression.

    Attributes:
        numbers: those that the chain's learned step learns from.
        chain: its steps.
        missing: what is to stand for a gap.
        per: a column of classes, for each of which the chain's step learns by itself.
        size: the numbers of a row. None: to be learned too.
    """

    numbers: Numbers
    pipeline: Pipeline
    missing: Missing = None
    per: str | None = None
    size: int | None = None

    def statistics(self) -> dict[str, Statistic]:
        found: dict[str, Any] = {}
        if self.pipeline.fitted is not None:
            found["offset_scale"] = self.pipeline.fitted.statistic(self.numbers.key)
        elif self.size is None:
            found["offset_scale"] = Extremes(self.numbers.key)
        if self.per is not None:
            found["per"] = ByKey(found["offset_scale"], self.per)
        if isinstance(self.missing, str):
            found["missing"] = (Moments if self.missing == "mean" else Quantiles)(self.numbers.unchanged.key)
        return found

    def offset_scale(self, results: Mapping[str, Any]) -> OffsetScale:
        """(D,) each, zeros where there is nothing to learn; with `per` (1 + classes, D), that of all rows first."""
        if "offset_scale" not in results:
            return OffsetScale(np.zeros(self.size or 1), np.zeros(self.size or 1))
        found = results["offset_scale"] if self.pipeline.fitted is None else self._learned(results["offset_scale"])
        if np.isnan(found.offset).any():
            raise DataError(
                f"{self.numbers} has no value in any row that is learned from: leave it out, or mend the data"
            )
        if self.pipeline.fitted is None:
            return OffsetScale(np.zeros_like(found.offset), np.zeros_like(found.width))
        if self.per is None:
            return found
        each = [self._learned(one, f" of class {value!r}") for value, one in results["per"].items()]
        # A class all of whose numbers are missing has nothing of its own.
        each = [OffsetScale(*np.where(np.isnan(one.offset), found, one)) for one in each]
        return OffsetScale(*np.stack([found, *each], axis=1))

    def filler(self, results: Mapping[str, Any], outputs: int) -> np.ndarray:
        """What stands for a gap, (outputs,)."""
        if self.missing == "mean":
            return results["missing"].offset
        if self.missing == "median":
            return results["missing"].at(np.array([0.5]))[0]
        return np.full(outputs, self.missing)

    def _learned(self, result: Any, of_class: str = "") -> OffsetScale:
        """What the learned step makes of its statistic's result."""
        assert self.pipeline.fitted is not None
        try:
            found = self.pipeline.fitted.offset_scale(result)
        except DataError as error:
            raise DataError(f"{self.numbers}{of_class}: {error}") from error
        ends = np.stack([found.offset - found.width, found.offset + found.width])
        for place, (low, high) in enumerate([*self.pipeline.before_each(ends), ends]):
            stage = OffsetScale(low / 2 + high / 2, high / 2 - low / 2)
            if (blurred := scaling.is_blurred(stage) & ~is_constant(found)).any():
                centre, width = (float(one[blurred][0]) for one in stage)
                raise DataError(self._blurred(of_class, centre, width, made=place > 0))
        return found

    def _blurred(self, of_class: str, centre: float, width: float, *, made: bool) -> str:
        """That float32 blurs numbers: those in the data, or what steps of the chain have made of them."""
        if made:
            what, remedy = f"what `normalize` makes of {self.numbers}", "leave out a step, or choose another"
        else:
            what, (centre, width) = str(self.numbers), (one / self.numbers.factor for one in (centre, width))
            remedy = f"normalize the difference: {_difference(self.numbers.source, centre, width)}"
        step = np.spacing(np.float32(abs(centre)))
        return (
            f"{what}{of_class} lies about {centre:.10g}, give or take {width:.3g}, where float32, in which it is "
            f"normalized, has steps of {step:.3g}; {'leave out `per`' if of_class else remedy}"
        )


def _difference(source: str | Expression, centre: float, width: float) -> str:
    """Arithmetic, which is in float64, that moves numbers near 0."""
    shift = round(centre, -math.ceil(math.log10(width)))
    name = source if isinstance(source, str) else f"({source.text})"
    name = name if name.isidentifier() or isinstance(source, Expression) else f"`{name}`"
    return f'`expression: "{name} {"-" if shift > 0 else "+"} {abs(shift):.15g}"`'
