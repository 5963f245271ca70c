"""Losses of one logit for two classes, (B, …, 1), (B, …) int32 -> (B, …), and of labels, (B, classes) -> (B,)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.loss.base import BinaryLoss, smooth
from components.types import Range, Scalar


@dataclass(frozen=True)
class BinaryCrossEntropy(BinaryLoss):
    """Binary cross-entropy: (B, …, 1), (B, …) int32 -> (B, …); of labels: (B, classes), (B, classes) int32 -> (B,).

    loss = log(1 + exp(-logit)) for the second class, and log(1 + exp(logit)) for the first class. Where an augmentation
    has mixed examples, loss = log(1 + exp(logit)) - p * logit with the probability p of the second class. The loss of
    labels is the mean over the classes, where the second class is to have the label.

    Attributes:
        label_smoothing: s in [0, 1). p becomes (1 - s) * p + s / 2. None: no smoothing.
    """

    label_smoothing: Annotated[Scalar, Range(0, 1, "[)")] | None = None
    option = "binary_cross_entropy"

    def average(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        first, second = self.costs(logits)
        return smooth(super().average(logits, target, soft), (first + second) / 2, self.label_smoothing)

    def costs(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.nn.softplus(logits), jax.nn.softplus(-logits)


@dataclass(frozen=True)
class BinaryFocal(BinaryLoss):
    """Focal loss of a sigmoid: (B, …, 1), (B, …) int32 -> (B, …); of labels: (B, classes), (B, classes) int32 -> (B,).

    loss = -alpha * (1 - p)^gamma * log(p) for the second class, and -(1 - alpha) * p^gamma * log(1 - p) for the first
    one, with p = sigmoid(logit). The loss of labels is the mean over the classes.

    Attributes:
        gamma: 0 or more. With 0, it is the cross-entropy.
        alpha: the factor of the second class, in (0, 1); 0.25 in the paper. None: both factors are 1.

    References:
        Lin et al., 2017: Focal loss for dense object detection.
    """

    gamma: Annotated[Scalar, Range(0)] = 2.0
    alpha: Annotated[Scalar, Range(0, 1, "()")] | None = None
    option = "binary_focal"

    def costs(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        gamma = jnp.asarray(self.gamma, jnp.float32)
        first, second = (  # (1 - p)^gamma is exp(-gamma * softplus(logit))
            jnp.exp(-gamma * jax.nn.softplus(-sign * logits)) * jax.nn.softplus(sign * logits) for sign in (1, -1)
        )
        if self.alpha is None:
            return first, second
        alpha = jnp.asarray(self.alpha, jnp.float32)
        return (1 - alpha) * first, alpha * second


@dataclass(frozen=True)
class Hinge(BinaryLoss):
    """Hinge loss: (B, …, 1), (B, …) int32 -> (B, …); of labels: (B, classes), (B, classes) int32 -> (B,).

    loss = max(0, margin - logit) for the second class, and max(0, margin + logit) for the first one. The loss of labels
    is the mean over the classes. The logits are no probabilities.

    Attributes:
        margin: above 0.

    References:
        Cortes and Vapnik, 1995: Support-vector networks.
    """

    margin: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0
    option = "hinge"

    def costs(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        margin = jnp.asarray(self.margin, jnp.float32)
        return jax.nn.relu(margin + logits), jax.nn.relu(margin - logits)


@dataclass(frozen=True)
class SquaredHinge(Hinge):
    """The square of the hinge loss: (B, …, 1), (B, …) int32 -> (B, …); of labels: (B, classes) -> (B,), their mean.

    Attributes:
        margin: above 0.
    """

    option = "squared_hinge"

    def costs(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = super().costs(logits)
        return jnp.square(first), jnp.square(second)
