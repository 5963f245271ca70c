"""Metrics of how well scores rank the examples, exact also where scores are equal. They need all rows of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import join_names
from components.metric.average import Average, Averaging, ClassName, choose_averaging
from components.metric.base import class_scores, has_labels, require_logits, row_weights
from components.types import Batch, Output, TargetSpec, UserError, bind_fields


@dataclass(frozen=True, kw_only=True)
class AUC:
    """Area under the ROC curve: the share of pairs of a positive and a negative that are ranked right.

    Equal scores count as half a pair. Of more than two classes, each is ranked against all others by its probability,
    and a class without examples, or without others, is left out of the mean. NaN if no class is left.

    Attributes:
        average: how the classes become one number, see `components.metric.average`. None: `binary` for two classes,
            for which it doesn't matter which is positive; else `macro`.

    References:
        Fawcett, 2006: An introduction to ROC analysis.
    """

    average: Average | None = None
    averaging: Averaging = field(default=Averaging(), init=False)
    classes: tuple[str, ...] = field(default=(), init=False)
    target_kinds = ("classes", "labels")
    higher_is_better = True
    collects = True
    _name = "auc"

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy for the classes; raises UserError for a target or an average that it doesn't support."""
        return self._bind(target, None)

    def _bind(self, target: TargetSpec, positive: ClassName | None) -> Self:
        averaging = choose_averaging(self._name, target, self.average, positive)
        if target.is_image:
            raise UserError(
                f"{self._name} keeps a score of each element, too many for images {target.shape}. Choose f1 or "
                "mean_iou."
            )
        return bind_fields(self, averaging=averaging, classes=target.classes)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the scores (B, columns), the target and the weight of each example. A column is a class or label."""
        if has_labels(self._name, output, batch):
            scores = require_logits(self._name, output).astype(jnp.float32)
        else:
            scores = compute_log_odds(class_scores(self._name, output, batch).astype(jnp.float32))
            if self.averaging.kind == "binary":
                scores = scores[:, [self.averaging.positive]]
        return {"score": scores, "target": batch.target, "weight": row_weights(batch)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1; NaN if it is undefined, or if a score is NaN."""
        counts = sums["weight"] > 0
        scores, target, weight = (sums[name][counts] for name in ("score", "target", "weight"))
        if np.isnan(scores).any():
            return math.nan
        if self.averaging.has_labels:
            is_positive = target == 1
        elif self.averaging.kind == "binary":
            is_positive = target[:, None] == self.averaging.positive
        else:
            is_positive = target[:, None] == np.arange(scores.shape[1])
        if self.averaging.kind == "micro":
            weight = np.repeat(weight, scores.shape[1])
            scores, is_positive = scores.reshape(-1, 1), is_positive.reshape(-1, 1)
        columns = range(scores.shape[1])
        values = [self.compute(*count_by_threshold(scores[:, k], is_positive[:, k], weight)) for k in columns]
        position = self.averaging._replace(positive=0)  # `measure` returns the score of the positive class only
        return position.combine(np.array(values), np.asarray(weight, np.float64) @ is_positive)

    def explain_undefined(self, target: np.ndarray) -> str | None:
        """Returns what is wrong with the target of a split if the result is NaN whatever the scores are."""
        columns = 1 if self.averaging.kind == "binary" else len(self.classes)
        rows = {"score": np.zeros((len(target), columns)), "target": target, "weight": np.ones(len(target))}
        if not math.isnan(self.result(rows)):
            return None
        if self.averaging.has_labels:
            return "the same labels in every row"
        return f"only the class {join_names(self.classes[each] for each in np.unique(target))}"

    def compute(self, true_positives: np.ndarray, false_positives: np.ndarray) -> float:
        """The value of one column, from the weights of positives and negatives at or above each score."""
        pairs = true_positives[-1] * false_positives[-1]
        heights = np.append(0, true_positives)
        area = (np.diff(false_positives, prepend=0) * (heights[1:] + heights[:-1])).sum() / 2
        return float(area / pairs) if pairs > 0 else math.nan


@dataclass(frozen=True, kw_only=True)
class AveragePrecision(AUC):
    """Average precision: the sum over the scores, from the highest, of precision * increase of recall.

    Examples of equal scores enter together. Of more than two classes, each is ranked against all others by its
    probability, and a class without examples is left out of the mean. NaN if no class is left, or without a positive.

    Attributes:
        average: as in `AUC`.
        positive: the class that counts for `binary`: its name, or its value in the data. None: the second class.

    References:
        Zhu, 2004: Recall, precision and average precision.
    """

    positive: ClassName | None = None
    _name = "average_precision"

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy for the classes; raises UserError for a target or a class that it doesn't support."""
        return self._bind(target, self.positive)

    def compute(self, true_positives: np.ndarray, false_positives: np.ndarray) -> float:
        """The value of one column, from the weights of positives and negatives at or above each score."""
        precision = true_positives / (true_positives + false_positives)
        positives = true_positives[-1]
        area = (np.diff(true_positives, prepend=0) * precision).sum()
        return float(area / positives) if positives > 0 else math.nan


def compute_log_odds(logits: jax.Array) -> jax.Array:
    """The logarithm of p / (1 - p) for the probability p of each class, (B, classes) -> (B, classes).

    It has the order of p, which is 1 in float32 for all examples of which the model is certain.
    """
    best = jnp.argmax(logits, axis=-1)[:, None]
    is_best = jnp.arange(logits.shape[-1])[None] == best
    others = jnp.where(is_best, -jnp.inf, logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    odds = jnp.where(is_best, 0, jnp.exp(shifted))  # relative to the most probable class
    rest = odds.sum(axis=-1, keepdims=True) - odds
    of_best = logits - jax.nn.logsumexp(others, axis=-1, keepdims=True)
    return jnp.where(is_best, of_best, shifted - jnp.log1p(rest))


def count_by_threshold(
    scores: np.ndarray, is_positive: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the positives and of the negatives with a score at or above each distinct score, descending.

    Args:
        scores: (N,).
        is_positive: bool (N,).
        weight: (N,), above 0.
    """
    if not len(scores):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last example of each score
    weight, is_positive = np.asarray(weight, np.float64)[order], is_positive[order]
    return np.cumsum(weight * is_positive)[last], np.cumsum(weight * ~is_positive)[last]
