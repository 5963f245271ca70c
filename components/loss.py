"""Losses: one float32 value for each example. The program weighs and averages them."""

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

    loss = -sum over classes of q * log softmax(logits), where q is 1 for the right class and 0 for the others.

    Attributes:
        label_smoothing: s in [0, 1): q is 1 - s + s / classes for the right class, s / classes for the others (Szegedy
            et al., 2016). None: 0, and the smoothing is not computed.
    """

    label_smoothing: Annotated[Scalar, Range(0, 1, "[)")] | None = None

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_classes("softmax_cross_entropy", target))

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        costs = -self._log_probabilities(logits.astype(jnp.float32))
        right = jnp.take_along_axis(costs, target[:, None], axis=1)[:, 0]
        if self.label_smoothing is None:
            return right
        smoothing = jnp.asarray(self.label_smoothing, jnp.float32)
        return (1 - smoothing) * right + smoothing * costs.mean(1)

    def _log_probabilities(self, logits: jax.Array) -> jax.Array:
        """Returns the logarithms of the probabilities: (B, classes) -> the same shape."""
        return jax.nn.log_softmax(logits)


@dataclass(frozen=True)
class LeNet5_1998(SoftmaxCrossEntropy):  # noqa: N801
    """Loss of LeNet-5 of 1998: softmax cross-entropy with a garbage class: (B, classes), (B,) int32 -> (B,).

    loss = y_right + log(exp(-j) + sum over classes of exp(-y)), with penalties y = -logits. The garbage class has the
    constant penalty j; no example belongs to it, and label smoothing gives it no share.

    Attributes:
        label_smoothing: as in `SoftmaxCrossEntropy`.
        garbage_penalty: j, 0 or more. The paper calls for a positive constant and names no value.

    References:
        LeCun et al., 1998: Gradient-based learning applied to document recognition, equation 9.
    """

    garbage_penalty: Annotated[Scalar, Range(0)] = 10.0

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of classes; raises UserError for a real-valued target."""
        return len(_classes("lenet5_1998", target))

    def _log_probabilities(self, logits: jax.Array) -> jax.Array:
        garbage = jnp.broadcast_to(-jnp.asarray(self.garbage_penalty, jnp.float32), (len(logits), 1))
        return jax.nn.log_softmax(jnp.concatenate([logits, garbage], axis=1))[:, :-1]


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy: (B, 1), (B,) int32 -> (B,).

    loss = log(1 + exp(-logit)) for the second class, log(1 + exp(logit)) for the first.
    """

    def outputs(self, target: BoundTarget) -> int:
        """Returns 1; raises UserError unless the target has two classes."""
        classes = _classes("binary_cross_entropy", target)
        if len(classes) != 2:
            raise UserError(
                f"binary_cross_entropy needs two classes, the target has {len(classes)}: "
                "choose loss=softmax_cross_entropy"
            )
        return 1

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        logit = logits[:, 0].astype(jnp.float32)
        return jax.nn.softplus(jnp.where(target == 1, -logit, logit))


@dataclass(frozen=True)
class MSE:
    """Squared error, mean over the outputs of an example: (B, outputs), (B, outputs) -> (B,)."""

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of outputs; raises UserError for a target of classes."""
        return _numbers("mse", target)

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.square(_error(logits, target)).mean(1)


@dataclass(frozen=True)
class MAE:
    """Absolute error, mean over the outputs of an example: (B, outputs), (B, outputs) -> (B,)."""

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of outputs; raises UserError for a target of classes."""
        return _numbers("mae", target)

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.abs(_error(logits, target)).mean(1)


@dataclass(frozen=True)
class Huber:
    """Huber loss, mean over the outputs of an example: (B, outputs), (B, outputs) -> (B,).

    error² / 2 up to `delta`, delta * (|error| - delta / 2) beyond it.

    Attributes:
        delta: threshold in the unit of the scaled target, above 0.

    References:
        Huber, 1964: Robust estimation of a location parameter.
    """

    delta: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0

    def outputs(self, target: BoundTarget) -> int:
        """Returns the number of outputs; raises UserError for a target of classes."""
        return _numbers("huber", target)

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        delta = jnp.asarray(self.delta, jnp.float32)
        error = jnp.abs(_error(logits, target))
        near = jnp.minimum(error, delta)
        return (near * (error - near / 2)).mean(1)


def _classes(loss: str, target: BoundTarget) -> tuple[str, ...]:
    if target.classes is None:
        raise UserError(f"{loss} needs classes, the target is real-valued: choose loss=mse, loss=mae or loss=huber")
    return target.classes


def _numbers(loss: str, target: BoundTarget) -> int:
    if target.classes is not None:
        binary = " or loss=binary_cross_entropy" if len(target.classes) == 2 else ""
        raise UserError(
            f"{loss} needs a real-valued target, this one has {len(target.classes)} classes: "
            f"choose loss=softmax_cross_entropy{binary}"
        )
    return target.outputs


def _error(logits: jax.Array, target: jax.Array) -> jax.Array:
    return logits.astype(jnp.float32) - target.astype(jnp.float32)
