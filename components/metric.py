"""Metrics of a whole split, computed from sums over its batches.

The sums count elements: examples, labels of examples, or pixels if the target is an image of classes. With
`batch.weight`, an element counts as often as the weight of its example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.types import Batch, Output, Range, TargetSpec, UserError, bind_fields


@dataclass(frozen=True)
class Accuracy:
    """Share of examples whose most probable class is the true class; of labels, the share that is predicted right.

    A single logit belongs to the second of two classes. A label is predicted where its logit is above 0.
    """

    higher_is_better = True
    collects = False  # `measure` returns sums. A metric that collects returns the rows of a batch, to be concatenated.

    def bind(self, target: TargetSpec) -> Accuracy:
        """Returns itself; raises UserError for a real-valued target."""
        if target.kind != "multilabel":
            _require_classes("accuracy", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements, or labels, in the batch and the number of correct predictions."""
        logits = _require_logits("accuracy", output)
        if logits.ndim > 1 and logits.shape == batch.target.shape:  # labels
            _require_integers("accuracy", batch.target)
            right = jnp.sum((logits > 0) == (batch.target == 1), axis=-1, dtype=jnp.int32)
            return {"hits": _sum_elements(right, batch), "examples": _count_examples(batch) * logits.shape[-1]}
        return _count_hits(jnp.argmax(_class_scores("accuracy", output, batch), axis=-1) == batch.target, batch)

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
        classes = _require_classes("top_k", target)
        if self.k > len(classes):
            raise UserError(
                f"top_k needs at least k={self.k} classes, got {len(classes)}. Choose k from 1 to {len(classes)}."
            )
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in the batch, and the number with the true class among the top k."""
        top = jax.lax.top_k(_class_scores("top_k", output, batch), self.k)[1]  # (B, …, k)
        return _count_hits(jnp.any(top == batch.target[..., None], axis=-1), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1."""
        return float(sums["hits"] / sums["examples"])


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
        _require_classes("mean_iou", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the sizes of the intersection and of the union of each class, (classes,)."""
        scores = _class_scores("mean_iou", output, batch)
        classes = scores.shape[-1]
        predicted = jax.nn.one_hot(jnp.argmax(scores, axis=-1), classes, dtype=bool)  # (B, …, classes)
        true = jax.nn.one_hot(batch.target, classes, dtype=bool)
        count = jax.vmap(lambda values: _sum_elements(values, batch), in_axes=-1)
        return {"intersection": count(predicted & true), "union": count(predicted | true)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a share between 0 and 1; NaN without any element."""
        occurs = sums["union"] > 0
        return float(np.mean(sums["intersection"][occurs] / sums["union"][occurs])) if occurs.any() else math.nan


@dataclass(frozen=True)
class MAE:
    """Mean absolute error over examples and outputs, in the unit of the target."""

    # The differences of two arrays in the unit of the target
    errors: Callable[[jax.Array, jax.Array], jax.Array] = field(default=jnp.subtract, init=False)
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> MAE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return bind_fields(self, errors=_require_real("mae", target).errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sums of their absolute errors, by size."""
        return _sum_powers(_compute_errors("mae", self.errors, output, batch), 1, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return _total(sums, 1) / float(sums["examples"])


@dataclass(frozen=True)
class RMSE:
    """Root mean squared error over examples and outputs, in the unit of the target."""

    # The differences of two arrays in the unit of the target
    errors: Callable[[jax.Array, jax.Array], jax.Array] = field(default=jnp.subtract, init=False)
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> RMSE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return bind_fields(self, errors=_require_real("rmse", target).errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sums of their squared errors, by size."""
        return _sum_powers(_compute_errors("rmse", self.errors, output, batch), 2, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return math.sqrt(_total(sums, 2) / float(sums["examples"]))


@dataclass(frozen=True, kw_only=True)
class ReconstructionError:
    """Mean over the examples of the reconstruction error that an architecture such as ReconstructingRegressor computes.

    Attributes:
        name: the name of the error in `Output.features`, (B,).
    """

    name: str = "reconstruction_error"
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> ReconstructionError:
        """Returns itself: any target will do."""
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their values."""
        if self.name not in output.features:
            hint = suggest_name(self.name, output.features)
            raise UserError(f"reconstruction_error: the architecture has no output {self.name}. {hint}")
        values = output.features[self.name]
        if values.shape[:1] != batch.present.shape:
            raise UserError(
                f"reconstruction_error needs a value for each example, ({len(batch.present)}, …), got {values.shape}."
            )
        every = batch._replace(masks={})
        return {
            "value": _sum_elements(_mean(values.astype(jnp.float32)), every),
            "examples": _sum_elements(jnp.ones(batch.present.shape, bool), every),
        }

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the mean."""
        return float(sums["value"] / sums["examples"])


def _require_classes(metric: str, target: TargetSpec) -> tuple[str, ...]:
    if target.classes is None:
        raise UserError(f"{metric} needs a target with classes, got a real-valued target. Choose rmse or mae.")
    if target.kind == "multilabel":
        raise UserError(f"{metric} needs a target with one class, got a multilabel target. Choose accuracy.")
    return target.classes


def _require_real(metric: str, target: TargetSpec) -> TargetSpec:
    if target.classes is not None:
        kind = "multilabel " if target.kind == "multilabel" else ""
        raise UserError(
            f"{metric} needs a real-valued target, got a {kind}target with {len(target.classes)} classes. "
            "Choose accuracy."
        )
    return target


def _require_logits(metric: str, output: Output) -> jax.Array:
    if output.logits is None:
        raise UserError(f"{metric} needs logits, but the architecture returns none. Choose no metrics.")
    return output.logits


def _require_integers(metric: str, target: jax.Array) -> None:
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise UserError(f"{metric} needs a target of classes, int32, got {target.dtype} {target.shape}.")


def _class_scores(metric: str, output: Output, batch: Batch) -> jax.Array:
    """Returns a score for each class, (B, …, classes). With a single logit, the first class has the score 0.

    Raises UserError unless the target holds a class id for each vector of scores.
    """
    logits = _require_logits(metric, output)
    _require_integers(metric, batch.target)
    if not logits.ndim or logits.shape[:-1] != batch.target.shape:
        raise UserError(
            f"{metric} needs a class id, int32 {logits.shape[:-1]}, for the logits {logits.shape}, got "
            f"{batch.target.dtype} {batch.target.shape}."
        )
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def _compute_errors(
    metric: str, errors: Callable[[jax.Array, jax.Array], jax.Array], output: Output, batch: Batch
) -> jax.Array:
    """Returns the errors (B, …, outputs). For a real-valued target, the logits are the scaled predictions."""
    predictions, target = _require_logits(metric, output), batch.target
    if predictions.shape != target.shape or not jnp.issubdtype(target.dtype, jnp.floating):
        raise UserError(
            f"{metric} needs a target of floats {predictions.shape}, the shape of the predictions, got {target.dtype} "
            f"{target.shape}."
        )
    return errors(predictions.astype(jnp.float32), target.astype(jnp.float32))


def _count_hits(hits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    """Counts the elements whose mask is true, and the hits among them; with weights, adds up the weights."""
    return {"hits": _sum_elements(hits, batch), "examples": _count_examples(batch)}


SCALES = {"error": 0, "large_error": -96, "small_error": 96}
"""The exponents of the powers of two that scale errors before they are squared or added, by the name of their sum."""


def _sum_powers(errors: jax.Array, power: int, batch: Batch) -> Mapping[str, jax.Array]:
    """Sums the powers of errors (B, …) in float32, which can't hold the square of 1e30.

    Like `dnrm2` of LAPACK, it sums ordinary, large and small errors apart, scaled so that no power overflows or
    underflows (Blue, 1978: A portable Fortran program to find the Euclidean norm of a vector). `_total` adds the three.
    """
    size = jnp.abs(errors)
    is_large, is_small = size >= 2.0**50, size < 2.0**-50
    chosen = {"error": ~is_large & ~is_small, "large_error": is_large, "small_error": is_small}
    sums = {}
    for name, exponent in SCALES.items():
        scaled = jnp.where(chosen[name], size * 2.0**exponent, 0)
        sums[name] = _sum_elements(_mean(scaled**power), batch)
    return {**sums, "examples": _count_examples(batch)}


def _total(sums: Mapping[str, np.ndarray], power: int) -> float:
    """The sum of the powers, from the sums of `_sum_powers`. Checkpoints of earlier versions have `error` only."""
    exponents = {name: exponent for name, exponent in SCALES.items() if name in sums}
    return sum(float(sums[name]) * 2.0 ** (-power * exponent) for name, exponent in exponents.items())


def _mean(values: jax.Array) -> jax.Array:
    """The mean over all axes but the first."""
    return values.mean(tuple(range(1, values.ndim)))


def _count_examples(batch: Batch) -> jax.Array:
    return _sum_elements(jnp.ones(batch.mask.shape, bool), batch)


def _sum_elements(values: jax.Array, batch: Batch) -> jax.Array:
    """The sum over the elements whose mask is true, with the weights of examples; int32 for bools without weights."""
    if batch.weight is not None:
        axes = (1,) * (values.ndim - 1)  # of pixels
        values = values.astype(jnp.float32) * batch.weight.reshape(-1, *axes)
    if values.dtype == bool:
        return jnp.sum(values & batch.mask, dtype=jnp.int32)
    return jnp.sum(jnp.where(batch.mask, values, jnp.zeros_like(values)))
