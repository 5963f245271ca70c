"""Metrics of a whole split, computed from sums over its batches. Metrics ignore the weights of examples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Batch, BoundTarget, Output, Range, UserError


def _identity(values: jax.Array) -> jax.Array:
    return values


@dataclass(frozen=True)
class Accuracy:
    """Share of examples whose most probable class is the true class.

    A single logit belongs to the second of two classes.
    """

    higher_is_better = True
    collects = False  # `measure` returns sums. A metric that collects returns the rows of a batch, to be concatenated.

    def bind(self, target: BoundTarget) -> Accuracy:
        """Returns itself; raises UserError for a real-valued target."""
        _require_classes("accuracy", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the number of correct predictions."""
        return _count_hits(jnp.argmax(_class_scores(output), axis=1) == batch.target, batch)

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

    def bind(self, target: BoundTarget) -> TopK:
        """Returns itself; raises UserError for a real-valued target or fewer than `k` classes."""
        classes = _require_classes("top_k", target)
        if self.k > len(classes):
            raise UserError(
                f"top_k needs at least k={self.k} classes, got {len(classes)}. Choose k from 1 to {len(classes)}."
            )
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, and the number with the true class among the top k."""
        top = jax.lax.top_k(_class_scores(output), self.k)[1]  # (B, k)
        return _count_hits(jnp.any(top == batch.target[:, None], axis=1), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


@dataclass(frozen=True)
class MAE:
    """Mean absolute error over examples and outputs, in the unit of the target."""

    decode: Callable[[jax.Array], jax.Array] = _identity  # undoes the scaling of the target; set by `bind`
    higher_is_better = False
    collects = False

    def bind(self, target: BoundTarget) -> MAE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return dataclasses.replace(self, decode=_require_real("mae", target).decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their absolute errors."""
        return _sum_errors(jnp.abs(_difference(self.decode, output, batch)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return float(sums["error"] / sums["examples"])


@dataclass(frozen=True)
class RMSE:
    """Root mean squared error over examples and outputs, in the unit of the target."""

    decode: Callable[[jax.Array], jax.Array] = _identity  # undoes the scaling of the target; set by `bind`
    higher_is_better = False
    collects = False

    def bind(self, target: BoundTarget) -> RMSE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return dataclasses.replace(self, decode=_require_real("rmse", target).decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their squared errors."""
        return _sum_errors(jnp.square(_difference(self.decode, output, batch)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return math.sqrt(sums["error"] / sums["examples"])


def _require_classes(metric: str, target: BoundTarget) -> tuple[str, ...]:
    if target.classes is None:
        raise UserError(f"{metric} needs a target with classes, got a real-valued target. Choose rmse or mae.")
    return target.classes


def _require_real(metric: str, target: BoundTarget) -> BoundTarget:
    if target.classes is not None:
        raise UserError(
            f"{metric} needs a real-valued target, got a target with {len(target.classes)} classes. Choose accuracy."
        )
    return target


def _require_logits(output: Output) -> jax.Array:
    if output.logits is None:
        raise UserError("a metric needs logits, but the architecture returns none. Choose no metrics.")
    return output.logits


def _class_scores(output: Output) -> jax.Array:
    """Returns a score for each class, (B, classes). With a single logit, the first class has the score 0."""
    logits = _require_logits(output)
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=1) if logits.shape[1] == 1 else logits


def _difference(decode: Callable[[jax.Array], jax.Array], output: Output, batch: Batch) -> jax.Array:
    """Returns the errors (B, outputs). For a real-valued target, the logits are the scaled predictions."""
    return decode(_require_logits(output)) - decode(batch.target)


def _count_hits(hits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    return {"hits": jnp.sum(hits & batch.mask, dtype=jnp.int32), "examples": _count_examples(batch)}


def _sum_errors(errors: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    mean = errors.astype(jnp.float32).mean(1)
    return {"error": jnp.sum(jnp.where(batch.mask, mean, jnp.zeros_like(mean))), "examples": _count_examples(batch)}


def _count_examples(batch: Batch) -> jax.Array:
    return jnp.sum(batch.mask, dtype=jnp.int32)
