"""Layers of LeNet-5 of 1998: table convolution, sub-sampling, scaled tanh, radial basis units.

References:
    LeCun et al., 1998: Gradient-based learning applied to document recognition.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer import ActivationFunction, AveragePool, Initializer, activate, get_initializer
from components.layer.lowering.convolve import convolve
from components.layer.shape import Padding, Size, as_pair, broadcast_like, check_images
from components.types import Range, UserError

AMPLITUDE, SLOPE = 1.7159, 2 / 3
"""Constants of `scaled_tanh`: it maps ±1 to ±1, and there its second derivative has the largest magnitude."""


class TableConv(nn.Module):
    """Convolution with a table of connections: images (B, H, W, C) -> (B, h, w, features).

    Each feature is computed from some of the channels. The kernel (height, width, connections) has weights for the
    connections of the table only, in its order.

    Attributes:
        table: for each feature, the different channels that it is computed from, counted from 0.
        kernel: (height, width) of the window in pixels, or one number for both.
        stride: distance between two windows in pixels.
        padding: as in `Conv`.
        activation: activation function; None: no activation.
        use_bias: whether each feature has a bias, initially 0.
        initializer: distribution of the kernel. The fan-in of a feature is height * width * number of its channels.

    Raises:
        UserError: the input is not a batch of images, the kernel is larger than the image, or the table has an unknown,
            a repeated or no channel for a feature.
    """

    table: tuple[tuple[Annotated[int, Range(0)], ...], ...]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationFunction | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, channels = as_pair(self.kernel), x.shape[-1]
        check_images("a table convolution", x, window, self.padding)
        _check_table(self.table, channels)
        weights = self.param("kernel", self._draw_kernel, (*window, sum(map(len, self.table))), jnp.float32)
        channel_of_connection = [channel for row in self.table for channel in row]
        feature_of_connection = [feature for feature, row in enumerate(self.table) for _ in row]
        # XLA has no convolution with a table of connections. So missing connections are zeros in a dense kernel.
        kernel = jnp.zeros((*window, channels, len(self.table)), x.dtype)
        kernel = kernel.at[:, :, channel_of_connection, feature_of_connection].set(weights.astype(x.dtype))
        y = convolve(x, kernel, as_pair(self.stride), self.padding)
        if self.use_bias:
            y = y + broadcast_like(self.param("bias", nn.initializers.zeros, (len(self.table),), jnp.float32), y)
        return activate(self.activation, y)

    def _draw_kernel(self, key: jax.Array, shape: Sequence[int], dtype: Any) -> jax.Array:
        """Draws the kernel of each feature with the fan-in of the feature."""
        keys, kernels = jax.random.split(key, len(self.table)), {}
        for count in sorted({len(row) for row in self.table}):
            # Draws for all features at once, as if each had this number of channels. The return takes those that do.
            draw = partial(get_initializer(self.initializer), shape=(*shape[:2], count, 1), dtype=dtype)
            kernels[count] = jax.vmap(draw)(keys)[..., 0]
        return jnp.concatenate([kernels[len(row)][n] for n, row in enumerate(self.table)], axis=-1)


class SubSampling(nn.Module):
    """Sum over each window, scaled and shifted for each channel: images (B, H, W, C) -> (B, h, w, C).

    y = scale * (sum of the window) + bias. Windows do not overlap. Rows and columns that do not fill a window are
    ignored.

    Attributes:
        window: (height, width) in pixels, or one number for both.
        initializer: distribution of the scales (C,), with the pixels of a window as fan-in. Biases are initially 0.

    Raises:
        UserError: the input is not a batch of images, or the window is larger than the image.
    """

    window: Size = 2
    initializer: Initializer = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        height, width = as_pair(self.window)
        pixels, channels = height * width, x.shape[-1]

        def draw_scale(key: jax.Array) -> jax.Array:
            # The distribution takes its fan-in from the shape, hence a row for each pixel. Only the first is kept.
            return get_initializer(self.initializer)(key, (pixels, channels), jnp.float32)[0]

        mean = AveragePool(self.window)(x, train=train)
        scale = self.param("scale", draw_scale)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        return mean * broadcast_like(pixels * scale, mean) + broadcast_like(bias, mean)


class RadialBasis(nn.Module):
    """Negative squared Euclidean distance to the fixed code of each class: vectors (B, D) -> (B, classes) in float32.

    The nearest code has the largest value, so the values can be used as logits. The layer has no parameters.

    Attributes:
        codes: (classes, D).

    Raises:
        UserError: the input is not (B, D).
    """

    codes: tuple[tuple[float, ...], ...]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        codes = jnp.array(self.codes, jnp.float32)
        if x.ndim != 2 or x.shape[1] != codes.shape[1]:
            raise UserError(f"radial basis units need vectors (B, {codes.shape[1]}), got {x.shape}")
        return -jnp.square(x[:, None].astype(jnp.float32) - codes[None]).sum(2)


class ScaledTanh(nn.Module):
    """Scaled hyperbolic tangent as a layer: any shape -> the same shape."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return scaled_tanh(x)


def scaled_tanh(x: jax.Array) -> jax.Array:
    """Returns 1.7159 * tanh(2/3 * x), element by element."""
    return AMPLITUDE * jnp.tanh(SLOPE * x)


def _check_table(table: tuple[tuple[int, ...], ...], channels: int) -> None:
    for feature, row in enumerate(table):
        if not row or len(set(row)) < len(row) or not set(row) <= set(range(channels)):
            raise UserError(
                f"a table convolution needs one or more different channels from 0 to {channels - 1} for each feature, "
                f"got {list(row)} for feature {feature}"
            )
