"""Metrics that follow from three counts of each class: its elements, its predictions, and the right ones among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.average import Average, Averaging, ClassName, choose_averaging
from components.metric.base import class_scores, has_labels, require_classes, require_logits, sum_elements
from components.types import Batch, Output, TargetSpec, bind_fields


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Share of the predictions of a class that are right; 0 for a class that is never predicted.

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: how the classes become one number, see `components.metric.average`. None: `binary` for two classes,
            else `macro`.
        positive: the class that counts for `binary`: its name, or its value in the data. None: the second class.
    """

    average: Average | None = None
    positive: ClassName | None = None
    averaging: Averaging = field(default=Averaging(), init=False)
    higher_is_better = True
    collects = False
    _name = "precision"

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy for the classes; raises UserError for a target or a class that it doesn't support."""
        return bind_fields(self, averaging=choose_averaging(self._name, target, self.average, self.positive))

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the counts of each class, (classes,)."""
        return count_classes(self._name, output, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        right, total = self.count(sums)
        if self.averaging.kind == "micro":
            right, total = right.sum(keepdims=True), total.sum(keepdims=True)
        occurs = (sums["true"] + sums["predicted"] > 0) | self.averaging.has_labels
        value = self.averaging.combine(np.where(occurs, _divide(right, total), math.nan), sums["true"])
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
    """

    _name = "recall"

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return sums["hits"], sums["true"]


@dataclass(frozen=True, kw_only=True)
class F1(Precision):
    """Harmonic mean of precision and recall: 2 * hits / (elements + predictions); 0 if one of them is 0.

    A class that has no element and is never predicted is left out of a mean over the classes, but not a label.

    Attributes:
        average: as in `Precision`.
        positive: as in `Precision`.

    References:
        van Rijsbergen, 1979: Information retrieval.
    """

    _name = "f1"

    def count(self, sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The numerator and the denominator of each class."""
        return 2 * sums["hits"], sums["true"] + sums["predicted"]


@dataclass(frozen=True)
class BalancedAccuracy:
    """Mean over the classes of the share of their elements that are predicted right.

    Predicting the same class always gives 1 / classes. A class without elements is left out.

    References:
        Brodersen et al., 2010: The balanced accuracy and its posterior distribution.
    """

    higher_is_better = True
    collects = False

    def bind(self, target: TargetSpec) -> BalancedAccuracy:
        """Returns itself; raises UserError for a real-valued or multilabel target."""
        require_classes("balanced_accuracy", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the counts of each class, (classes,)."""
        return count_classes("balanced_accuracy", output, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1; NaN without any element."""
        occurs = sums["true"] > 0
        return float(np.mean(sums["hits"][occurs] / sums["true"][occurs])) if occurs.any() else math.nan


@dataclass(frozen=True)
class Matthews:
    """Matthews correlation coefficient, the correlation of true and predicted classes.

    With the shares of elements t and of predictions p of each class, and the share of right predictions a:
    (a - sum of t * p) / sqrt((1 - sum of t^2) * (1 - sum of p^2)); 0 if all elements, or all predictions, are of one
    class.

    References:
        Matthews, 1975: Comparison of the predicted and observed secondary structure of T4 phage lysozyme.
        Gorodkin, 2004: Comparing two K-category assignments by a K-category correlation coefficient.
    """

    higher_is_better = True
    collects = False

    def bind(self, target: TargetSpec) -> Matthews:
        """Returns itself; raises UserError for a real-valued or multilabel target."""
        require_classes("matthews", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the counts of each class, (classes,)."""
        return count_classes("matthews", output, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a correlation between -1 and 1."""
        true, predicted = (sums[name] / sums[name].sum() for name in ("true", "predicted"))
        right = sums["hits"].sum() / sums["true"].sum()
        if (true > 0).sum() < 2 or (predicted > 0).sum() < 2:
            return 0.0
        variances = (1 - (true**2).sum()) * (1 - (predicted**2).sum())
        return float((right - (true * predicted).sum()) / math.sqrt(variances))


@dataclass(frozen=True)
class MeanIoU:
    """Mean over the classes of intersection / union, for classes of pixels.

    The intersection of a class has the elements that are of the class and are predicted so; the union has those that
    are of the class or are predicted so. A class without any is left out of the mean.

    References:
        Jaccard, 1912: The distribution of the flora in the alpine zone.
    """

    higher_is_better = True
    collects = False

    def bind(self, target: TargetSpec) -> MeanIoU:
        """Returns itself; raises UserError for a real-valued target."""
        require_classes("mean_iou", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the sizes of the intersection and of the union of each class, (classes,)."""
        counts = count_classes("mean_iou", output, batch)
        return {"intersection": counts["hits"], "union": counts["true"] + counts["predicted"] - counts["hits"]}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1; NaN without any element."""
        occurs = sums["union"] > 0
        return float(np.mean(sums["intersection"][occurs] / sums["union"][occurs])) if occurs.any() else math.nan


def count_classes(metric: str, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
    """Counts for each class, or label, (classes,): its elements `true`, its predictions `predicted`, and `hits`.

    Hits are the elements that are of the class and are predicted so. A label is predicted where its logit is above 0.
    """
    if has_labels(metric, output, batch):
        true, predicted = batch.target == 1, require_logits(metric, output) > 0
    else:
        scores = class_scores(metric, output, batch)
        ids = (batch.target, jnp.argmax(scores, axis=-1))
        true, predicted = (jax.nn.one_hot(each, scores.shape[-1], dtype=bool) for each in ids)  # (B, …, classes)
    count = jax.vmap(lambda values: sum_elements(values, batch), in_axes=-1)
    return {"hits": count(true & predicted), "predicted": count(predicted), "true": count(true)}


def _divide(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """The ratios in float64; 0 where the denominator is 0."""
    return numerators / np.where(denominators > 0, denominators, 1) * (denominators > 0)
