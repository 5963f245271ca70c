"""Product of sparse vectors and a matrix: a weighted sum of rows, or a dense product, by fixed rules on shapes.

On two CPU cores, forward and backward, the sum of rows is up to 30 times as fast as a product with dense vectors; for a
small matrix and many ids it is up to 25 times as slow (benchmarks/embedding.py).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from components.types import MultiHot, register_pytrees

register_pytrees()

PART = 1 << 19  # numbers to gather at a time on the CPU: 2 MiB, which stay in its cache
LARGE_PART = 1 << 25  # on other devices: 128 MiB, so that memory is bounded


def product(x: MultiHot, matrix: jax.Array, part: int | None = None) -> jax.Array:
    """Multiplies sparse vectors and a matrix.

    Args:
        x: vectors (B, size); their weights have any float dtype.
        matrix: (size, D), float32.
        part: numbers to gather at a time, at least those of one example; None: the constant of the device.

    Returns:
        (B, D), float32.
    """
    ids, weights = in_range(x)
    matrix = jnp.asarray(matrix)
    count, width = ids.shape[1], matrix.shape[1]
    if 8 * x.size <= count * min(width, 64):
        return _dense(ids, weights, x.size) @ matrix
    part = part or (PART if jax.default_backend() == "cpu" else LARGE_PART)
    if ids.size * width > part:
        return _in_parts(part, matrix, ids, weights)
    return _gathered(matrix, ids, weights)


def in_range(x: MultiHot) -> tuple[jax.Array, jax.Array]:
    """Returns ids that are all in range, and float32 weights that are 0 where an id was out of range."""
    valid = (x.ids >= 0) & (x.ids < x.size)
    return jnp.where(valid, x.ids, 0), jnp.where(valid, x.weights.astype(jnp.float32), 0)


def _dense(ids: jax.Array, weights: jax.Array, size: int) -> jax.Array:
    rows = jnp.arange(len(ids))[:, None]
    return jnp.zeros((len(ids), size), jnp.float32).at[rows, ids].add(weights)


def _gathered(matrix: jax.Array, ids: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.einsum("bk,bkd->bd", weights, matrix[ids])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _in_parts(part: int, matrix: jax.Array, ids: jax.Array, weights: jax.Array) -> jax.Array:
    """Computes `_gathered` and its gradient a part of the batch at a time: up to 8 times as fast for large parts."""
    parts = _parts(part, matrix.shape[1], ids, weights)
    return _whole(lax.map(lambda arrays: _gathered(matrix, *arrays), parts), len(ids))


def _forward(
    part: int, matrix: jax.Array, ids: jax.Array, weights: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _in_parts(part, matrix, ids, weights), (matrix, ids, weights)


def _backward(part: int, kept: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array, None, jax.Array]:
    matrix, ids, weights = kept
    parts = _parts(part, matrix.shape[1], ids, weights, gradient)

    def add(total: jax.Array, part: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        ids, weights, gradient = part
        return total.at[ids].add(weights[..., None] * gradient[:, None]), None

    def weight_gradient(part: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.einsum("bkd,bd->bk", matrix[part[0]], part[2])

    return lax.scan(add, jnp.zeros_like(matrix), parts)[0], None, _whole(lax.map(weight_gradient, parts), len(ids))


_in_parts.defvjp(_forward, _backward)


def _parts(part: int, width: int, ids: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Reshapes arrays (B, …) to (parts, examples of a part, …), with zeros after the last example."""
    rows = -(-len(ids) // -(-ids.size * width // part))
    count = -(-len(ids) // rows)
    more = count * rows - len(ids)
    padded = (jnp.pad(array, ((0, more), (0, 0))) for array in (ids, *arrays))
    return tuple(array.reshape(count, rows, -1) for array in padded)


def _whole(parts: jax.Array, count: int) -> jax.Array:
    return parts.reshape(-1, parts.shape[-1])[:count]
