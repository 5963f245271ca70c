"""Losses: one float32 value for each example, or for each pixel. The program weighs and averages them.

Below, `…` stands for the axes of pixels: none for a class or numbers of an example, (H, W) for images of classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.types import Batch, Output, Range, Scalar, TargetSpec, UserError, get_only


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Softmax cross-entropy with optional label smoothing: (B, …, classes), (B, …) int32 -> (B, …).

    loss = -sum over classes of q * log softmax(logits), where q is 1 for the true class and 0 for all others, or the
    probability of each class where an augmentation has mixed examples.

    Attributes:
        label_smoothing: s in [0, 1). q becomes (1 - s) * q + s / classes (Szegedy et al., 2016). None: no smoothing.
    """

    label_smoothing: Annotated[Scalar, Range(0, 1, "[)")] | None = None

    def outputs(self, target: TargetSpec) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_require_classes("softmax_cross_entropy", target))

    def __call__(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None = None) -> jax.Array:
        _require_ids("softmax_cross_entropy", logits, target)
        _require_probabilities("softmax_cross_entropy", soft, logits.shape)
        costs = -self._log_probabilities(logits.astype(jnp.float32))  # of each class
        if soft is None:
            true_costs = jnp.take_along_axis(costs, target[..., None], axis=-1)[..., 0]
        else:
            true_costs = (soft * costs).sum(-1)
        if self.label_smoothing is None:
            return true_costs
        smoothing = jnp.asarray(self.label_smoothing, jnp.float32)
        return (1 - smoothing) * true_costs + smoothing * costs.mean(-1)

    def _log_probabilities(self, logits: jax.Array) -> jax.Array:
        """Returns the logarithm of the probability of each class: (B, …, classes) -> (B, …, classes)."""
        return jax.nn.log_softmax(logits)


@dataclass(frozen=True)
class LeNet5_1998(SoftmaxCrossEntropy):  # noqa: N801
    """Softmax cross-entropy with a garbage class, for LeNet-5 of 1998: (B, …, classes), (B, …) int32 -> (B, …).

    loss = y_true + log(exp(-j) + sum over classes of exp(-y)), with penalties y = -logits. The garbage class has the
    constant penalty j. No example belongs to it, and label smoothing ignores it.

    Attributes:
        label_smoothing: as in `SoftmaxCrossEntropy`.
        garbage_penalty: j, 0 or more. The paper asks for a positive constant, without a value.

    References:
        LeCun et al., 1998: Gradient-based learning applied to document recognition, equation 9.
    """

    garbage_penalty: Annotated[Scalar, Range(0)] = 10.0

    def outputs(self, target: TargetSpec) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_require_classes("lenet5_1998", target))

    def _log_probabilities(self, logits: jax.Array) -> jax.Array:
        garbage = jnp.broadcast_to(-jnp.asarray(self.garbage_penalty, jnp.float32), (*logits.shape[:-1], 1))
        return jax.nn.log_softmax(jnp.concatenate([logits, garbage], axis=-1))[..., :-1]


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Distillation of a teacher: logits (B, …, classes), target (B, …) int32 -> (B, …).

    loss = (1 - share) * cross-entropy(q, p(logits)) + share * T^2 * KL(p(teacher / T) || p(logits / T))

    p is the softmax. q is 1 for the true class and 0 for all others, or the probability of each class where an
    augmentation has mixed examples. The factor T^2 makes the gradient's size independent of T.

    Attributes:
        share: the share of the teacher's term, in [0, 1]. With 0, the teacher has no influence.
        temperature: T, above 0. A higher one shows more of how the teacher ranks the wrong classes.

    References:
        Hinton et al., 2015: Distilling the knowledge in a neural network.
    """

    share: Annotated[Scalar, Range(0, 1)] = 0.5
    temperature: Annotated[Scalar, Range(0, math.inf, "()")] = 4.0
    needs_teacher = True

    def outputs(self, target: TargetSpec) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_require_classes("distillation", target))

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        if not batch.teacher:
            raise UserError("distillation needs the logits of a teacher, got none. Choose teacher=run.")
        if output.logits is None:
            raise UserError("distillation needs logits, but the architecture returns none. Choose one with a head.")
        teacher_logits = get_only(batch.teacher, "teacher", "Batch.teacher")
        _require_ids("distillation", output.logits, batch.target)
        if teacher_logits.shape != output.logits.shape:
            raise UserError(
                f"distillation needs logits of the teacher {output.logits.shape}, as of the student, got "
                f"{teacher_logits.shape}. Choose a teacher with the same classes."
            )
        logits, soft = output.logits.astype(jnp.float32), next(iter(batch.soft.values()), None)
        temperature, share = (jnp.asarray(number, jnp.float32) for number in (self.temperature, self.share))
        of_target = SoftmaxCrossEntropy()(logits, batch.target, soft)
        teacher = jax.nn.log_softmax(teacher_logits.astype(jnp.float32) / temperature)
        student = jax.nn.log_softmax(logits / temperature)
        divergence = (jnp.exp(teacher) * (teacher - student)).sum(-1)
        return (1 - share) * of_target + share * jnp.square(temperature) * divergence


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy: (B, …, 1), (B, …) int32 -> (B, …); of labels: (B, classes), (B, classes) int32 -> (B,).

    loss = log(1 + exp(-logit)) for the second class, and log(1 + exp(logit)) for the first class. Where an augmentation
    has mixed examples, loss = log(1 + exp(logit)) - p * logit with the probability p of the second class. The loss of
    labels is the mean over the classes, where the second class is to have the label.
    """

    def outputs(self, target: TargetSpec) -> int:
        """Returns 1 for a target of two classes, and the number of classes for labels; raises UserError for others."""
        if target.kind == "multilabel":
            return target.outputs
        classes = _require_classes("binary_cross_entropy", target)
        if len(classes) != 2:
            raise UserError(
                f"binary_cross_entropy needs a target of two classes, got {len(classes)}. Choose softmax_cross_entropy."
            )
        return 1

    def __call__(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None = None) -> jax.Array:
        has_labels = logits.ndim > 1 and target.shape == logits.shape and jnp.issubdtype(target.dtype, jnp.integer)
        if not has_labels:
            _require_ids("binary_cross_entropy", logits, target)
            if logits.shape[-1] != 1:
                raise UserError(
                    f"binary_cross_entropy needs one logit for a class id, got the logits {logits.shape}. "
                    "Choose softmax_cross_entropy, or an architecture with one output."
                )
        _require_probabilities("binary_cross_entropy", soft, target.shape if has_labels else (*target.shape, 2))
        if not has_labels:
            logits, soft = logits[..., 0], None if soft is None else soft[..., 1]
        logits = logits.astype(jnp.float32)
        if soft is None:
            losses = jax.nn.softplus(jnp.where(target == 1, -logits, logits))
        else:
            losses = jax.nn.softplus(logits) - soft * logits
        return losses.mean(-1) if has_labels else losses


