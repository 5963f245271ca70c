"""What metrics share: checks of targets and logits, scores of classes, and sums over the elements that count."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from components.types import Batch, Output, TargetSpec, UserError


def require_classes(metric: str, target: TargetSpec) -> tuple[str, ...]:
    """The classes of a target. Raises UserError for a real-valued or multilabel target."""
    classes = require_categories(metric, target)
    if target.kind == "multilabel":
        raise UserError(f"{metric} needs a target of classes, got a multilabel target. Choose accuracy.")
    return classes


def require_categories(metric: str, target: TargetSpec) -> tuple[str, ...]:
    """The classes or labels of a target. Raises UserError for a real-valued target."""
    if target.classes is None:
        raise UserError(f"{metric} needs a target with classes, got a real-valued target. Choose rmse or mae.")
    return target.classes


def require_real(metric: str, target: TargetSpec) -> TargetSpec:
    """The target. Raises UserError for a target with classes or labels."""
    if target.classes is not None:
        kind = "multilabel " if target.kind == "multilabel" else ""
        raise UserError(
            f"{metric} needs a real-valued target, got a {kind}target with {len(target.classes)} classes. "
            "Choose accuracy."
        )
    return target


def require_logits(metric: str, output: Output) -> jax.Array:
    """The logits. Raises UserError if the architecture returns none."""
    if output.logits is None:
        raise UserError(f"{metric} needs logits, but the architecture returns none. Choose no metrics.")
    return output.logits


def has_labels(metric: str, output: Output, batch: Batch) -> bool:
    """Whether there is a logit for each element of the target, as for labels. Raises UserError for other types."""
    logits = require_logits(metric, output)
    if not jnp.issubdtype(batch.target.dtype, jnp.integer):
        raise UserError(f"{metric} needs a target of classes, int32, got {batch.target.dtype} {batch.target.shape}.")
    return logits.ndim > 1 and logits.shape == batch.target.shape


def class_scores(metric: str, output: Output, batch: Batch) -> jax.Array:
    """A score for each class, (B, …, classes). With a single logit, the first class has the score 0.

    Raises UserError unless the target holds a class id for each vector of scores.
    """
    has_labels(metric, output, batch)
    logits = require_logits(metric, output)
    if not logits.ndim or logits.shape[:-1] != batch.target.shape:
        raise UserError(
            f"{metric} needs a class id, int32 {logits.shape[:-1]}, for the logits {logits.shape}, got "
            f"{batch.target.dtype} {batch.target.shape}."
        )
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def count_examples(batch: Batch) -> jax.Array:
    """The number of elements whose mask is true; with weights, their sum."""
    return sum_elements(jnp.ones(batch.mask.shape, bool), batch)


def sum_elements(values: jax.Array, batch: Batch) -> jax.Array:
    """The sum over the elements whose mask is true, with the weights of examples; int32 for bools without weights."""
    if batch.weight is not None:
        axes = (1,) * (values.ndim - 1)  # of pixels
        values = values.astype(jnp.float32) * batch.weight.reshape(-1, *axes)
    if values.dtype == bool:
        return jnp.sum(values & batch.mask, dtype=jnp.int32)
    return jnp.sum(jnp.where(batch.mask, values, jnp.zeros_like(values)))


def row_weights(batch: Batch) -> jax.Array:
    """The weight of each element, float32 in the shape of the mask: 0 where its target is missing or it is padding."""
    if batch.weight is None:
        return batch.mask.astype(jnp.float32)
    return jnp.where(batch.mask, batch.weight.reshape(-1, *(1,) * (batch.mask.ndim - 1)), 0)
