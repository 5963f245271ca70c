"""What a column of numbers learns: offset, scale, and what replaces missing numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from components.feature.normalizer import is_constant
from components.feature.number import scaling
from components.feature.number.expression import Expression
from components.feature.number.numbers import Numbers
from components.feature.number.pipeline import Pipeline
from components.feature.statistic import ByKey, Extremes, Moments, OffsetScale, Quantiles
from components.types import DataError, Statistic

Missing: TypeAlias = float | Literal["mean", "median"] | None


@dataclass(frozen=True)
class NumericFit:
    """What is fitted to one column, or expression.

    Attributes:
        numbers: the numbers that the fitted normalizer of the pipeline gets.
        pipeline: the normalizers.
        missing: what replaces missing numbers. None: nothing does.
        per: a column of classes; the normalizer is fitted to each class on its own. None: to all rows.
        size: how many numbers a row has. None: this is learned, too.
    """

    numbers: Numbers
    pipeline: Pipeline
    missing: Missing = None
    per: str | None = None
    size: int | None = None

    def statistics(self) -> dict[str, Statistic]:
        """The statistics that the fit needs."""
        found: dict[str, Any] = {}
        if self.pipeline.fitted is not None:
            found["offset_scale"] = self.pipeline.fitted.statistic(self.numbers.key)
        elif self.size is None:
            found["offset_scale"] = Extremes(self.numbers.key)
        if self.per is not None:
            found["per"] = ByKey(found["offset_scale"], self.per)
        if isinstance(self.missing, str):
            found["missing"] = (Moments if self.missing == "mean" else Quantiles)(self.numbers.without_steps.key)
        return found

    def fit_scale(self, results: Mapping[str, Any]) -> OffsetScale:
        """Offset and scale, (D,) each; zeros without a fitted normalizer.

        With `per` they are (1 + classes, D): those of all rows, then those of each class.
        """
        if "offset_scale" not in results:
            return OffsetScale(np.zeros(self.size or 1), np.zeros(self.size or 1))
        found = results["offset_scale"] if self.pipeline.fitted is None else self._fit(results["offset_scale"])
        if np.isnan(found.offset).any():
            raise DataError(f"{self.numbers} has no value in any row of the training split; leave it out")
        if self.pipeline.fitted is None:
            return OffsetScale(np.zeros_like(found.offset), np.zeros_like(found.scale))
        if self.per is None:
            return found
        each = [self._fit(one, f" of class {value!r}") for value, one in results["per"].items()]
        # A class whose numbers are all missing gets what all rows have.
        each = [OffsetScale(*np.where(np.isnan(one.offset), found, one)) for one in each]
        return OffsetScale(*np.stack([found, *each], axis=1))

    def fit_filler(self, results: Mapping[str, Any], outputs: int) -> np.ndarray:
        """What replaces missing numbers, (outputs,)."""
        if self.missing == "mean":
            return results["missing"].offset
        if self.missing == "median":
            return results["missing"].quantiles(np.array([0.5]))[0]
        return np.full(outputs, self.missing)

    def _fit(self, result: Any, of_class: str = "") -> OffsetScale:
        """Offset and scale of the fitted normalizer; raises DataError where float32 would blur the numbers."""
        assert self.pipeline.fitted is not None
        try:
            found = self.pipeline.fitted.offset_scale(result)
        except DataError as error:
            raise DataError(f"{self.numbers}{of_class}: {error}") from error
        ends = np.stack([found.offset - found.scale, found.offset + found.scale])
        for place, (low, high) in enumerate([*self.pipeline.undo_each(ends), ends]):
            stage = OffsetScale(low / 2 + high / 2, high / 2 - low / 2)
            if (blurred := scaling.is_blurred(stage) & ~is_constant(found)).any():
                centre, width = (float(one[blurred][0]) for one in stage)
                raise DataError(self._describe_blur(of_class, centre, width, made=place > 0))
        return found

    def _describe_blur(self, of_class: str, centre: float, width: float, *, made: bool) -> str:
        """That float32 blurs the numbers in the data, or those `made` of them by normalizers."""
        if made:
            what, remedy = f"what `normalize` makes of {self.numbers}", "leave out a step, or choose another"
        else:
            what, (centre, width) = str(self.numbers), (one / self.numbers.factor for one in (centre, width))
            remedy = f"subtract a constant first: {_subtract(self.numbers.source, centre, width)}"
        spacing = np.spacing(np.float32(abs(centre)))
        return (
            f"{what}{of_class} ({centre:.10g} ± {width:.3g}) would lose precision in float32, whose spacing there is "
            f"{spacing:.3g}; {'leave out `per`' if of_class else remedy}"
        )


def _subtract(source: str | Expression, centre: float, width: float) -> str:
    """An expression, which is computed in float64, that moves the numbers near 0."""
    shift = round(centre, -math.ceil(math.log10(width)))
    name = source if isinstance(source, str) else f"({source.text})"
    name = name if name.isidentifier() or isinstance(source, Expression) else f"`{name}`"
    return f'`expression: "{name} {"-" if shift > 0 else "+"} {abs(shift):.15g}"`'
