"""Counts of each class: its elements, its predictions, and the right ones among them. Metrics follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import (
    class_scores,
    has_labels,
    require_categories,
    require_classes,
    require_logits,
    sum_elements,
)
from components.types import Batch, FieldError, Output, Range, TargetSpec

Threshold: TypeAlias = Annotated[float, Range(0, 1)]
"""A class or label is predicted where its probability is above the threshold."""


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """What metrics share that follow from the counts of each class.

    Attributes:
        threshold: the positive one of two classes, or a label, is predicted where its probability is above it. None:
            the most probable class is predicted, and a label above 0.5.
    """

    threshold: Threshold | None = None
    target_kinds: ClassVar[tuple[str, ...]] = ("classes", "pixels")
    higher_is_better = True
    collects = False
    _name = ""

    def bind(self, target: TargetSpec) -> Self:
        """Returns itself; raises UserError for a target that it doesn't support."""
        require_classes(self._name, target)
        check_threshold(self._name, target, self.threshold)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the counts of each class, (classes,)."""
        return count_classes(self._name, output, batch, self.threshold)


def check_threshold(metric: str, target: TargetSpec, threshold: float | None) -> None:
    """Raises UserError for a threshold of more than two classes, of which the most probable one is predicted."""
    classes = require_categories(metric, target)
    if threshold is not None and target.kind != "multilabel" and len(classes) != 2:
        raise FieldError(
            "threshold",
            f"{threshold:g} is for two classes or labels, got {len(classes)} classes. Leave threshold out: the most "
            "probable class is predicted.",
        )


def predict_classes(
    metric: str, output: Output, batch: Batch, threshold: float | None = None, positive: int = 1
) -> tuple[jax.Array, int]:
    """The predicted class of each element, int32 (B, …), and the number of classes.

    Args:
        metric: the name of the metric, for errors.
        output: the output of the model.
        batch: the batch.
        threshold: one of two classes is predicted where its probability is above it. None: the most probable class is
            predicted, and the first of equally probable ones.
        positive: the position of this class.
    """
    scores = class_scores(metric, output, batch)
    if threshold is None:
        return jnp.argmax(scores, axis=-1), scores.shape[-1]
    log_odds = scores[..., positive] - scores[..., 1 - positive]
    return jnp.where(log_odds > compute_log_odds(threshold), positive, 1 - positive), scores.shape[-1]


def predict_labels(metric: str, output: Output, threshold: float | None = None) -> jax.Array:
    """Whether each label is predicted, bool (B, labels)."""
    return require_logits(metric, output) > (0.0 if threshold is None else compute_log_odds(threshold))


def compute_log_odds(probability: float) -> float:
    """The logit of a probability; infinite for 0 and 1."""
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability) - math.log1p(-probability)


def count_classes(
    metric: str, output: Output, batch: Batch, threshold: float | None = None, positive: int = 1
) -> Mapping[str, jax.Array]:
    """Counts for each class, or label, (classes,): its elements `true`, its predictions `predicted`, and `hits`.

    Hits are the elements that are of the class and are predicted so. The arguments are those of `predict_classes`.
    """
    if has_labels(metric, output, batch):
        true, predicted = batch.target == 1, predict_labels(metric, output, threshold)
    else:
        ids, classes = predict_classes(metric, output, batch, threshold, positive)
        true, predicted = (jax.nn.one_hot(each, classes, dtype=bool) for each in (batch.target, ids))  # (B, …, classes)
    count = jax.vmap(lambda values: sum_elements(values, batch), in_axes=-1)
    return {"hits": count(true & predicted), "predicted": count(predicted), "true": count(true)}


def divide(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """The ratios in float64; 0 where the denominator is 0."""
    return numerators / np.where(denominators > 0, denominators, 1) * (denominators > 0)