@dataclass(frozen=True)
class MSE:
    """Squared error, averaged over the numbers of an example: (B, …, outputs), (B, …, outputs) -> (B,)."""

    def outputs(self, target: TargetSpec) -> int:
        """Returns the number of outputs; raises UserError for a target with classes."""
        return _require_real("mse", target).outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return _mean(jnp.square(_error("mse", logits, target)))


@dataclass(frozen=True)
class MAE:
    """Absolute error, averaged over the numbers of an example: (B, …, outputs), (B, …, outputs) -> (B,)."""

    def outputs(self, target: TargetSpec) -> int:
        """Returns the number of outputs; raises UserError for a target with classes."""
        return _require_real("mae", target).outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return _mean(jnp.abs(_error("mae", logits, target)))


@dataclass(frozen=True)
class Huber:
    """Huber loss, averaged over the numbers of an example: (B, …, outputs), (B, …, outputs) -> (B,).

    loss = error² / 2 where |error| <= delta, and delta * (|error| - delta / 2) elsewhere.

    Attributes:
        delta: threshold in the unit of the scaled target, above 0.

    References:
        Huber, 1964: Robust estimation of a location parameter.
    """

    delta: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0

    def outputs(self, target: TargetSpec) -> int:
        """Returns the number of outputs; raises UserError for a target with classes."""
        return _require_real("huber", target).outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        delta = jnp.asarray(self.delta, jnp.float32)
        error = jnp.abs(_error("huber", logits, target))
        clipped = jnp.minimum(error, delta)
        return _mean(clipped * (error - clipped / 2))  # both cases of the definition in one expression


def _require_classes(loss: str, target: TargetSpec) -> tuple[str, ...]:
    if target.classes is None:
        raise UserError(f"{loss} needs a target with classes, got a real-valued target. Choose mse, mae or huber.")
    if target.kind == "multilabel":
        raise UserError(f"{loss} needs a target with one class, got a multilabel target. Choose binary_cross_entropy.")
    return target.classes


def _require_real(loss: str, target: TargetSpec) -> TargetSpec:
    if target.classes is not None:
        losses = "softmax_cross_entropy" + (" or binary_cross_entropy" if len(target.classes) == 2 else "")
        losses, kind = ("binary_cross_entropy", "multilabel ") if target.kind == "multilabel" else (losses, "")
        raise UserError(
            f"{loss} needs a real-valued target, got a {kind}target with {len(target.classes)} classes. "
            f"Choose {losses}."
        )
    return target


def _require_ids(loss: str, logits: jax.Array, target: jax.Array) -> None:
    """Raises UserError unless the target holds a class id for each vector of logits."""
    if not logits.ndim or not jnp.issubdtype(target.dtype, jnp.integer) or target.shape != logits.shape[:-1]:
        raise UserError(
            f"{loss} needs a class id, int32 {logits.shape[:-1]}, for the logits {logits.shape}, got {target.dtype} "
            f"{target.shape}. Choose a target with classes, or an architecture with logits of the right shape."
        )


def _require_probabilities(loss: str, soft: jax.Array | None, shape: tuple[int, ...]) -> None:
    """Raises UserError for probabilities of mixed classes of another shape; None: there are none."""
    if soft is not None and soft.shape != shape:
        raise UserError(f"{loss} needs the probability of each class, float32 {shape}, got {soft.dtype} {soft.shape}.")


def _error(loss: str, logits: jax.Array, target: jax.Array) -> jax.Array:
    """The difference of each number; raises UserError if the shapes differ."""
    if not jnp.issubdtype(target.dtype, jnp.floating) or target.shape != logits.shape:
        raise UserError(
            f"{loss} needs a target of floats {logits.shape}, the shape of the predictions, got {target.dtype} "
            f"{target.shape}. Choose a real-valued target, or an architecture with predictions of the right shape."
        )
    return logits.astype(jnp.float32) - target.astype(jnp.float32)


def _mean(errors: jax.Array) -> jax.Array:
    """The mean over all axes but the first."""
    return errors.mean(tuple(range(1, errors.ndim)))
