"""Metrics of classes that sum a number for each element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import (
    class_scores,
    count_examples,
    has_labels,
    require_categories,
    require_classes,
    require_logits,
    sum_elements,
)
from components.types import Batch, Output, Range, TargetSpec, UserError


@dataclass(frozen=True)
class Accuracy:
    """Share of examples whose most probable class is the true class; of labels, the share that is predicted right.

    A single logit belongs to the second of two classes. A label is predicted where its logit is above 0.
    """

    higher_is_better = True
    collects = False  # `measure` returns sums. A metric that collects returns the rows of a batch, to be concatenated.

    def bind(self, target: TargetSpec) -> Accuracy:
        """Returns itself; raises UserError for a real-valued target."""
        require_categories("accuracy", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements, or labels, in the batch and the number of correct predictions."""
        if has_labels("accuracy", output, batch):
            logits = require_logits("accuracy", output)
            right = jnp.sum((logits > 0) == (batch.target == 1), axis=-1, dtype=jnp.int32)
            return {"hits": sum_elements(right, batch), "examples": count_examples(batch) * logits.shape[-1]}
        return _count_hits(jnp.argmax(class_scores("accuracy", output, batch), axis=-1) == batch.target, batch)

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
    higher_is_better = True
    collects = False

    def bind(self, target: TargetSpec) -> TopK:
        """Returns itself; raises UserError for a real-valued target or fewer than `k` classes."""
        classes = require_classes("top_k", target)
        if self.k > len(classes):
            raise UserError(
                f"top_k needs at least k={self.k} classes, got {len(classes)}. Choose k from 1 to {len(classes)}."
            )
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in the batch, and the number with the true class among the top k."""
        top = jax.lax.top_k(class_scores("top_k", output, batch), self.k)[1]  # (B, …, k)
        return _count_hits(jnp.any(top == batch.target[..., None], axis=-1), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


@dataclass(frozen=True)
class LogLoss:
    """Mean of -log(probability of the true class), where the softmax of the logits gives the probabilities.

    It is computed from the logits, so no probability is clipped. A single logit belongs to the second of two classes.
    Unlike the loss of a run, it has no label smoothing and no weights of classes.
    """

    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> LogLoss:
        """Returns itself; raises UserError for a real-valued or multilabel target."""
        require_classes("log_loss", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in the batch, and the sum of their losses."""
        costs = -jax.nn.log_softmax(class_scores("log_loss", output, batch).astype(jnp.float32))
        true = jnp.take_along_axis(costs, batch.target[..., None], axis=-1)[..., 0]
        return {"log_loss": sum_elements(true, batch), "examples": count_examples(batch)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a loss, 0 or more."""
        return float(sums["log_loss"] / sums["examples"])


def _count_hits(hits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    """Counts the elements whose mask is true, and the hits among them; with weights, adds up the weights."""
    return {"hits": sum_elements(hits, batch), "examples": count_examples(batch)}
