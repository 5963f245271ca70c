"""Product of sparse vectors and a matrix: a weighted sum of rows, or a dense product, chosen by the shapes.

On two CPU cores, forward and backward, the sum of rows is up to 30 times as fast as the dense product. For a small
matrix and many ids it is up to 25 times as slow (benchmarks/embedding.py).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from components.types import MultiHot, register_pytrees

register_pytrees()

CPU_CHUNK_SIZE = 1 << 19  # numbers to gather at a time on the CPU: 2 MiB, which stay in its cache
DEVICE_CHUNK_SIZE = 1 << 25  # the same on other devices: 128 MiB, which bounds the memory


def multiply_sparse(x: MultiHot, matrix: jax.Array, chunk_size: int | None = None) -> jax.Array:
    """Multiplies sparse vectors and a matrix.

    Args:
        x: vectors (B, size). Their weights have any float dtype.
        matrix: (size, D), float32.
        chunk_size: numbers of the matrix to gather at a time. A larger batch is split into chunks of examples, of one
            example at least. None: the constant of the device.

    Returns:
        (B, D), float32.
    """
    ids, weights = clear_invalid(x)
    matrix = jnp.asarray(matrix)
    ids_per_example, width = ids.shape[1], matrix.shape[1]
    # With so many ids for the rows of the matrix, the dense product is faster (benchmarks/embedding.py).
    if 8 * x.size <= ids_per_example * min(width, 64):
        return to_dense(x) @ matrix
    chunk_size = chunk_size or (CPU_CHUNK_SIZE if jax.default_backend() == "cpu" else DEVICE_CHUNK_SIZE)
    if ids.size * width > chunk_size:
        return _sum_rows_in_chunks(chunk_size, matrix, ids, weights)
    return _sum_rows(matrix, ids, weights)


def clear_invalid(x: MultiHot) -> tuple[jax.Array, jax.Array]:
    """Returns ids and float32 weights. An id out of range becomes 0, with weight 0."""
    valid = (x.ids >= 0) & (x.ids < x.size)
    return jnp.where(valid, x.ids, 0), jnp.where(valid, x.weights.astype(jnp.float32), 0)


def to_dense(x: MultiHot) -> jax.Array:
    """Sparse vectors as an array (B, size), float32."""
    ids, weights = clear_invalid(x)
    examples = jnp.arange(len(ids))[:, None]
    return jnp.zeros((len(ids), x.size), jnp.float32).at[examples, ids].add(weights)


def _sum_rows(matrix: jax.Array, ids: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the weighted sum of the rows of the matrix that the ids of each example name."""
    return jnp.einsum("bk,bkd->bd", weights, matrix[ids])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_rows_in_chunks(chunk_size: int, matrix: jax.Array, ids: jax.Array, weights: jax.Array) -> jax.Array:
    """Computes `_sum_rows` one chunk of examples at a time. For large batches it is up to 8 times as fast."""
    chunks = _split(chunk_size, matrix.shape[1], ids, weights)
    return _join(lax.map(lambda arrays: _sum_rows(matrix, *arrays), chunks), len(ids))


def _forward(
    chunk_size: int, matrix: jax.Array, ids: jax.Array, weights: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _sum_rows_in_chunks(chunk_size, matrix, ids, weights), (matrix, ids, weights)


def _backward(
    chunk_size: int, residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, None, jax.Array]:
    matrix, ids, weights = residuals
    chunks = _split(chunk_size, matrix.shape[1], ids, weights, gradient)

    def add_matrix_gradient(total: jax.Array, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        ids, weights, gradient = arrays
        return total.at[ids].add(weights[..., None] * gradient[:, None]), None

    def weight_gradient(arrays: tuple[jax.Array, ...]) -> jax.Array:
        ids, _, gradient = arrays
        return jnp.einsum("bkd,bd->bk", matrix[ids], gradient)

    matrix_gradient, _ = lax.scan(add_matrix_gradient, jnp.zeros_like(matrix), chunks)
    return matrix_gradient, None, _join(lax.map(weight_gradient, chunks), len(ids))


_sum_rows_in_chunks.defvjp(_forward, _backward)


def _split(chunk_size: int, width: int, ids: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Reshapes arrays (B, …) to (chunks, examples per chunk, …). The last chunk is padded with zeros."""
    min_chunks = math.ceil(ids.size * width / chunk_size)
    examples_per_chunk = math.ceil(len(ids) / min_chunks)
    chunk_count = math.ceil(len(ids) / examples_per_chunk)
    padding = chunk_count * examples_per_chunk - len(ids)
    padded = (jnp.pad(array, ((0, padding), (0, 0))) for array in (ids, *arrays))
    return tuple(array.reshape(chunk_count, examples_per_chunk, -1) for array in padded)


def _join(chunks: jax.Array, example_count: int) -> jax.Array:
    """Reshapes (chunks, examples per chunk, D) to (example_count, D) without the padding."""
    return chunks.reshape(-1, chunks.shape[-1])[:example_count]
