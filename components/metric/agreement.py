"""Metrics of all classes together that follow from counts of true and predicted classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import row_weights
from components.metric.counts import ClassCounts, count_classes, predict_classes
from components.types import Batch, Output


@dataclass(frozen=True, kw_only=True)
class BalancedAccuracy(ClassCounts):
    """Mean over the classes of the share of their elements that are predicted right.

    Predicting the same class always gives 1 / classes. A class without elements is left out.

    Attributes:
        threshold: the second of two classes is predicted where its probability is above it. None: the most probable
            class is predicted.

    References:
        Brodersen et al., 2010: The balanced accuracy and its posterior distribution.
    """

    _name = "balanced_accuracy"

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1; NaN without any element."""
        occurs = sums["true"] > 0
        return float(np.mean(sums["hits"][occurs] / sums["true"][occurs])) if occurs.any() else math.nan


@dataclass(frozen=True, kw_only=True)
class Matthews(ClassCounts):
    """Matthews correlation coefficient, the correlation of true and predicted classes.

    With the shares of elements t and of predictions p of each class, and the share of right predictions a:
    (a - sum of t * p) / sqrt((1 - sum of t^2) * (1 - sum of p^2)); 0 if all elements, or all predictions, are of one
    class.

    Attributes:
        threshold: as in `BalancedAccuracy`.

    References:
        Matthews, 1975: Comparison of the predicted and observed secondary structure of T4 phage lysozyme.
        Gorodkin, 2004: Comparing two K-category assignments by a K-category correlation coefficient.
    """

    _name = "matthews"

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a correlation between -1 and 1."""
        true, predicted = (sums[name] / sums[name].sum() for name in ("true", "predicted"))
        right = sums["hits"].sum() / sums["true"].sum()
        if (true > 0).sum() < 2 or (predicted > 0).sum() < 2:
            return 0.0
        variances = (1 - (true**2).sum()) * (1 - (predicted**2).sum())
        return float((right - (true * predicted).sum()) / math.sqrt(variances))


@dataclass(frozen=True, kw_only=True)
class MeanIoU(ClassCounts):
    """Mean over the classes of intersection / union, for classes of pixels.

    The intersection of a class has the elements that are of the class and are predicted so; the union has those that
    are of the class or are predicted so. A class without any is left out of the mean.

    Attributes:
        threshold: as in `BalancedAccuracy`.

    References:
        Jaccard, 1912: The distribution of the flora in the alpine zone.
    """

    _name = "mean_iou"

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the sizes of the intersection and of the union of each class, (classes,)."""
        counts = count_classes(self._name, output, batch, self.threshold)
        return {"intersection": counts["hits"], "union": counts["true"] + counts["predicted"] - counts["hits"]}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1; NaN without any element."""
        occurs = sums["union"] > 0
        return float(np.mean(sums["intersection"][occurs] / sums["union"][occurs])) if occurs.any() else math.nan


@dataclass(frozen=True, kw_only=True)
class CohenKappa(ClassCounts):
    """Cohen's kappa, the agreement of true and predicted classes beyond that of chance.

    1 - sum of w * o / sum of w * e, with the share o of the elements in each cell of the confusion matrix, the share e
    that independent predictions would have there, and the weight w of the cell: 1 off the diagonal, or the distance
    of the two classes in their order. 0 if all elements and all predictions are of one class.

    Attributes:
        weights: `linear`: the distance of the classes; `quadratic`: its square. None: all wrong classes weigh the same.
        threshold: as in `BalancedAccuracy`.

    References:
        Cohen, 1960: A coefficient of agreement for nominal scales.
        Cohen, 1968: Weighted kappa.
    """

    weights: Literal["linear", "quadratic"] | None = None
    _name = "cohen_kappa"

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements by true and predicted class, (classes, classes)."""
        predicted, classes = predict_classes(self._name, output, batch, self.threshold)
        counted = batch.mask.astype(jnp.int32) if batch.weight is None else row_weights(batch)
        cells = jnp.where(batch.mask, batch.target * classes + predicted, 0)
        empty = jnp.zeros(classes * classes, counted.dtype)
        return {"confusion": empty.at[cells.reshape(-1)].add(counted.reshape(-1)).reshape(classes, classes)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a number up to 1."""
        observed = sums["confusion"] / sums["confusion"].sum()
        expected = np.outer(observed.sum(1), observed.sum(0))
        distance = np.abs(np.subtract.outer(*[np.arange(len(observed))] * 2))
        weights = distance**2 if self.weights == "quadratic" else distance if self.weights else distance > 0
        chance = (weights * expected).sum()
        return float(1 - (weights * observed).sum() / chance) if chance > 0 else 0.0
