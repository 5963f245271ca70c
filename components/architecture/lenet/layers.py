"""Layers that only LeNet-5 of 1998 uses: table convolution, sub-sampling, scaled tanh, radial basis units.

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

from components.layer import ActivationName, AveragePool, Initializer, activate, get_initializer
from components.layer.lowering.convolve import convolve
from components.layer.shape import Padding, Size, as_channels, as_pair, check_images
from components.types import Range, UserError

AMPLITUDE, SLOPE = 1.7159, 2 / 3  # f(1) = 1 and f(-1) = -1, where the second derivative is largest


class TableConv(nn.Module):
    """Convolution whose features each see some of the channels: images (B, H, W, C) -> (B, h, w, features).

    The kernel holds only the connections of the table, in the order of the table: (height, width, connections).

    Attributes:
        table: one row for each feature; a row holds the channels that the feature sees, each once, from 0.
        kernel: height and width of the window in pixels, or one number for both.
        stride: pixels between two windows.
        padding: as in `Conv`.
        activation: name of the activation function; None: no activation.
        use_bias: whether each feature has a bias, which starts at 0.
        initializer: distribution of the kernel; the fan-in of a feature is height * width * its channels.

    Raises:
        UserError: the input is not a batch of images, the kernel is larger than the image, or the table names a
            channel that does not exist.
    """

    table: tuple[tuple[Annotated[int, Range(0)], ...], ...]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, channels = as_pair(self.kernel), x.shape[-1]
        check_images("a table convolution", x, window, self.padding)
        _check_table(self.table, channels)
        weights = self.param("kernel", self._draw, (*window, sum(map(len, self.table))), jnp.float32)
        ins = [channel for row in self.table for channel in row]
        outs = [feature for feature, row in enumerate(self.table) for _ in row]
        # XLA has no convolution with a table of connections: a dense kernel has zeros where there is no connection.
        kernel = jnp.zeros((*window, channels, len(self.table)), x.dtype)
        kernel = kernel.at[:, :, ins, outs].set(weights.astype(x.dtype))
        y = convolve(x, kernel, as_pair(self.stride), self.padding)
        if self.use_bias:
            y = y + as_channels(self.param("bias", nn.initializers.zeros, (len(self.table),), jnp.float32), y)
        return activate(self.activation, y)

    def _draw(self, key: jax.Array, shape: Sequence[int], dtype: Any) -> jax.Array:
        """Draws the kernel of each feature with the fan-in of that feature."""
        keys, kernels = jax.random.split(key, len(self.table)), {}
        for count in sorted({len(row) for row in self.table}):  # one draw for all features of equal fan-in
            draw = partial(get_initializer(self.initializer), shape=(*shape[:2], count, 1), dtype=dtype)
            kernels[count] = jax.vmap(draw)(keys)[..., 0]
        return jnp.concatenate([kernels[len(row)][n] for n, row in enumerate(self.table)], axis=-1)


class SubSampling(nn.Module):
    """Sum over each window, scaled and shifted by channel: images (B, H, W, C) -> (B, h, w, C).

    y = scale * (sum of the window) + bias. Windows do not overlap; rows and columns that do not fill a window are
    dropped.

    Attributes:
        window: height and width of the window in pixels, or one number for both.
        initializer: distribution of the scales (C,), with the fan-in of one window; biases start at 0.

    Raises:
        UserError: the input is not a batch of images, or the window is larger than the image.
    """

    window: Size = 2
    initializer: Initializer = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        height, width = as_pair(self.window)
        places, channels = height * width, x.shape[-1]

        def draw(key: jax.Array) -> jax.Array:
            """Draws one weight for each connection of a window and keeps the first, which all connections share."""
            return get_initializer(self.initializer)(key, (places, channels), jnp.float32)[0]

        mean = AveragePool(self.window)(x, train=train)
        scale, bias = self.param("scale", draw), self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        return mean * as_channels(places * scale, mean) + as_channels(bias, mean)


class RadialBasis(nn.Module):
    """Negative squared Euclidean distance to the fixed code of each class: vectors (B, D) -> (B, classes) in float32.

    The nearest code has the largest value, so the values serve as logits. The layer has no parameters.

    Attributes:
        codes: (classes, D), fixed.

    Raises:
        UserError: the input is not (B, D).
    """

    codes: tuple[tuple[float, ...], ...]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        codes = jnp.array(self.codes, jnp.float32)
        if x.ndim != 2 or x.shape[1] != codes.shape[1]:
            raise UserError(f"codes of {codes.shape[1]} numbers suit vectors (B, {codes.shape[1]}), got {x.shape}")
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
                f"feature {feature} of a table convolution sees the channels {list(row)}: "
                f"name one or more of 0 to {channels - 1}, each once"
            )
