"""Fits a column of numbers to the training split: offset, scale, and the replacement of missing numbers."""

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
from components.feature.statistic import ByClass, Extremes, Moments, OffsetScale, Quantiles
from components.types import DataError, Statistic

Missing: TypeAlias = float | Literal["mean", "median"] | None


@dataclass(frozen=True)
class NumericFit:
    """The fit of one column, or of one expression.

    Attributes:
        numbers: reads the numbers that the fittable normalizer of the pipeline gets.
        pipeline: the normalizers.
        missing: the replacement of missing numbers. None: they aren't replaced.
        per: a column of classes. The normalizer is fitted to each class separately. None: it is fitted to all rows.
        size: the number of elements of a row. None: it is inferred from the training split.
    """

    numbers: Numbers
    pipeline: Pipeline
    missing: Missing = None
    per: str | None = None
    size: int | None = None

    def statistics(self) -> dict[str, Statistic]:
        """The statistics that the fit needs, by name."""
        statistics: dict[str, Any] = {}
        if self.pipeline.fittable is not None:
            statistics["offset_scale"] = self.pipeline.fittable.statistic(self.numbers.key)
        elif self.size is None:  # only to count the elements, and to find columns without any value
            statistics["offset_scale"] = Extremes(self.numbers.key)
        if self.per is not None:
            statistics["per"] = ByClass(statistics["offset_scale"], self.per)
        if isinstance(self.missing, str):
            statistic = Moments if self.missing == "mean" else Quantiles
            statistics["missing"] = statistic(self.numbers.without_transform.key)  # in the unit of the data
        return statistics

    def fit_scale(self, results: Mapping[str, Any]) -> OffsetScale:
        """Computes offset and scale, (D,) each.

        With `per` they have the shape (1 + classes, D): the first row is that of all classes together. If no normalizer
        is fittable, both are 0, and `make_constants` replaces the scale by another divisor.
        """
        if "offset_scale" not in results:
            return OffsetScale(np.zeros(self.size or 1), np.zeros(self.size or 1))
        is_fixed = self.pipeline.fittable is None
        overall = results["offset_scale"] if is_fixed else self._fit(results["offset_scale"])
        if np.isnan(overall.offset).any():
            raise DataError(f"{self.numbers} has no value in any row of the training split; remove the column")
        if is_fixed:
            return OffsetScale(np.zeros_like(overall.offset), np.zeros_like(overall.scale))
        if self.per is None:
            return overall
        rows = [overall]
        for value, result in results["per"].items():
            fitted = self._fit(result, f" of class {value!r}")
            is_missing = np.isnan(fitted.offset)  # no row of the class has a number
            offset = np.where(is_missing, overall.offset, fitted.offset)
            rows.append(OffsetScale(offset, np.where(is_missing, overall.scale, fitted.scale)))
        return OffsetScale(np.stack([row.offset for row in rows]), np.stack([row.scale for row in rows]))

    def fit_filler(self, results: Mapping[str, Any], outputs: int) -> np.ndarray:
        """Computes the replacement of missing numbers, (outputs,)."""
        if self.missing == "mean":
            return results["missing"].offset  # the mean
        if self.missing == "median":
            return results["missing"].quantiles(np.array([0.5]))[0]
        return np.full(outputs, self.missing)

    def _fit(self, result: Any, of_class: str = "") -> OffsetScale:
        """Fits the fittable normalizer; raises DataError if float32 is too coarse."""
        assert self.pipeline.fittable is not None
        try:
            fitted = self.pipeline.fittable.fit(result)
        except DataError as error:
            raise DataError(f"{self.numbers}{of_class}: {error}") from error
        # The device computes each step in float32, so the numbers are checked in the data and after each step.
        bounds = np.stack([fitted.offset - fitted.scale, fitted.offset + fitted.scale])
        for steps, (low, high) in enumerate([*self.pipeline.undo_each(bounds), bounds]):  # after 0, 1, … steps
            spread = OffsetScale(low / 2 + high / 2, high / 2 - low / 2)
            is_imprecise = scaling.exceeds_float32_precision(spread) & ~is_constant(fitted)
            if is_imprecise.any():
                centre, width = float(spread.offset[is_imprecise][0]), float(spread.scale[is_imprecise][0])
                raise DataError(self._describe_precision_loss(of_class, centre, width, after_step=steps > 0))
        return fitted

    def _describe_precision_loss(self, of_class: str, centre: float, width: float, *, after_step: bool) -> str:
        """Describes that float32 is too coarse for the numbers in the data, or for those after a step."""
        if after_step:
            subject, remedy = (
                f"{self.numbers}{of_class} after a step of `normalize`",
                "leave out a step, or choose another",
            )
        else:
            centre, width = centre / self.numbers.factor, width / self.numbers.factor
            subject = f"{self.numbers}{of_class}"
            remedy = f"subtract a constant first: {_format_subtraction(self.numbers.source, centre, width)}"
        spacing = np.spacing(np.float32(abs(centre)))
        return (
            f"{subject} ({centre:.10g} ± {width:.3g}) would lose precision in float32, which has a spacing of "
            f"{spacing:.3g} there; {'leave out `per`' if of_class else remedy}"
        )


def _format_subtraction(source: str | Expression, centre: float, width: float) -> str:
    """Formats an expression that moves the numbers near 0. Expressions are computed in float64."""
    shift = round(centre, -math.ceil(math.log10(width)))  # rounded to the order of magnitude of the width
    name = source if isinstance(source, str) else f"({source.text})"
    name = name if name.isidentifier() or isinstance(source, Expression) else f"`{name}`"
    return f'`expression: "{name} {"-" if shift > 0 else "+"} {abs(shift):.15g}"`'
