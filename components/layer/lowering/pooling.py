"""Pooling: for windows up to 3 x 3 faster than XLA's own reduction, forward and backward."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from components.layer.shape import Pads, Pair

# Windows of up to 9 pixels are combined slice by slice. On the CPU this is 2 to 100 times as fast as XLA's reduction,
# because slices that are combined one after another fuse into one loop, and its gradient is fast too.
MAX_SLICED_PIXELS = 9


def pool(
    x: jax.Array,
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    primitive: Callable[..., jax.Array],
    neutral: float,
    window: Pair,
    stride: Pair,
    pads: Pads,
) -> jax.Array:
    """Combines the pixels of each window: images (B, H, W, C) -> (B, h, w, C).

    Args:
        x: images.
        combine: function of two arrays, element by element.
        primitive: the same function for `lax.reduce_window`.
        neutral: neutral element of `combine`, which also fills the padding.
        window, stride: height and width in pixels.
        pads: padding of the images.
    """
    if window[0] * window[1] > MAX_SLICED_PIXELS:
        return lax.reduce_window(x, neutral, primitive, (1, *window, 1), (1, *stride, 1), ((0, 0), *pads, (0, 0)))
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=neutral)
    return functools.reduce(combine, _slice_windows(x, window, stride))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def sum_windows(x: jax.Array, window: Pair, stride: Pair, pads: Pads) -> jax.Array:
    """The sum of the pixels of each window: images (B, H, W, C) -> (B, h, w, C). The padding counts as zeros.

    The slices of `pool` are faster forward, but their gradient takes two to three times as long as XLA's on the CPU
    (benchmarks/parts.py).
    """
    return pool(x, jnp.add, lax.add, 0.0, window, stride, pads)


@sum_windows.defjvp
def _differentiate_sum(
    window: Pair, stride: Pair, pads: Pads, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The sum, and its tangent by XLA's reduction, which the gradient is the transpose of."""
    tangent = lax.reduce_window(tangents[0], 0.0, lax.add, (1, *window, 1), (1, *stride, 1), ((0, 0), *pads, (0, 0)))
    return sum_windows(primals[0], window, stride, pads), tangent


def _slice_windows(x: jax.Array, window: Pair, stride: Pair) -> list[jax.Array]:
    """Returns an array (B, h, w, C) for each pixel of the window, row by row: this pixel of all windows."""
    sides = zip(x.shape[1:3], window, stride, strict=True)
    rows, columns = (
        (size - span) // step * step + 1 for size, span, step in sides
    )  # up to the start of the last window
    pixels = [(top, left) for top in range(window[0]) for left in range(window[1])]
    return [x[:, top : top + rows : stride[0], left : left + columns : stride[1]] for top, left in pixels]


def maximum(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the maximum, or NaN if one of both is NaN. For equal values, `a` gets the whole gradient.

    `jnp.maximum` would divide the gradient between equal values.
    """
    return jnp.where((b > a) | jnp.isnan(b), b, a)
