"""Normalization over the batch, over channels, over groups of channels, and over neighboring channels."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.shape import broadcast_like, check_images
from components.types import Range, Scalar, UserError

Momentum: TypeAlias = Annotated[Scalar, Range(0, 1, "[)")]
Epsilon: TypeAlias = Annotated[Scalar, Range(0, math.inf, "()")]


class BatchNorm(nn.Module):
    """Batch normalization: (B, ..., C) -> the same shape.

    Normalizes each channel by mean and variance, then scales and shifts it. Training uses the moments of the batch,
    inference the running moments, which are the collection `batch_stats`. Each training step updates them:
    running = momentum * running + (1 - momentum) * batch. Moments are float32, and the variance is biased. All
    examples of a training batch count, so no example may be padding.

    Raises:
        UserError: a training batch has a single value of each channel: its output would always be the bias.

    Attributes:
        momentum: factor of the running moments in their update, in [0, 1).
        epsilon: added to the variance, above 0.
        use_scale: whether each channel has a scale.
        initial_scale: initial value of the scales. With 0, a residual block is initially the identity (Goyal et al.,
            2017).

    References:
        Ioffe and Szegedy, 2015: Batch normalization.
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
            if x.size == x.shape[-1]:
                raise UserError(
                    f"BatchNorm needs two or more values of each channel in a training batch, got the shape {x.shape}. "
                    "From one value it learns nothing. Train on larger batches or larger images, or leave it out."
                )
            momentum = jnp.asarray(self.momentum, jnp.float32)
            running_mean.value = momentum * running_mean.value + (1 - momentum) * mean
            running_variance.value = momentum * running_variance.value + (1 - momentum) * variance
        factor = lax.rsqrt(variance + jnp.asarray(self.epsilon, jnp.float32))
        if self.use_scale:
            factor = factor * self.param("scale", nn.initializers.constant(self.initial_scale), shape, jnp.float32)
        y = x.astype(jnp.float32)
        return ((y - broadcast_like(mean, y)) * broadcast_like(factor, y) + broadcast_like(bias, y)).astype(x.dtype)


class LayerNorm(nn.Module):
    """Layer normalization: any shape (..., C) -> the same shape.

    Normalizes the channels at each position, then scales and shifts them. Moments are float32, and the variance is
    biased.

    Attributes:
        epsilon: added to the variance, above 0.

    Raises:
        UserError: the input has a single channel: the output would always be the bias.

    References:
        Ba et al., 2016: Layer normalization.
    """

    epsilon: Epsilon = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        shape = (x.shape[-1],)
        if shape == (1,):
            raise UserError(
                f"LayerNorm needs two or more channels, got the shape {x.shape}. From one value it learns nothing. "
                "Use more channels, or leave it out."
            )
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        y = x.astype(jnp.float32)
        centered = y - y.mean(-1, keepdims=True)
        variance = jnp.square(centered).mean(-1, keepdims=True)
        normalized = centered * lax.rsqrt(variance + jnp.asarray(self.epsilon, jnp.float32))
        return (normalized * broadcast_like(scale, y) + broadcast_like(bias, y)).astype(x.dtype)


class GroupNorm(nn.Module):
    """Group normalization: (B, ..., C) -> the same shape.

    Normalizes the channels of each group at all positions of an example together, then scales and shifts each channel.
    Moments are float32, and the variance is biased. It doesn't depend on the batch.

    Attributes:
        groups: number of groups, which divides the number of channels. With 1, it is layer normalization of whole
            examples; with as many as channels, it is instance normalization.
        epsilon: added to the variance, above 0.

    Raises:
        UserError: the groups don't divide the channels, or each has a single value: the output would be the bias.

    References:
        Wu and He, 2018: Group normalization.
    """

    groups: Annotated[int, Range(1)] = 32
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        channels = x.shape[-1]
        if x.ndim < 2 or channels % self.groups:
            raise UserError(
                f"GroupNorm has {self.groups} groups, which don't divide the channels of the input {x.shape}. "
                f"Set `groups` to a divisor of {channels}."
            )
        if x.size == len(x) * self.groups:
            raise UserError(
                f"GroupNorm with {self.groups} groups gets a single value for each, from the input {x.shape}. From one "
                "value it learns nothing. Set fewer `groups`, or leave it out."
            )
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        y = x.astype(jnp.float32)
        grouped = y.reshape(len(x), -1, self.groups, channels // self.groups)
        centered = grouped - grouped.mean((1, 3), keepdims=True)
        variance = jnp.square(centered).mean((1, 3), keepdims=True)
        factor = lax.rsqrt(variance + jnp.asarray(self.epsilon, jnp.float32)) * scale.reshape(1, 1, self.groups, -1)
        return ((centered * factor).reshape(x.shape) + broadcast_like(bias, y)).astype(x.dtype)


class RMSNorm(nn.Module):
    """Normalization by the root mean square: any shape (..., C) -> the same shape.

    y = scale * x / sqrt(mean of x² over the channels + epsilon), in float32. Unlike `LayerNorm`, it subtracts no mean,
    and has no bias.

    Attributes:
        epsilon: added to the mean, above 0.

    References:
        Zhang and Sennrich, 2019: Root mean square layer normalization.
    """

    epsilon: Epsilon = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        y = x.astype(jnp.float32)
        mean = jnp.square(y).mean(-1, keepdims=True)
        factor = lax.rsqrt(mean + jnp.asarray(self.epsilon, jnp.float32)) * broadcast_like(scale, y)
        return (y * factor).astype(x.dtype)


class LocalResponseNorm(nn.Module):
    """Local response normalization: images (B, H, W, C) -> the same shape.

    y = x / (bias + alpha * sum of squares) ** beta, in float32. The sum is over a channel and `radius` channels on
    each side. The defaults are from the paper.

    Attributes:
        radius: number of channels on each side; (n - 1) / 2 in the paper.
        bias: k in the paper, above 0.
        alpha: factor of the sum, 0 or more; PyTorch divides its alpha by n = 2 * radius + 1.
        beta: exponent, 0 or more.

    References:
        Krizhevsky et al., 2012: ImageNet classification with deep convolutional neural networks.
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
    """Returns the mean and the variance of each channel: (..., C) -> (C,), (C,)."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - broadcast_like(mean, x)).mean(axes)
