"""Pooling."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.shape import Padding, Size, check_images, pair

PLACES = 9  # windows up to 3 x 3 are combined place by place: on the CPU 2 to 100 times as fast as XLA's reduction


class MaxPool(nn.Module):
    """The largest number of each window, by channel: (B, H, W, C) -> (B, h, w, C); NaN wins.

    Where several are largest, the gradient goes to the first, row by row, as in TensorFlow. A stride of None is
    the window's size. Raises UserError for anything but images, and for images smaller than a VALID window.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride = _sizes(self, x)
        return _pool(x, _larger, lax.max, -jnp.inf, window, stride, self.padding)


class AveragePool(nn.Module):
    """The mean of each window, by channel, without the padding: (B, H, W, C) -> (B, h, w, C).

    A stride of None is the window's size. Raises UserError as `MaxPool` does.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride = _sizes(self, x)
        inside = jnp.ones_like(x[:1, :, :, :1])
        total, count = (_pool(a, jnp.add, lax.add, 0.0, window, stride, self.padding) for a in (x, inside))
        return total / count


class GlobalAveragePool(nn.Module):
    """The mean of each channel over the image: (B, H, W, C) -> (B, C)."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        check_images("global average pooling", x)
        return x.mean((1, 2))


def _sizes(layer: MaxPool | AveragePool, x: jax.Array) -> tuple[tuple[int, int], tuple[int, int]]:
    window = pair(layer.window)
    check_images("a pooling window", x, window, layer.padding)
    return window, window if layer.stride is None else pair(layer.stride)


def _pool(
    x: jax.Array,
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    primitive: Callable[..., jax.Array],
    start: float,
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
) -> jax.Array:
    """Combines the numbers of each window, place by place; `primitive` does the same in XLA's own reduction.

    The reduction is slow to differentiate on the CPU, while slices combined one after another fuse into one loop.
    """
    if window[0] * window[1] > PLACES:
        return lax.reduce_window(x, start, primitive, (1, *window, 1), (1, *stride, 1), padding)
    pads = lax.padtype_to_pads(x.shape[1:3], window, stride, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=start)
    return functools.reduce(combine, _places(x, window, stride))


def _places(x: jax.Array, window: tuple[int, int], stride: tuple[int, int]) -> list[jax.Array]:
    """What each place of the window, row by row, sees of the image: (B, H, W, C) -> arrays (B, h, w, C)."""
    height, width = ((n - k) // s * s + 1 for n, k, s in zip(x.shape[1:3], window, stride, strict=True))
    corners = [(top, left) for top in range(window[0]) for left in range(window[1])]
    return [x[:, top : top + height : stride[0], left : left + width : stride[1]] for top, left in corners]


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of two, with the whole gradient: `jnp.maximum` would share it between equal ones."""
    return jnp.where((b > a) | jnp.isnan(b), b, a)
