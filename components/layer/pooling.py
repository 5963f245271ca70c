"""Pooling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.shape import Padding, Pads, Pair, Size, check_images, pads, pair
from components.types import Range, UserError

PLACES = 9  # windows up to 3 x 3 are combined place by place: on the CPU 2 to 100 times as fast as XLA's reduction


class MaxPool(nn.Module):
    """The largest number of each window, by channel: (B, H, W, C) -> (B, h, w, C); NaN wins.

    Where several are largest, the gradient goes to the first, row by row, as in TensorFlow. A stride of None is
    the window's size. With `ceil_mode`, h and w are rounded up: windows that begin on the image or the padding before
    it count, though they end outside (as in PyTorch). Raises UserError for anything but images, for images smaller
    than the window, and for padding that a window fits into.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride, around, beyond = _sizes(self, x)
        return _pool(x, _larger, lax.max, -jnp.inf, window, stride, _sum(around, beyond))


class AveragePool(nn.Module):
    """The mean of each window, by channel: (B, H, W, C) -> (B, h, w, C).

    Padding is left out of means, or with `count_include_pad` counts as zeros (what `ceil_mode` adds never counts).
    Stride, `ceil_mode` and errors are as in `MaxPool`.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride, around, beyond = _sizes(self, x)
        inside, outside = jnp.ones_like(x[:1, :, :, :1]), _sum(around, beyond)
        total = _pool(x, jnp.add, lax.add, 0.0, window, stride, outside)
        if self.count_include_pad:
            inside, outside = jnp.pad(inside, ((0, 0), *around, (0, 0)), constant_values=1), beyond
        return total / _pool(inside, jnp.add, lax.add, 0.0, window, stride, outside)


class GlobalAveragePool(nn.Module):
    """The mean of each channel over the image: (B, H, W, C) -> (B, C)."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        check_images("global average pooling", x)
        return x.mean((1, 2))


class DepthwiseMaxPool(nn.Module):
    """The largest of every `window` channels next to one another: (..., C) -> (..., C / window); NaN wins.

    The first of equal ones gets the gradient. Raises UserError where the window doesn't divide the channels.
    """

    window: Annotated[int, Range(1)]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        if x.shape[-1] % self.window:
            raise UserError(f"a depthwise pooling window of {self.window} does not divide {x.shape[-1]} channels")
        return functools.reduce(_larger, [x[..., n :: self.window] for n in range(self.window)])


def _sizes(layer: MaxPool | AveragePool, x: jax.Array) -> tuple[Pair, Pair, Pads, Pads]:
    """Window and stride, the padding around the image, and what `ceil_mode` adds beyond it."""
    window = pair(layer.window)
    check_images("a pooling window", x, window, layer.padding)
    stride = window if layer.stride is None else pair(layer.stride)
    image = (x.shape[1], x.shape[2])
    around = pads(image, window, stride, layer.padding)
    if any(max(pad) >= size for pad, size in zip(around, window, strict=True)):
        raise UserError(f"a pooling window of {window[0]} x {window[1]} fits into a padding of {around}: pad less")
    rows, columns = (
        _beyond(*side) if layer.ceil_mode else 0 for side in zip(image, around, window, stride, strict=True)
    )
    return window, stride, around, ((0, rows), (0, columns))


def _beyond(size: int, pad: Pair, window: int, stride: int) -> int:
    """How far the last window that begins before the padding at the end sticks out of it."""
    rest = -(size + sum(pad) - window) % stride
    start = size + sum(pad) + rest - window
    return rest if start < size + pad[0] else 0


def _sum(around: Pads, beyond: Pads) -> Pads:
    (top, bottom), (left, right) = around
    return (top, bottom + beyond[0][1]), (left, right + beyond[1][1])


def _pool(
    x: jax.Array,
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    primitive: Callable[..., jax.Array],
    start: float,
    window: Pair,
    stride: Pair,
    around: Pads,
) -> jax.Array:
    """Combines the numbers of each window, place by place; `primitive` does the same in XLA's own reduction.

    The reduction is slow to differentiate on the CPU, while slices combined one after another fuse into one loop.
    """
    if window[0] * window[1] > PLACES:
        return lax.reduce_window(x, start, primitive, (1, *window, 1), (1, *stride, 1), ((0, 0), *around, (0, 0)))
    x = jnp.pad(x, ((0, 0), *around, (0, 0)), constant_values=start)
    return functools.reduce(combine, _places(x, window, stride))


def _places(x: jax.Array, window: Pair, stride: Pair) -> list[jax.Array]:
    """What each place of the window, row by row, sees of the image: (B, H, W, C) -> arrays (B, h, w, C)."""
    height, width = ((n - k) // s * s + 1 for n, k, s in zip(x.shape[1:3], window, stride, strict=True))
    corners = [(top, left) for top in range(window[0]) for left in range(window[1])]
    return [x[:, top : top + height : stride[0], left : left + width : stride[1]] for top, left in corners]


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of two, with the whole gradient: `jnp.maximum` would share it between equal ones."""
    return jnp.where((b > a) | jnp.isnan(b), b, a)
