"""Ratios of the counts of each class, such as precision and recall."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self

import jax
import numpy as np

from components.metric.average import Average, Averaging, ClassName, choose_averaging
from components.metric.base import count_examples
from components.metric.counts import ClassCounts, check_threshold, count_classes, divide
from components.types import Batch, Output, Range, TargetSpec, bind_fields


@dataclass(frozen=True, kw_only=True)
class Precision(ClassCounts):
    """Share of the predictions of a class that are right; 0 for a class that is never predicted.

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: how the classes become one number, see `components.metric.average`. None: `binary` for two classes,
            else `macro`.
        positive: the class that counts for `binary`: its name, or its value in the data. None: the second class.
        threshold: the positive one of two classes, or a label, is predicted where its probability is above it. None:
            the most probable class is predicted, and a label above 0.5.
    """

    average: Average | None = None
    positive: ClassName | None = None
    averaging: Averaging = field(default=Averaging(), init=False)
    target_kinds: ClassVar[tuple[str, ...]] = ("classes", "labels", "pixels")
    _name = "precision"

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy for the classes; raises UserError for a target or a class that it doesn't support."""
        averaging = choose_averaging(self._name, target, self.average, self.positive)
        check_threshold(self._name, target, self.threshold)
        return bind_fields(self, averaging=averaging)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the counts of each class, (classes,)."""
        return count_classes(self._name, output, batch, self.threshold, self.averaging.positive)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        right, total = self.count(sums)
        if self.averaging.kind == "micro":
            right, total = right.sum(keepdims=True), total.sum(keepdims=True)
        occurs = (sums["true"] + sums["predicted"] > 0) | self.averaging.has_labels
        value = self.averaging.combine(np.where(occurs, divide(right, total), math.nan), sums["true"])
        return 0.0 if math.isnan(value) else value

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return sums["hits"], sums["predicted"]


@dataclass(frozen=True, kw_only=True)
class Recall(Precision):
    """Share of the elements of a class that are predicted right; 0 for a class without any.

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: as in `Precision`.
        positive: as in `Precision`.
        threshold: as in `Precision`.
    """

    _name = "recall"

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return sums["hits"], sums["true"]


@dataclass(frozen=True, kw_only=True)
class Specificity(Precision):
    """Share of the elements of all other classes that are not predicted to be of a class; 0 if there are no others.

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: as in `Precision`.
        positive: as in `Precision`.
        threshold: as in `Precision`.
    """

    _name = "specificity"

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the counts of each class, (classes,), and the number of elements."""
        return {**super().measure(output, batch), "elements": count_examples(batch)}

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        others = sums["elements"] - sums["true"]
        return others - (sums["predicted"] - sums["hits"]), others


@dataclass(frozen=True, kw_only=True)
class F1(Precision):
    """Harmonic mean of precision and recall: 2 * hits / (elements + predictions); 0 if one of them is 0.

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: as in `Precision`.
        positive: as in `Precision`.
        threshold: as in `Precision`.

    References:
        van Rijsbergen, 1979: Information retrieval.
    """

    _name = "f1"

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return _weigh(sums, 1.0)


@dataclass(frozen=True, kw_only=True)
class FBeta(Precision):
    """Weighted harmonic mean of precision and recall, in which recall counts beta^2 times as much; 0 if one is 0.

    (1 + beta^2) * hits / (beta^2 * elements + predictions). A class that has no element and is never predicted is left
    out of a mean over the classes, but not a label.

    Attributes:
        beta: above 0. Below 1, precision counts more.
        average: as in `Precision`.
        positive: as in `Precision`.
        threshold: as in `Precision`.

    References:
        van Rijsbergen, 1979: Information retrieval.
    """

    beta: Annotated[float, Range(0, math.inf, "()")]
    _name = "f_beta"

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return _weigh(sums, self.beta)


@dataclass(frozen=True, kw_only=True)
class IoU(Precision):
    """Intersection over union of a class, the Jaccard index: hits / (elements + predictions - hits).

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: as in `Precision`.
        positive: as in `Precision`.
        threshold: as in `Precision`.

    References:
        Jaccard, 1912: The distribution of the flora in the alpine zone.
    """

    _name = "iou"

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return sums["hits"], sums["true"] + sums["predicted"] - sums["hits"]


def _weigh(sums: Mapping[str, np.ndarray], beta: float) -> tuple[np.ndarray, np.ndarray]:
    """The numerator and the denominator of F-beta for each class."""
    return (1 + beta**2) * sums["hits"], beta**2 * sums["true"] + sums["predicted"]
