"""The product of sparse vectors and a matrix: its rows that they name, weighted and added, by fixed rules on shapes.

On two CPU cores, forward and backward, that is up to 30 times as fast as a product with vectors made dense; but for a
small matrix and many ids it is up to 25 times as slow (benchmarks/embedding.py).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from components.types import MultiHot, register

register()

PART = 1 << 19  # numbers that are gathered at a time on the CPU: 2 MiB stay in its cache
LARGE_PART = 1 << 25  # elsewhere: 128 MiB, so that memory is bounded


def product(x: MultiHot, matrix: jax.Array, part: int | None = None) -> jax.Array:
    """Vectors (B, size) and a matrix (size, D) of float32 -> (B, D), float32; `weights` may be of any float dtype.

    `part` is how many numbers are gathered at a time, at least those of an example; None: as suits the device.
    """
    ids, weights = named(x)
    matrix = jnp.asarray(matrix)
    count, width = ids.shape[1], matrix.shape[1]
    if 8 * x.size <= count * min(width, 64):
        return _dense(ids, weights, x.size) @ matrix
    part = part or (PART if jax.default_backend() == "cpu" else LARGE_PART)
    if ids.size * width > part:
        return _in_parts(part, matrix, ids, weights)
    return _gathered(matrix, ids, weights)


def named(x: MultiHot) -> tuple[jax.Array, jax.Array]:
    """Ids that are all in range, and float32 weights, 0 where an id stood for nothing."""
    there = (x.ids >= 0) & (x.ids < x.size)
    return jnp.where(there, x.ids, 0), jnp.where(there, x.weights.astype(jnp.float32), 0)


def _dense(ids: jax.Array, weights: jax.Array, size: int) -> jax.Array:
    rows = jnp.arange(len(ids))[:, None]
    return jnp.zeros((len(ids), size), jnp.float32).at[rows, ids].add(weights)


def _gathered(matrix: jax.Array, ids: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.einsum("bk,bkd->bd", weights, matrix[ids])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _in_parts(part: int, matrix: jax.Array, ids: jax.Array, weights: jax.Array) -> jax.Array:
    """The same, some examples at a time; so is the gradient: up to 8 times as fast where much is gathered."""
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

    def of_weights(part: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.einsum("bkd,bd->bk", matrix[part[0]], part[2])

    return lax.scan(add, jnp.zeros_like(matrix), parts)[0], None, _whole(lax.map(of_weights, parts), len(ids))


_in_parts.defvjp(_forward, _backward)


def _parts(part: int, width: int, ids: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Arrays (B, …) as (parts, examples of a part, …); what the last one lacks is zero, so it adds nothing."""
    rows = -(-len(ids) // -(-ids.size * width // part))
    count = -(-len(ids) // rows)
    more = count * rows - len(ids)
    padded = (jnp.pad(array, ((0, more), (0, 0))) for array in (ids, *arrays))
    return tuple(array.reshape(count, rows, -1) for array in padded)


def _whole(parts: jax.Array, count: int) -> jax.Array:
    return parts.reshape(-1, parts.shape[-1])[:count]
