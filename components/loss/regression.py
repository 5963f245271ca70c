"""Losses of numbers, averaged over those of an example: (B, …, outputs), (B, …, outputs) -> (B,).

Predictions and targets have the scale that the target's column gives them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.loss.base import NumberLoss
from components.types import Range, Scalar, TargetSpec, UserError

EPSILON = 1e-7  # the smallest denominator of a relative error, as in Keras
LARGEST_LOG = 80.0  # of a predicted rate: exp(89) is infinite in float32, and exp(-88) is no normal number


@dataclass(frozen=True)
class MSE(NumberLoss):
    """Squared error, averaged over the numbers of an example: (B, …, outputs), (B, …, outputs) -> (B,)."""

    option = "mse"

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.square(predictions - target)


@dataclass(frozen=True)
class MAE(NumberLoss):
    """Absolute error, averaged over the numbers of an example: (B, …, outputs), (B, …, outputs) -> (B,)."""

    option = "mae"

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.abs(predictions - target)


@dataclass(frozen=True)
class Huber(NumberLoss):
    """Huber loss, averaged over the numbers of an example: (B, …, outputs), (B, …, outputs) -> (B,).

    loss = error² / 2 where |error| <= delta, and delta * (|error| - delta / 2) elsewhere.

    Attributes:
        delta: threshold in the unit of the scaled target, above 0.

    References:
        Huber, 1964: Robust estimation of a location parameter.
    """

    delta: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0
    option = "huber"

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        error = jnp.abs(predictions - target)
        clipped = jnp.minimum(error, jnp.asarray(self.delta, jnp.float32))
        return clipped * (error - clipped / 2)  # both cases of the definition in one expression


@dataclass(frozen=True)
class LogCosh(NumberLoss):
    """Logarithm of the hyperbolic cosine of the error, averaged: (B, …, outputs), (B, …, outputs) -> (B,).

    It is about error² / 2 for small errors, and |error| - log(2) for large ones.
    """

    option = "log_cosh"

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        error = predictions - target
        return jnp.logaddexp(error, -error) - math.log(2)  # the cosine itself overflows from 89 on


@dataclass(frozen=True)
class MAPE(NumberLoss):
    """Absolute error in percent of the target, averaged: (B, …, outputs), (B, …, outputs) -> (B,).

    loss = 100 * |error| / max(|target|, 1e-7), as in Keras. The target can't be normalized: percents of normalized
    numbers mean little.
    """

    option = "mape"
    needs_raw_target = True

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        return 100 * jnp.abs(predictions - target) / jnp.maximum(jnp.abs(target), EPSILON)


@dataclass(frozen=True)
class MSLE(NumberLoss):
    """Squared error of the logarithms, averaged: (B, …, outputs), (B, …, outputs) -> (B,).

    loss = (log(1 + prediction) - log(1 + target))², as in Keras. Negative predictions count as 0. The loss of a
    negative target is NaN, and the target can't be normalized. To predict the logarithm itself, give the target
    `normalize: log` and choose mse.
    """

    option = "msle"
    needs_raw_target = True

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        difference = jnp.log1p(jax.nn.relu(predictions)) - jnp.log1p(target)
        return jnp.where(target < 0, jnp.nan, jnp.square(difference))


@dataclass(frozen=True)
class Poisson(NumberLoss):
    """Loss of Poisson regression, for counts, averaged: (B, …, outputs), (B, …, outputs) -> (B,).

    loss = rate - target * log(rate), the negative log-likelihood without a constant. The network computes the logarithm
    of the rate. Predictions and metrics are rates. The loss of a negative target is NaN, and the target can't be
    normalized.

    References:
        Nelder and Wedderburn, 1972: Generalized linear models.
    """

    option = "poisson"
    needs_raw_target = True

    def link(self, logits: jax.Array) -> jax.Array:
        """The predicted rates: exp(logits), with logits clipped to [-80, 80]."""
        return jnp.exp(jnp.clip(logits, -LARGEST_LOG, LARGEST_LOG))

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.where(target < 0, jnp.nan, predictions - jax.scipy.special.xlogy(target, predictions))


@dataclass(frozen=True)
class Pinball(NumberLoss):
    """Pinball loss of quantile regression, averaged: (B, …, outputs), (B, …, outputs) -> (B,).

    loss = quantile * (target - prediction) where the target is larger, else (1 - quantile) * (prediction - target). For
    several quantiles, give the data several targets of the same column, each with its loss.

    Attributes:
        quantile: the predicted quantile, in (0, 1). 0.5: the median, with half of the absolute error.

    References:
        Koenker and Bassett, 1978: Regression quantiles.
    """

    quantile: Annotated[Scalar, Range(0, 1, "()")] = 0.5
    option = "pinball"

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        quantile, error = jnp.asarray(self.quantile, jnp.float32), target - predictions
        return jnp.maximum(quantile * error, (quantile - 1) * error)


@dataclass(frozen=True)
class CosineSimilarity(NumberLoss):
    """Cosine between the predicted and the true vector, times -1: (B, …, outputs), (B, …, outputs) -> (B,).

    The length of neither vector matters, and the cosine with a vector of zeros is 0. The loss of an image of vectors is
    the mean over its pixels.
    """

    option = "cosine_similarity"

    def check_target(self, target: TargetSpec) -> None:
        super().check_target(target)
        if target.outputs < 2:
            raise UserError("cosine_similarity needs vectors of two or more numbers, got 1. Choose mse.")

    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        return -(normalize(predictions) * normalize(target)).sum(-1, keepdims=True)


def normalize(vectors: jax.Array) -> jax.Array:
    """The vectors (…, D) with length 1. Vectors of zeros stay as they are."""
    squares = jnp.square(vectors).sum(-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))
