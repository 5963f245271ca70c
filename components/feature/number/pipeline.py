"""Normalizers one after the other."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.feature.normalizer import NAMES, Clip, FittedNormalizer, FixedNormalizer, Normalizer
from components.layer.table import get_entry
from components.types import UserError


@dataclass(frozen=True)
class Pipeline:
    """Normalizers one after the other, of which one at most is fitted, to the output of those before it.

    Attributes:
        before: the fixed normalizers before the fitted one.
        fitted: the fitted one. None: none is.
        after: the fixed normalizers after it.
    """

    before: tuple[FixedNormalizer, ...]
    fitted: FittedNormalizer | None
    after: tuple[FixedNormalizer, ...]

    def __call__(self, values: Any, offset: Any, divisor: Any, xp: Any) -> Any:
        """Normalizes numbers; `xp` is NumPy or `jax.numpy`, `offset` and `divisor` are those of the fitted one."""
        for step in self.before:
            values = step(values, xp)
        return self.rest(values, offset, divisor, xp)

    def rest(self, values: Any, offset: Any, divisor: Any, xp: Any) -> Any:
        """Applies the normalizers behind `before`."""
        values = (values - offset) / divisor
        for step in self.after:
            values = step(values, xp)
        return values

    def check_filler(self, value: float) -> None:
        """Raises UserError where a number that replaces missing ones isn't finite, or not after `before`."""
        result = np.float64(value)
        for step in self.before:
            with np.errstate(all="ignore"):
                result = step(result, np)
        if not np.isfinite(result):
            raise UserError(f"`missing` (={value}) must be finite, through all of `normalize` too")

    def undo_each(self, values: np.ndarray) -> list[np.ndarray]:
        """The numbers before each normalizer of `before`, given those after them; first the ones in the data.

        A normalizer without an inverse, like Clip, counts as one that changes nothing.
        """
        found: list[np.ndarray] = []
        for step in reversed(self.before):
            with contextlib.suppress(UserError), np.errstate(all="ignore"):
                values = step.undo(values, np)
            found.insert(0, values)
        return found

    def undo(self, values: Any, offset: Any, divisor: Any, xp: Any) -> Any:
        """The inverse; raises UserError where a normalizer has none."""
        for step in reversed(self.after):
            values = step.undo(values, xp)
        values = values * divisor + offset
        for step in reversed(self.before):
            values = step.undo(values, xp)
        return values


def make_pipeline(normalize: Normalizer | tuple[Normalizer, ...] | None) -> Pipeline:
    """The pipeline of a normalizer, or of several; raises UserError where they don't fit together."""
    listed = () if normalize is None else normalize if isinstance(normalize, tuple) else (normalize,)
    steps: list[Any] = [get_entry("normalizer", NAMES, step) if isinstance(step, str) else step for step in listed]
    for step in steps:
        if not (hasattr(step, "statistic") or hasattr(step, "undo")):
            raise UserError(f"`normalize` lists {step}, which is no normalizer: there are {', '.join(NAMES)} and Clip")
    fitted = [place for place, step in enumerate(steps) if hasattr(step, "statistic")]
    if len(fitted) > 1:
        given = " and ".join(str(listed[place]) for place in fitted)
        raise UserError(
            f"`normalize` lists {given}, which learn from the data: only one step can, with log, log1p or Clip before "
            "and Clip after it"
        )
    if not fitted:
        return Pipeline(tuple(steps), None, ())
    place = fitted[0]
    if late := [listed[n] for n in range(place + 1, len(steps)) if not isinstance(steps[n], Clip)]:
        raise UserError(
            f"`normalize` lists {late[0]} after {listed[place]}, which makes numbers that have no logarithm: put it "
            "before"
        )
    return Pipeline(tuple(steps[:place]), steps[place], steps[place].after + tuple(steps[place + 1 :]))
