"""Normalization, over a batch and across channels."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.shape import across, check_images
from components.types import Range, Scalar

Momentum: TypeAlias = Annotated[Scalar, Range(0, 1, "[)")]
Epsilon: TypeAlias = Annotated[Scalar, Range(0, math.inf, "()")]


class BatchNorm(nn.Module):
    """Normalizes each channel over the batch, then scales and shifts it: (B, ..., C) -> the same.

    Training takes the moments of the batch and moves the running ones (collection `batch_stats`) towards them by
    1 - momentum; inference takes the running ones. Moments are float32, the variance is not corrected for the
    size of the batch. All rows of a training batch count, so none may be padding (Ioffe and Szegedy, 2015).
    Scales start at `initial_scale`: at 0 a residual block begins as the identity (Goyal et al., 2017).
    """

    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3
    use_scale: bool = True
    initial_scale: Scalar = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_variance = self.variable("batch_stats", "variance", jnp.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        mean, variance = running_mean.value, running_variance.value
        if train:
            mean, variance = _moments(x.astype(jnp.float32))
        if train and not self.is_initializing():
            momentum = jnp.asarray(self.momentum, jnp.float32)
            running_mean.value = momentum * running_mean.value + (1 - momentum) * mean
            running_variance.value = momentum * running_variance.value + (1 - momentum) * variance
        factor = lax.rsqrt(variance + jnp.asarray(self.epsilon, jnp.float32))
        if self.use_scale:
            factor = factor * self.param("scale", nn.initializers.constant(self.initial_scale), shape, jnp.float32)
        y = x.astype(jnp.float32)
        return ((y - across(mean, y)) * across(factor, y) + across(bias, y)).astype(x.dtype)


class LayerNorm(nn.Module):
    """Normalizes the channels of each place, then scales and shifts them: (B, ..., C) -> the same (Ba et al., 2016).

    Moments are float32, the variance is not corrected for the number of channels.
    """

    epsilon: Epsilon = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        y = x.astype(jnp.float32)
        centred = y - y.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        normal = centred * lax.rsqrt(variance + jnp.asarray(self.epsilon, jnp.float32))
        return (normal * across(scale, y) + across(bias, y)).astype(x.dtype)


class LocalResponseNorm(nn.Module):
    """Divides by a power of the squares in nearby channels: (B, H, W, C) -> the same (Krizhevsky et al., 2012).

    By (bias + alpha * sum of squares) ** beta, the sum over `radius` channels on either side and its own, in float32.
    The defaults are the paper's: k = 2, n = 5, alpha = 1e-4 (which PyTorch divides by n), beta = 0.75.
    """

    radius: Annotated[int, Range(0)] = 2
    bias: Annotated[Scalar, Range(0, math.inf, "()")] = 2.0
    alpha: Annotated[Scalar, Range(0)] = 1e-4
    beta: Annotated[Scalar, Range(0)] = 0.75

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        check_images("local response normalization", x)
        bias, alpha, beta = (jnp.asarray(number, jnp.float32) for number in (self.bias, self.alpha, self.beta))
        y = x.astype(jnp.float32)
        window = (1, 1, 1, 2 * self.radius + 1)
        squares = lax.reduce_window(jnp.square(y), 0.0, lax.add, window, (1, 1, 1, 1), "SAME")
        return (y * jnp.exp(-beta * jnp.log(bias + alpha * squares))).astype(x.dtype)


def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - across(mean, x)).mean(axes)
