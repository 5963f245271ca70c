"""Metrics of a whole split, from sums over its batches. The weights of examples do not count."""

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
    """Share of examples whose most probable class is right; a single logit is that of the second of two classes."""

    higher_is_better = True
    needs_rows = False

    def bind(self, target: BoundTarget) -> Accuracy:
        """Returns itself; raises UserError for a real-valued target."""
        _classes("accuracy", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, and of right ones."""
        return _shares(jnp.argmax(_scores(output), axis=1) == batch.target, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the share, between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


@dataclass(frozen=True)
class TopK:
    """Share of examples whose class is among the k most probable ones; of equal classes, the first comes first.

    Attributes:
        k: number of classes, at least 1 and at most the number of classes of the target.
    """

    k: Annotated[int, Range(1)]
    higher_is_better = True
    needs_rows = False

    def bind(self, target: BoundTarget) -> TopK:
        """Returns itself; raises UserError for a real-valued target or fewer than `k` classes."""
        classes = _classes("top_k", target)
        if self.k > len(classes):
            raise UserError(f"top_k.k is {self.k}, the target has {len(classes)} classes: choose k of at most that")
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, and of those whose class is among the most probable ones."""
        top = jax.lax.top_k(_scores(output), self.k)[1]  # (B, k)
        return _shares(jnp.any(top == batch.target[:, None], axis=1), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the share, between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


@dataclass(frozen=True)
class MAE:
    """Mean absolute error over examples and outputs, in the unit of the target."""

    decode: Callable[[jax.Array], jax.Array] = _identity  # undoes the scaling of the target; `bind` sets it
    higher_is_better = False
    needs_rows = False

    def bind(self, target: BoundTarget) -> MAE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target of classes."""
        return dataclasses.replace(self, decode=_numbers("mae", target).decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, and the sum of their errors."""
        return _errors(jnp.abs(_difference(self.decode, output, batch)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the error, 0 or more."""
        return float(sums["error"] / sums["examples"])


@dataclass(frozen=True)
class RMSE:
    """Root of the mean squared error over examples and outputs, in the unit of the target."""

    decode: Callable[[jax.Array], jax.Array] = _identity  # undoes the scaling of the target; `bind` sets it
    higher_is_better = False
    needs_rows = False

    def bind(self, target: BoundTarget) -> RMSE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target of classes."""
        return dataclasses.replace(self, decode=_numbers("rmse", target).decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, and the sum of their squared errors."""
        return _errors(jnp.square(_difference(self.decode, output, batch)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the error, 0 or more."""
        return math.sqrt(sums["error"] / sums["examples"])


def _classes(metric: str, target: BoundTarget) -> tuple[str, ...]:
    if target.classes is None:
        raise UserError(f"{metric} needs classes, the target is real-valued: choose metric=[rmse] or metric=[mae]")
    return target.classes


def _numbers(metric: str, target: BoundTarget) -> BoundTarget:
    if target.classes is not None:
        raise UserError(
            f"{metric} needs a real-valued target, this one has {len(target.classes)} classes: choose metric=[accuracy]"
        )
    return target


def _logits(output: Output) -> jax.Array:
    if output.logits is None:
        raise UserError("the architecture gives no logits, which this metric needs: choose metric=[]")
    return output.logits


def _scores(output: Output) -> jax.Array:
    """Returns a score for each class, (B, classes); with a single logit, the first class has the score 0."""
    logits = _logits(output)
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=1) if logits.shape[1] == 1 else logits


def _difference(decode: Callable[[jax.Array], jax.Array], output: Output, batch: Batch) -> jax.Array:
    return decode(_logits(output)) - decode(batch.target)  # (B, outputs)


def _shares(hits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    return {"hits": jnp.sum(hits & batch.mask, dtype=jnp.int32), "examples": _examples(batch)}


def _errors(errors: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    mean = errors.astype(jnp.float32).mean(1)
    return {"error": jnp.sum(jnp.where(batch.mask, mean, jnp.zeros_like(mean))), "examples": _examples(batch)}


def _examples(batch: Batch) -> jax.Array:
    return jnp.sum(batch.mask, dtype=jnp.int32)
