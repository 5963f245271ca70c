"""Pooling layers."""

from __future__ import annotations

import functools
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.lowering.pooling import larger, pool
from components.layer.shape import Padding, Pads, Pair, Size, check_images, pads, pair
from components.types import Range, UserError


class MaxPool(nn.Module):
    """Maximum of each window, by channel: images (B, H, W, C) -> (B, h, w, C).

    A NaN in a window makes its maximum NaN. Of equal maxima, the first gets the gradient, row by row, as in TensorFlow.

    Attributes:
        window: height and width in pixels, or one number for both.
        stride: pixels between two windows; None: the size of the window.
        padding: SAME, VALID, pixels on each side, or ((top, bottom), (left, right)).
        ceil_mode: whether h and w are rounded up: windows count that start on the image or on the padding before it
            and end outside, as in PyTorch.

    Raises:
        UserError: the input is not a batch of images, the window is larger than the image, or the padding is as large
            as the window.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride, around, beyond = _sizes(self, x)
        return pool(x, larger, lax.max, -jnp.inf, window, stride, _add_pads(around, beyond))


class AveragePool(nn.Module):
    """Mean of each window, by channel: images (B, H, W, C) -> (B, h, w, C).

    Attributes and errors are those of `MaxPool`.

    Attributes:
        count_include_pad: whether the padding counts as zeros; otherwise it is left out of the means. Rows and columns
            that `ceil_mode` adds never count.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride, around, beyond = _sizes(self, x)
        inside, outside = jnp.ones_like(x[:1, :, :, :1]), _add_pads(around, beyond)
        total = pool(x, jnp.add, lax.add, 0.0, window, stride, outside)
        if self.count_include_pad:
            inside, outside = jnp.pad(inside, ((0, 0), *around, (0, 0)), constant_values=1), beyond
        return total / pool(inside, jnp.add, lax.add, 0.0, window, stride, outside)


class GlobalAveragePool(nn.Module):
    """Mean of each channel over the image: (B, H, W, C) -> (B, C)."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        check_images("global average pooling", x)
        return x.mean((1, 2))


class DepthwiseMaxPool(nn.Module):
    """Maximum over neighboring channels: (..., C) -> (..., C / window).

    A NaN in a window makes its maximum NaN. Of equal maxima, the first gets the gradient.

    Attributes:
        window: number of channels of a window.

    Raises:
        UserError: the window does not divide the channels.
    """

    window: Annotated[int, Range(1)]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        if x.shape[-1] % self.window:
            raise UserError(f"a depthwise pooling window of {self.window} does not divide {x.shape[-1]} channels")
        return functools.reduce(larger, [x[..., n :: self.window] for n in range(self.window)])


def _sizes(layer: MaxPool | AveragePool, x: jax.Array) -> tuple[Pair, Pair, Pads, Pads]:
    """Returns window, stride, the padding around the image, and the padding that `ceil_mode` adds after it."""
    window = pair(layer.window)
    check_images("a pooling window", x, window, layer.padding)
    stride = window if layer.stride is None else pair(layer.stride)
    image = (x.shape[1], x.shape[2])
    around = pads(image, window, stride, layer.padding)
    if any(max(pad) >= size for pad, size in zip(around, window, strict=True)):
        raise UserError(f"a pooling window of {window[0]} x {window[1]} fits into a padding of {around}: pad less")
    rows, columns = (
        _overhang(*side) if layer.ceil_mode else 0 for side in zip(image, around, window, stride, strict=True)
    )
    return window, stride, around, ((0, rows), (0, columns))


def _overhang(size: int, pad: Pair, window: int, stride: int) -> int:
    """Returns the pixels of the last window behind the padding; 0 where that window would start behind the image."""
    rest = -(size + sum(pad) - window) % stride
    start = size + sum(pad) + rest - window
    return rest if start < size + pad[0] else 0


def _add_pads(around: Pads, beyond: Pads) -> Pads:
    (top, bottom), (left, right) = around
    return (top, bottom + beyond[0][1]), (left, right + beyond[1][1])
