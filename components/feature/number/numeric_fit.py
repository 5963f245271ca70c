"""Fits the normalization of numbers, and the replacement of missing ones, to the training split."""

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
    """The fit of one column or one expression with D numbers in each row.

    `statistics` returns the statistics of the training split that the fit needs. The other two methods get the results
    under the same names.

    Attributes:
        numbers: reads the numbers, and applies to them the normalizers before the one to fit.
        pipeline: the normalizers.
        missing: the replacement of missing numbers. None: they aren't replaced.
        per: a column of classes. The normalizer is fitted to each class separately. None: it is fitted to all rows.
        size: D. None: it is inferred from the training split.
    """

    numbers: Numbers
    pipeline: Pipeline
    missing: Missing = None
    per: str | None = None
    size: int | None = None

    def statistics(self) -> dict[str, Statistic]:
        """The statistics that the fit needs, by name: `offset_scale`, `per` and `missing`, each only if needed."""
        statistics: dict[str, Any] = {}
        if self.pipeline.fitted_step is not None:
            statistics["offset_scale"] = self.pipeline.fitted_step.statistic(self.numbers.key)
        elif self.size is None:  # only to infer D, and to find columns without any value
            statistics["offset_scale"] = Extremes(self.numbers.key)
        if self.per is not None:
            statistics["per"] = ByClass(statistics["offset_scale"], self.per)
        numbers_in_data = self.numbers.without_transform
        if self.missing == "mean":
            statistics["missing"] = Moments(numbers_in_data.key)
        elif self.missing == "median":
            statistics["missing"] = Quantiles(numbers_in_data.key)
        return statistics

    def fit_offset_scale(self, results: Mapping[str, Any]) -> OffsetScale:
        """Computes the offset and the scale of the normalizer.

        Returns:
            Offset and scale, (D,) each; all 0 if no normalizer is fitted. With `per` (1 + classes, D): row 0 is that
            of all rows together, and the others are those of the classes, in the order of the results.

        Raises:
            DataError: the training split has no value, or the numbers are too far from 0 for float32.
        """
        if self.pipeline.fitted_step is None:
            if self.size is not None:
                return OffsetScale(np.zeros(self.size), np.zeros(self.size))
            extremes = results["offset_scale"]
            self._check_has_values(extremes)
            return OffsetScale(np.zeros_like(extremes.offset), np.zeros_like(extremes.scale))
        overall = self._fit_normalizer(results["offset_scale"])
        self._check_has_values(overall)
        if self.per is None:
            return overall
        offsets, scales = [overall.offset], [overall.scale]
        for class_value, result in results["per"].items():
            fitted = self._fit_normalizer(result, class_value)
            has_no_number = np.isnan(fitted.offset)  # (D,); such an element is normalized as in all rows
            offsets.append(np.where(has_no_number, overall.offset, fitted.offset))
            scales.append(np.where(has_no_number, overall.scale, fitted.scale))
        return OffsetScale(np.stack(offsets), np.stack(scales))

    def fit_fill_value(self, results: Mapping[str, Any], size: int) -> np.ndarray:
        """Computes the replacement of missing numbers, in the unit of the data, (D,). `size` is D."""
        if self.missing == "mean":
            return results["missing"].offset
        if self.missing == "median":
            return results["missing"].quantiles(np.array([0.5]))[0]
        return np.full(size, self.missing)

    def _check_has_values(self, offset_scale: OffsetScale) -> None:
        if np.isnan(offset_scale.offset).any():
            raise DataError(f"{self.numbers} has no value in any row of the training split; remove the column")

    def _fit_normalizer(self, result: Any, class_value: str | int | None = None) -> OffsetScale:
        """Fits the normalizer to the rows of one class, or to all rows if `class_value` is None."""
        assert self.pipeline.fitted_step is not None
        try:
            fitted = self.pipeline.fitted_step.fit(result)
        except DataError as error:
            raise DataError(f"{self._describe(class_value)}: {error}") from error
        self._check_precision(fitted, class_value)
        return fitted

    def _check_precision(self, fitted: OffsetScale, class_value: str | int | None) -> None:
        """Raises DataError if float32 is too coarse for the numbers.

        The device computes each step of the normalization in float32. The range of most numbers is known after the
        steps before the fitted normalizer: offset ± scale. Undoing these steps gives the range at the earlier stages.
        """
        last_range = np.stack([fitted.offset - fitted.scale, fitted.offset + fitted.scale])  # (2, D)
        ranges = [*self.pipeline.undo_each(last_range), last_range]  # in the data, after step 1, after step 2, …
        for step_count, (low, high) in enumerate(ranges):
            centre, half_width = low / 2 + high / 2, high / 2 - low / 2
            is_imprecise = scaling.exceeds_float32_precision(OffsetScale(centre, half_width)) & ~is_constant(fitted)
            if is_imprecise.any():
                element = int(np.argmax(is_imprecise))
                raise DataError(
                    self._describe_precision_loss(
                        float(centre[element]), float(half_width[element]), class_value, after_step=step_count > 0
                    )
                )

    def _describe_precision_loss(
        self, centre: float, half_width: float, class_value: str | int | None, *, after_step: bool
    ) -> str:
        subject = self._describe(class_value)
        if after_step:
            subject += " after a step of `normalize`"
            remedy = "leave out a step, or choose another"
        else:
            # The factor is the first operation, and isn't one of the steps.
            centre, half_width = centre / self.numbers.factor, half_width / self.numbers.factor
            remedy = f"subtract a constant first: {_format_subtraction(self.numbers.source, centre, half_width)}"
        if class_value is not None:
            remedy = "leave out `per`"
        spacing = np.spacing(np.float32(abs(centre)))
        return (
            f"{subject} ({centre:.10g} ± {half_width:.3g}) would lose precision in float32, which has a spacing of "
            f"{spacing:.3g} there; {remedy}"
        )

    def _describe(self, class_value: str | int | None) -> str:
        """Describes the numbers for a message: "column `x`", or "column `x` of class 'a'"."""
        return str(self.numbers) if class_value is None else f"{self.numbers} of class {class_value!r}"


def _format_subtraction(source: str | Expression, centre: float, half_width: float) -> str:
    """Formats an expression that moves numbers near 0: "x", 1600000300, 173 -> `expression: "x - 1600000000"`.

    An expression is computed in float64.
    """
    shift = round(centre, -math.ceil(math.log10(half_width)))  # to the order of magnitude of the width
    if isinstance(source, Expression):
        operand = f"({source.text})"
    elif source.isidentifier():
        operand = source
    else:
        operand = f"`{source}`"
    sign = "-" if shift > 0 else "+"
    return f'`expression: "{operand} {sign} {abs(shift):.15g}"`'
