"""How a metric of each class becomes one number."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from components.closest import suggest_name
from components.metric.base import require_categories
from components.types import FieldError, TargetSpec

Average: TypeAlias = Literal["binary", "macro", "micro", "weighted"]
"""`binary`: the value of the positive class. `macro`: the mean over the classes. `weighted`: the mean, in which a class
counts as often as it has examples. `micro`: one value of all classes together, as if each were a target of its own."""

ClassName: TypeAlias = str | int | bool
"""A class by its name, or by its value in the data."""


class Averaging(NamedTuple):
    """An average for one target.

    Attributes:
        kind: the average.
        positive: the position of the positive class; read by `binary` only.
        has_labels: whether the target is multilabel. Each of its labels counts, also one that never occurs.
    """

    kind: Average = "macro"
    positive: int = 1
    has_labels: bool = False

    def combine(self, values: np.ndarray, weights: np.ndarray) -> float:
        """One number from the values of the classes, (classes,), and their weights. NaN values are left out."""
        if self.kind == "binary":
            return float(values[self.positive])
        is_defined = ~np.isnan(values)
        weights = weights * is_defined if self.kind == "weighted" else is_defined
        total = float(weights.sum())
        return float((np.where(is_defined, values, 0) * weights).sum() / total) if total > 0 else math.nan


def choose_averaging(
    metric: str, target: TargetSpec, average: Average | None, positive: ClassName | None = None
) -> Averaging:
    """The average for a target: by default `binary` for two classes, else `macro`.

    Raises:
        UserError: the target is real-valued, it doesn't have two classes for `binary`, or `positive` is no class.
    """
    classes = require_categories(metric, target)
    has_labels = target.kind == "multilabel"
    has_two_classes = len(classes) == 2 and not has_labels
    noun = f"a multilabel target of {len(classes)} labels" if has_labels else f"{len(classes)} classes"
    if average == "binary" and not has_two_classes:
        raise FieldError("average", f"binary needs two classes, got {noun}. Choose macro, micro or weighted.")
    kind: Average = average or ("binary" if has_two_classes else "macro")
    if positive is None:
        return Averaging(kind, has_labels=has_labels)
    if kind != "binary":
        reason = f"got {noun}" if average is None else f"got average={average}"
        raise FieldError("positive", f"{positive} is for average=binary, {reason}. Leave positive out.")
    return Averaging(kind, _find_class(metric, target, positive))


def _find_class(metric: str, target: TargetSpec, name: ClassName) -> int:
    """The position of a class, by its name or its value in the data."""
    classes = require_categories(metric, target)
    if str(name) in classes:
        return classes.index(str(name))
    raise FieldError("positive", f"{name} is not a class of the target. {suggest_name(name, classes)}")
