"""Metrics of a whole split, computed from sums over its batches.

The sums count elements: examples, labels of examples, or pixels if the target is an image of classes. With
`batch.weight`, an element counts as often as the weight of its example.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
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
        if target.kind != "multilabel":
            _require_classes("accuracy", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements, or labels, in the batch and the number of correct predictions."""
        logits = _require_logits(output)
        if logits.shape == batch.target.shape:  # labels
            right = jnp.sum((logits > 0) == (batch.target == 1), axis=-1, dtype=jnp.int32)
            return {"hits": _sum_elements(right, batch), "examples": _count_examples(batch) * logits.shape[-1]}
        return _count_hits(jnp.argmax(_class_scores(output), axis=-1) == batch.target, batch)

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
        top = jax.lax.top_k(_class_scores(output), self.k)[1]  # (B, …, k)
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
        scores = _class_scores(output)
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

    errors: Callable[[jax.Array, jax.Array], jax.Array] = jnp.subtract  # in the unit of the target; set by `bind`
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> MAE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return dataclasses.replace(self, errors=_require_real("mae", target).errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their absolute errors."""
        return _sum_errors(jnp.abs(_compute_errors(self.errors, output, batch)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return float(sums["error"] / sums["examples"])


@dataclass(frozen=True)
class RMSE:
    """Root mean squared error over examples and outputs, in the unit of the target."""

    errors: Callable[[jax.Array, jax.Array], jax.Array] = jnp.subtract  # in the unit of the target; set by `bind`
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> RMSE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return dataclasses.replace(self, errors=_require_real("rmse", target).errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their squared errors."""
        return _sum_errors(jnp.square(_compute_errors(self.errors, output, batch)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return math.sqrt(sums["error"] / sums["examples"])


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
        values = output.features[self.name].astype(jnp.float32)
        return {
            "value": _sum_elements(values.mean(tuple(range(1, values.ndim))), batch._replace(masks={})),
            "examples": _sum_elements(jnp.ones(batch.present.shape, bool), batch._replace(masks={})),
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


def _require_logits(output: Output) -> jax.Array:
    if output.logits is None:
        raise UserError("a metric needs logits, but the architecture returns none. Choose no metrics.")
    return output.logits


def _class_scores(output: Output) -> jax.Array:
    """Returns a score for each class, (B, …, classes). With a single logit, the first class has the score 0."""
    logits = _require_logits(output)
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def _compute_errors(errors: Callable[[jax.Array, jax.Array], jax.Array], output: Output, batch: Batch) -> jax.Array:
    """Returns the errors (B, …, outputs). For a real-valued target, the logits are the scaled predictions."""
    predictions = _require_logits(output)
    if predictions.shape != batch.target.shape:
        raise UserError(f"the predictions {predictions.shape} and the target {batch.target.shape} differ in shape.")
    return errors(predictions, batch.target)


def _count_hits(hits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    """Counts the elements whose mask is true, and the hits among them; with weights, adds up the weights."""
    if hits.shape != batch.mask.shape:
        raise UserError(f"the predictions {hits.shape} and the target {batch.mask.shape} differ in shape.")
    return {"hits": _sum_elements(hits, batch), "examples": _count_examples(batch)}


def _sum_errors(errors: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    mean = errors.astype(jnp.float32).mean(tuple(range(1, errors.ndim)))
    return {"error": _sum_elements(mean, batch), "examples": _count_examples(batch)}


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
