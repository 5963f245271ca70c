"""Shares of right predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import class_scores, count_examples, has_labels, require_classes, sum_elements
from components.metric.counts import Threshold, check_threshold, predict_classes, predict_labels
from components.types import Batch, FieldError, Output, Range, TargetSpec, check_ranges


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of examples whose most probable class is the true class; of labels, the share that is predicted right.

    A single logit belongs to the second of two classes.

    Attributes:
        threshold: the second of two classes, or a label, is predicted where its probability is above it. None: the
            most probable class is predicted, and a label above 0.5.
    """

    threshold: Threshold | None = None
    target_kinds = ("classes", "labels", "pixels")
    higher_is_better = True
    collects = False  # `measure` returns sums. A metric that collects returns the rows of a batch, to be concatenated.

    def bind(self, target: TargetSpec) -> Accuracy:
        """Returns itself; raises UserError for a real-valued target, or a threshold of more than two classes."""
        check_threshold("accuracy", target, self.threshold)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements, or labels, in the batch and the number of correct predictions."""
        if has_labels("accuracy", output, batch):
            is_right = predict_labels("accuracy", output, self.threshold) == (batch.target == 1)
            right = jnp.sum(is_right, axis=-1, dtype=jnp.int32)
            return {"hits": sum_elements(right, batch), "examples": count_examples(batch) * is_right.shape[-1]}
        predicted, _ = predict_classes("accuracy", output, batch, self.threshold)
        return _count_hits(predicted == batch.target, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


@dataclass(frozen=True)
class TopK:
    """Share of examples whose true class is among the k most probable classes.

    Among equally probable classes, the first comes first.

    Attributes:
        k: number of classes, from 1 to the number of classes of the target.
    """

    k: Annotated[int, Range(1)]
    target_kinds = ("classes", "pixels")
    higher_is_better = True
    collects = False
    _name = "top_k"

    def __post_init__(self) -> None:
        check_ranges(self)

    def bind(self, target: TargetSpec) -> Self:
        """Returns itself; raises UserError for a real-valued target or fewer than `k` classes."""
        classes = require_classes(self._name, target)
        if self.k > len(classes):
            raise FieldError("k", f"{self.k} is above the number of classes. Choose one from 1 to {len(classes)}.")
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in the batch, and the number with the true class among the top k."""
        top = jax.lax.top_k(class_scores(self._name, output, batch), self.k)[1]  # (B, …, k)
        return _count_hits(jnp.any(top == batch.target[..., None], axis=-1), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


@dataclass(frozen=True)
class TopKError(TopK):
    """Share of examples whose true class is not among the k most probable classes: 1 - top_k.

    Attributes:
        k: as in `TopK`.

    References:
        Krizhevsky et al., 2012: ImageNet classification with deep convolutional neural networks.
    """

    higher_is_better = False
    _name = "top_k_error"

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        return 1 - super().result(sums)


def _count_hits(hits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    """Counts the elements whose mask is true, and the hits among them; with weights, adds up the weights."""
    return {"hits": sum_elements(hits, batch), "examples": count_examples(batch)}
