"""A sequence of normalizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.feature.normalizer import NORMALIZERS, Clip, FittableNormalizer, FixedNormalizer, Normalizer
from components.layer.table import get_entry
from components.types import UserError


@dataclass(frozen=True)
class Pipeline:
    """A sequence of normalizers. At most one of them is fitted, to the output of the normalizers before it.

    Attributes:
        steps_before_fit: the fixed normalizers before the fitted one; all normalizers if none is fitted.
        fitted_step: the normalizer that is fitted. None: all normalizers are fixed.
        steps_after_fit: the fixed normalizers after the fitted one.
    """

    steps_before_fit: tuple[FixedNormalizer, ...]
    fitted_step: FittableNormalizer | None
    steps_after_fit: tuple[FixedNormalizer, ...]

    def apply_before_fit(self, values: Any, xp: Any) -> Any:
        """Applies the normalizers before the fitted one."""
        for step in self.steps_before_fit:
            values = step(values, xp)
        return values

    def apply_fitted(self, values: Any, offset: Any, divisor: Any, xp: Any) -> Any:
        """Applies the fitted normalizer and the normalizers after it.

        Args:
            values: the numbers after the normalizers before the fitted one.
            offset: the offset that was fitted; 0 if no normalizer is fitted.
            divisor: the scale that was fitted; 1 if no normalizer is fitted.
            xp: the library of the arrays, NumPy or `jax.numpy`.
        """
        values = (values - offset) / divisor
        for step in self.steps_after_fit:
            values = step(values, xp)
        return values

    def check_fill_value(self, value: float) -> None:
        """Raises UserError unless the replacement of missing numbers is finite, also after `steps_before_fit`."""
        with np.errstate(all="ignore"):
            result = self.apply_before_fit(np.float64(value), np)
        if not np.isfinite(result):
            raise UserError(f"`missing` (={value}) must be finite, also after the steps of `normalize`")

    def undo(self, values: Any, offset: Any, divisor: Any, xp: Any) -> Any:
        """Undoes all normalizers, from the last to the first; raises UserError if one has no inverse."""
        for step in reversed(self.steps_after_fit):
            values = step.undo(values, xp)
        values = values * divisor + offset
        for step in reversed(self.steps_before_fit):
            values = step.undo(values, xp)
        return values

    def undo_difference(self, difference: Any, values: Any, offset: Any, divisor: Any, xp: Any) -> Any:
        """Undoes all normalizers for a difference: undo(values + difference) - undo(values), without cancellation."""
        for step in reversed(self.steps_after_fit):
            difference, values = step.undo_difference(difference, values, xp), step.undo(values, xp)
        difference, values = difference * divisor, values * divisor + offset
        for step in reversed(self.steps_before_fit):
            difference, values = step.undo_difference(difference, values, xp), step.undo(values, xp)
        return difference


def make_pipeline(normalize: Normalizer | tuple[Normalizer, ...] | None) -> Pipeline:
    """Makes a pipeline of one normalizer, or of several; raises UserError for a combination that isn't allowed."""
    if normalize is None:
        return Pipeline((), None, ())
    listed = normalize if isinstance(normalize, tuple) else (normalize,)
    steps: list[Any] = [
        get_entry("normalizer", NORMALIZERS, step) if isinstance(step, str) else step for step in listed
    ]
    for step in steps:
        if not (hasattr(step, "statistic") or hasattr(step, "undo")):
            raise UserError(
                f"`normalize` lists {step}, which is no normalizer; allowed: {', '.join(NORMALIZERS)} and Clip"
            )
    fitted = [position for position, step in enumerate(steps) if hasattr(step, "statistic")]
    if len(fitted) > 1:
        names = " and ".join(str(listed[position]) for position in fitted)
        raise UserError(
            f"`normalize` lists {names}, which are all fitted to the data; only one step can be fitted, with log, "
            "log1p or Clip before it and Clip after it"
        )
    if not fitted:
        return Pipeline(tuple(steps), None, ())
    position = fitted[0]
    if late := [listed[n] for n in range(position + 1, len(steps)) if not isinstance(steps[n], Clip)]:
        raise UserError(
            f"`normalize` lists {late[0]} after {listed[position]}, whose results can be below 0; list {late[0]} first"
        )
    return Pipeline(tuple(steps[:position]), steps[position], steps[position].after + tuple(steps[position + 1 :]))
