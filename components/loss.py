"""Losses: one float32 value for each example. The program multiplies them by the weights of examples and averages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.types import BoundTarget, Range, Scalar, UserError


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Softmax cross-entropy with optional label smoothing: (B, classes), (B,) int32 -> (B,).

    loss = -sum over classes of q * log softmax(logits), where q is 1 for the true class and 0 for all others.

    Attributes:
        label_smoothing: s in [0, 1). q becomes 1 - s + s / classes for the true class and s / classes for all others
            (Szegedy et al., 2016). None: no smoothing.
    """

    label_smoothing: Annotated[Scalar, Range(0, 1, "[)")] | None = None

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_require_classes("softmax_cross_entropy", target))

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        costs = -self._log_probabilities(logits.astype(jnp.float32))
        true_costs = jnp.take_along_axis(costs, target[:, None], axis=1)[:, 0]
        if self.label_smoothing is None:
            return true_costs
        smoothing = jnp.asarray(self.label_smoothing, jnp.float32)
        return (1 - smoothing) * true_costs + smoothing * costs.mean(1)

    def _log_probabilities(self, logits: jax.Array) -> jax.Array:
        """Returns the logarithm of the probability of each class: (B, classes) -> (B, classes)."""
        return jax.nn.log_softmax(logits)


@dataclass(frozen=True)
class LeNet5_1998(SoftmaxCrossEntropy):  # noqa: N801
    """Softmax cross-entropy with a garbage class, for LeNet-5 of 1998: (B, classes), (B,) int32 -> (B,).

    loss = y_true + log(exp(-j) + sum over classes of exp(-y)), with penalties y = -logits. The garbage class has the
    constant penalty j. No example belongs to it, and label smoothing ignores it.

    Attributes:
        label_smoothing: as in `SoftmaxCrossEntropy`.
        garbage_penalty: j, 0 or more. The paper asks for a positive constant, without a value.

    References:
        LeCun et al., 1998: Gradient-based learning applied to document recognition, equation 9.
    """

    garbage_penalty: Annotated[Scalar, Range(0)] = 10.0

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_require_classes("lenet5_1998", target))

    def _log_probabilities(self, logits: jax.Array) -> jax.Array:
        garbage = jnp.broadcast_to(-jnp.asarray(self.garbage_penalty, jnp.float32), (len(logits), 1))
        return jax.nn.log_softmax(jnp.concatenate([logits, garbage], axis=1))[:, :-1]


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy: (B, 1), (B,) int32 -> (B,).

    loss = log(1 + exp(-logit)) for the second class, and log(1 + exp(logit)) for the first class.
    """

    def outputs(self, target: BoundTarget) -> int:
        """Returns 1; raises UserError unless the target has two classes."""
        classes = _require_classes("binary_cross_entropy", target)
        if len(classes) != 2:
            raise UserError(
                f"binary_cross_entropy needs a target of two classes, got {len(classes)}. Choose softmax_cross_entropy."
            )
        return 1

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        logit = logits[:, 0].astype(jnp.float32)
        return jax.nn.softplus(jnp.where(target == 1, -logit, logit))


@dataclass(frozen=True)
class MSE:
    """Squared error, averaged over the outputs of an example: (B, outputs), (B, outputs) -> (B,)."""

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of outputs; raises UserError for a target with classes."""
        return _require_real("mse", target).outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.square(_error(logits, target)).mean(1)


@dataclass(frozen=True)
class MAE:
    """Absolute error, averaged over the outputs of an example: (B, outputs), (B, outputs) -> (B,)."""

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of outputs; raises UserError for a target with classes."""
        return _require_real("mae", target).outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.abs(_error(logits, target)).mean(1)


@dataclass(frozen=True)
class Huber:
    """Huber loss, averaged over the outputs of an example: (B, outputs), (B, outputs) -> (B,).

    loss = error² / 2 where |error| <= delta, and delta * (|error| - delta / 2) elsewhere.

    Attributes:
        delta: threshold in the unit of the scaled target, above 0.

    References:
        Huber, 1964: Robust estimation of a location parameter.
    """

    delta: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of outputs; raises UserError for a target with classes."""
        return _require_real("huber", target).outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        delta = jnp.asarray(self.delta, jnp.float32)
        error = jnp.abs(_error(logits, target))
        clipped = jnp.minimum(error, delta)
        return (clipped * (error - clipped / 2)).mean(1)  # both cases of the definition in one expression


def _require_classes(loss: str, target: BoundTarget) -> tuple[str, ...]:
    if target.classes is None:
        raise UserError(f"{loss} needs a target with classes, got a real-valued target. Choose mse, mae or huber.")
    return target.classes


def _require_real(loss: str, target: BoundTarget) -> BoundTarget:
    if target.classes is not None:
        losses = "softmax_cross_entropy" + (" or binary_cross_entropy" if len(target.classes) == 2 else "")
        raise UserError(
            f"{loss} needs a real-valued target, got a target with {len(target.classes)} classes. Choose {losses}."
        )
    return target


def _error(logits: jax.Array, target: jax.Array) -> jax.Array:
    return logits.astype(jnp.float32) - target.astype(jnp.float32)
