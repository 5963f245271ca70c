"""Depthwise convolution on the CPU, 10 to 100 times as fast as XLA's own."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from components.layer.shape import Pads, Pair, places, reach


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def depthwise(x: jax.Array, kernel: jax.Array, stride: Pair, around: Pads, dilation: Pair) -> jax.Array:
    """Convolves each channel by itself: the sum, in float32, of one product for each place of the kernel.

    Slices that are multiplied and added one after another fuse into one loop over the image. The gradients are
    explicit (`custom_vjp`), so there is no forward-mode derivative.

    Args:
        x: images (B, H, W, C).
        kernel: (height, width, C).
        stride, dilation: height and width in pixels.
        around: padding.

    Returns:
        (B, h, w, C).
    """
    wide, image, span = _wide(x), (x.shape[1], x.shape[2]), reach(_window(kernel), dilation)
    height, width = places(image, span, stride, around)
    padded = jnp.pad(wide, ((0, 0), *around, (0, 0)))
    total = jnp.zeros((x.shape[0], height, width, x.shape[3]), wide.dtype)
    for row, column in itertools.product(*map(range, _window(kernel))):
        top, left = row * dilation[0], column * dilation[1]
        bottom, right = top + (height - 1) * stride[0] + 1, left + (width - 1) * stride[1] + 1
        seen = padded[:, top : bottom : stride[0], left : right : stride[1]]
        total += seen * _wide(kernel[row, column]).reshape(1, 1, 1, -1)
    return total.astype(x.dtype)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: Pair, around: Pads, dilation: Pair
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise(x, kernel, stride, around, dilation), (x, kernel)


def _backward(
    stride: Pair, around: Pads, dilation: Pair, saved: tuple[jax.Array, jax.Array], upstream: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    to_x = _to_image(x, kernel, stride, around, dilation, upstream)
    return to_x, _to_kernel(x, kernel, stride, around, dilation, upstream)


depthwise.defvjp(_forward, _backward)


def _to_image(
    x: jax.Array, kernel: jax.Array, stride: Pair, around: Pads, dilation: Pair, upstream: jax.Array
) -> jax.Array:
    """Returns the gradient of the image: the upstream gradient, dilated by the stride, times the rotated kernel."""
    span = reach(_window(kernel), dilation)
    sides = zip((x.shape[1], x.shape[2]), upstream.shape[1:3], span, stride, around, strict=True)
    edges = [(k - 1 - low, n + low - 1 - (h - 1) * s, s - 1) for n, h, k, s, (low, _) in sides]
    spread = lax.pad(upstream, jnp.zeros((), upstream.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return depthwise(spread, kernel[::-1, ::-1], (1, 1), ((0, 0), (0, 0)), dilation)


def _to_kernel(
    x: jax.Array, kernel: jax.Array, stride: Pair, around: Pads, dilation: Pair, upstream: jax.Array
) -> jax.Array:
    """Returns the gradient of the kernel, row by row of the kernel and of the output; columns are summed at the end.

    A loop over products of rows stays in the cache, and the compiler vectorizes it over columns and channels. XLA's
    reduction to the channels takes 2 to 15 times as long.
    """
    padded = jnp.pad(x, ((0, 0), *around, (0, 0)))
    batch, height, width, channels = upstream.shape
    rows, columns = _window(kernel)
    end = (width - 1) * stride[1] + 1

    def of_row(top: jax.Array) -> jax.Array:
        def add(place: jax.Array, sums: list[jax.Array]) -> list[jax.Array]:
            example, row = place // height, place % height
            above = _row(padded, example, row * stride[0] + top * dilation[0])
            below = _row(upstream, example, row)
            seen = [above[left * dilation[1] : left * dilation[1] + end : stride[1]] for left in range(columns)]
            return [total + one * below for total, one in zip(sums, seen, strict=True)]

        sums = [jnp.zeros((width, channels), jnp.float32)] * columns
        return jnp.stack(lax.fori_loop(0, batch * height, add, sums)).sum(1)

    return lax.map(of_row, jnp.arange(rows)).astype(kernel.dtype)


def _row(x: jax.Array, example: jax.Array, row: jax.Array) -> jax.Array:
    """Returns one row of one image in float32: (B, H, W, C) -> (W, C)."""
    return _wide(lax.dynamic_slice(x, (example, row, 0, 0), (1, 1, *x.shape[2:]))[0, 0])


def _window(kernel: jax.Array) -> Pair:
    return kernel.shape[0], kernel.shape[1]


def _wide(x: jax.Array) -> jax.Array:
    """Converts to float32, in which sums are exact enough."""
    return x.astype(jnp.float32)
