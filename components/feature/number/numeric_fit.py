"""Fits the normalization of numbers, and the replacement of missing ones, to the training split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from components.feature.number.numbers import Numbers
from components.feature.number.pipeline import Pipeline
from components.feature.statistic import ByClass, Extremes, Moments, OffsetScale, Quantiles
from components.types import DataError, Remedy, Statistic

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
        """The statistics that the fit needs, by name: `offset_scale`, `per` and `missing`, each only if needed.

        Where missing numbers are errors, there is also `mean`, for gaps in new rows.
        """
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
        elif statistics and not (self.numbers.allow_missing or self.numbers.sequences):
            statistics["mean"] = Moments(numbers_in_data.key)
        return statistics

    def fit_offset_scale(self, results: Mapping[str, Any]) -> OffsetScale:
        """Computes the offset and the scale of the normalizer.

        Returns:
            Offset and scale, (D,) each; all 0 if no normalizer is fitted. With `per` (1 + classes, D): row 0 is that
            of all rows together, and the others are those of the classes, in the order of the results.

        Raises:
            DataError: the training split has no value, or the normalizer has no scale.
        """
        if self.pipeline.fitted_step is None:
            if self.size is not None:
                return OffsetScale(np.zeros(self.size), np.zeros(self.size))
            extremes = results["offset_scale"]
            self._check_has_values(extremes.offset)
            return OffsetScale(np.zeros_like(extremes.offset), np.zeros_like(extremes.scale))
        overall = self._fit_normalizer(results["offset_scale"])
        self._check_has_values(overall.offset)
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
        if self.missing not in ("mean", "median"):
            return np.full(size, self.missing)
        result = results["missing"]
        values = result.offset if self.missing == "mean" else result.quantiles(np.array([0.5]))[0]
        self._check_has_values(values)
        return values

    def _check_has_values(self, fitted: np.ndarray) -> None:
        if np.isnan(fitted).any():
            fault, source = f"{self.numbers} has no value in any row of the training split", self.numbers.source
            missing = source if isinstance(source, str) else None
            raise DataError(fault, Remedy("leave it out", "leaving_out"), missing=missing)

    def _fit_normalizer(self, result: Any, class_value: str | int | None = None) -> OffsetScale:
        """Fits the normalizer to the rows of one class, or to all rows if `class_value` is None."""
        assert self.pipeline.fitted_step is not None
        try:
            return self.pipeline.fitted_step.fit(result)
        except DataError as error:
            of_class = "" if class_value is None else f" of class {class_value!r}"
            raise DataError(f"{self.numbers}{of_class}: {error}") from error
