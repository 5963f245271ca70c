"""Losses of ordered classes, such as 1 to 5 stars, whose head has thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.loss.classification import OrdinalCrossEntropy
from components.types import TargetSpec

SMALLEST_GAP = 1e-30  # between thresholds: the logarithm of 0 is infinite


class Thresholds(nn.Module):
    """Ordered thresholds of one score: (B, …, 1) -> the logarithms of the probabilities of classes, (B, …, classes).

    P(class > k) = sigmoid(score + b_k), with b_0 > b_1 > …: b_0 is `first`, and b_k - b_(k+1) = softplus(`gaps`_k).
    They are initialized so that all classes are equally probable for the score 0.

    Attributes:
        classes: the number of classes, 2 or more.
    """

    classes: int

    @nn.compact
    def __call__(self, score: jax.Array) -> jax.Array:
        counts = np.arange(1, self.classes)
        initial = np.log((self.classes - counts) / counts)
        first = self.param("first", nn.initializers.constant(initial[0]), (1,), jnp.float32)
        gaps = jnp.zeros(0, jnp.float32)
        if self.classes > 2:
            start = jnp.asarray(np.log(np.expm1(initial[:-1] - initial[1:])), jnp.float32)
            raw = self.param("gaps", lambda key, shape, dtype: jnp.reshape(start, shape), start.shape, jnp.float32)
            gaps = jnp.maximum(jax.nn.softplus(raw), SMALLEST_GAP)
        zero = jnp.zeros(1, jnp.float32)
        axes = tuple(range(score.ndim - 1))
        z = score.astype(jnp.float32) + jnp.expand_dims(first - jnp.concatenate([zero, gaps.cumsum()]), axes)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), and a - b is the gap.
        within = jnp.concatenate([zero, jnp.log(-jnp.expm1(-gaps)), zero])
        no_limit = jnp.zeros_like(z[..., :1])
        above = jnp.concatenate([no_limit, jax.nn.log_sigmoid(z)], axis=-1)
        below = jnp.concatenate([jax.nn.log_sigmoid(-z), no_limit], axis=-1)
        return above + below + jnp.expand_dims(within, axes)


@dataclass(frozen=True)
class CORAL(OrdinalCrossEntropy):
    """CORAL, for ordered classes: one score of an example, and a threshold for each class but the last.

    loss = -sum over k of (log P(class > k) if y > k, else log P(class <= k)), as of `ordinal_cross_entropy`, with
    P(class > k) = sigmoid(score + b_k). All k share the weights of the score, so these probabilities decrease with k
    for each example. In the paper only the best thresholds b_k are ordered; here they always are. Predictions are the
    probabilities of the classes. The order of the classes is that of `names` of the target, or else the sorted one.

    References:
        Cao et al., 2020: Rank consistent ordinal regression for neural networks with application to age estimation.
    """

    option = "coral"

    def outputs(self, target: TargetSpec) -> int:
        """One: the score."""
        self.check_target(target)
        return 1

    def head(self, target: TargetSpec) -> nn.Module:
        """The thresholds, which make the logits of the classes from the score."""
        return Thresholds(target.outputs)
