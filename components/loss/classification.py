"""Losses of targets with one class, from a logit for each class: (B, …, classes), (B, …) int32 -> (B, …).

Below, `…` stands for the axes of pixels: none for the class of an example, (H, W) for an image of classes. p is the
softmax of the logits, and y the class of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.loss.base import ClassLoss, smooth, take_class
from components.types import Range, Scalar

SMALLEST_SHARE = 1e-8  # of the wrong classes: at 0, its powers below 1 have an infinite derivative


@dataclass(frozen=True)
class SoftmaxCrossEntropy(ClassLoss):
    """Softmax cross-entropy with optional label smoothing: (B, …, classes), (B, …) int32 -> (B, …).

    loss = -sum over classes of q * log softmax(logits), where q is 1 for the true class and 0 for all others, or the
    probability of each class where an augmentation has mixed examples.

    Attributes:
        label_smoothing: s in [0, 1). q becomes (1 - s) * q + s / classes (Szegedy et al., 2016). None: no smoothing.
    """

    label_smoothing: Annotated[Scalar, Range(0, 1, "[)")] | None = None
    option = "softmax_cross_entropy"

    def average(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        if soft is not None:
            return smooth(super().average(logits, target, soft), self.costs(logits).mean(-1), self.label_smoothing)
        # Only one logit of an element is subtracted, which is up to three times as fast as all of log softmax.
        largest, log_sum = self.sum_exponentials(logits)
        true, uniform = (logit - largest for logit in (take_class(logits, target), logits.mean(-1)))
        return log_sum - smooth(true, uniform, self.label_smoothing)

    def costs(self, logits: jax.Array) -> jax.Array:
        largest, log_sum = self.sum_exponentials(logits)
        return log_sum[..., None] - (logits - largest[..., None])

    def sum_exponentials(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The largest logit, and the logarithm of the sum of exp(logit - largest): float32 (B, …) each."""
        largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
        return largest[..., 0], jnp.log(jnp.exp(logits - largest).sum(-1))


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
    option = "lenet5_1998"

    def sum_exponentials(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        garbage = jnp.broadcast_to(-jnp.asarray(self.garbage_penalty, jnp.float32), (*logits.shape[:-1], 1))
        return super().sum_exponentials(jnp.concatenate([logits, garbage], axis=-1))


@dataclass(frozen=True)
class KLDivergence(SoftmaxCrossEntropy):
    """Divergence of the predicted from the true probabilities: (B, …, classes), (B, …) int32 -> (B, …).

    loss = sum over classes of q * log(q / p), with q of `SoftmaxCrossEntropy`. It is the cross-entropy minus the
    entropy of q, so the gradients are the same. Its minimum is 0, also where examples are mixed or labels smoothed.

    Attributes:
        label_smoothing: as in `SoftmaxCrossEntropy`.

    References:
        Kullback and Leibler, 1951: On information and sufficiency.
    """

    option = "kl_divergence"

    def average(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        classes = logits.shape[-1]
        true = jax.nn.one_hot(0, classes, dtype=jnp.float32) if soft is None else soft  # any class has this entropy
        q = smooth(true, jnp.full(true.shape, 1 / classes), self.label_smoothing)
        return super().average(logits, target, soft) + jax.scipy.special.xlogy(q, q).sum(-1)


@dataclass(frozen=True)
class Focal(ClassLoss):
    """Focal loss of the softmax, which reduces the loss of easy examples: (B, …, classes), (B, …) int32 -> (B, …).

    loss = -(1 - p_y)^gamma * log(p_y). The factor alpha of the paper is the weight of a class: `weight` of `Label`.

    Attributes:
        gamma: 0 or more. With 0, it is the cross-entropy.

    References:
        Lin et al., 2017: Focal loss for dense object detection.
    """

    gamma: Annotated[Scalar, Range(0)] = 2.0
    option = "focal"

    def costs(self, logits: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(logits)
        others = jnp.maximum(-jnp.expm1(log_p), SMALLEST_SHARE)
        return -jnp.exp(jnp.asarray(self.gamma, jnp.float32) * jnp.log(others)) * log_p


@dataclass(frozen=True)
class GeneralizedCrossEntropy(ClassLoss):
    """Generalized cross-entropy, for labels of which some are wrong: (B, …, classes), (B, …) int32 -> (B, …).

    loss = (1 - p_y^q) / q. Near q = 0 it is the cross-entropy, and with q = 1 it is half of the absolute error, which
    is the most robust, but hard to train.

    Attributes:
        q: in (0, 1]; 0.7 in the paper.

    References:
        Zhang and Sabuncu, 2018: Generalized cross entropy loss for training deep neural networks with noisy labels.
    """

    q: Annotated[Scalar, Range(0, 1, "(]")] = 0.7
    option = "generalized_cross_entropy"

    def costs(self, logits: jax.Array) -> jax.Array:
        q = jnp.asarray(self.q, jnp.float32)
        return -jnp.expm1(q * jax.nn.log_softmax(logits)) / q


@dataclass(frozen=True)
class CategoricalHinge(ClassLoss):
    """Hinge loss of the nearest wrong class: (B, …, classes), (B, …) int32 -> (B, …).

    loss = max(0, margin + max over wrong classes of the logits - logit of y). The logits are no probabilities.

    Attributes:
        margin: above 0.

    References:
        Crammer and Singer, 2001: On the algorithmic implementation of multiclass kernel-based vector machines.
    """

    margin: Annotated[Scalar, Range(0, float("inf"), "()")] = 1.0
    option = "categorical_hinge"

    def average(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        if soft is not None:
            return super().average(logits, target, soft)
        ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
        others = jnp.where(ids == target[..., None], -jnp.inf, logits).max(-1)
        return jnp.maximum(jnp.asarray(self.margin, jnp.float32) + others - take_class(logits, target), 0)

    def costs(self, logits: jax.Array) -> jax.Array:
        ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
        best = ids == logits.argmax(-1, keepdims=True)
        first = logits.max(-1, keepdims=True)
        second = jnp.where(best, -jnp.inf, logits).max(-1, keepdims=True)
        return jnp.maximum(jnp.asarray(self.margin, jnp.float32) + jnp.where(best, second, first) - logits, 0)


@dataclass(frozen=True)
class OrdinalCrossEntropy(ClassLoss):
    """Cross-entropy of ordered classes, such as 1 to 5 stars: (B, …, classes), (B, …) int32 -> (B, …).

    loss = -sum over k of (log P(class > k) if y > k, else log P(class <= k)), the binary cross-entropies of whether the
    class is above each but the last one. These probabilities are sums of p, so they decrease with k. A class far from y
    costs more than one near it. The order of the classes is that of `names` of the target, or else the sorted one.

    References:
        Frank and Hall, 2001: A simple approach to ordinal classification.
        Cao et al., 2020: Rank consistent ordinal regression for neural networks (CORAL), equation 4.
    """

    option = "ordinal_cross_entropy"

    def costs(self, logits: jax.Array) -> jax.Array:
        log_p, axis = jax.nn.log_softmax(logits), logits.ndim - 1
        above = jax.lax.cumlogsumexp(log_p, axis, reverse=True)[..., 1:]  # log P(class > k) for all k but the last
        below = jax.lax.cumlogsumexp(log_p, axis)[..., :-1]  # log P(class <= k)
        zero = jnp.zeros_like(logits[..., :1])
        of_lower_classes = jnp.concatenate([zero, above], axis).cumsum(axis)  # k < y
        of_others = jnp.concatenate([below, zero], axis)[..., ::-1].cumsum(axis)[..., ::-1]  # k >= y
        return -(of_lower_classes + of_others)
