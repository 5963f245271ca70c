"""Dropout, of numbers and of whole branches."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import Range, Scalar

Rate: TypeAlias = Annotated[Scalar, Range(0, 1, "[)")]


class Dropout(nn.Module):
    """In training, zeroes numbers with probability `rate` and divides the rest by 1 - rate: any shape -> the same.

    A rate of None is no dropout; a rate of 0 changes nothing but still draws from the stream `dropout`, so that
    one compiled program serves every rate (Srivastava et al., 2014).
    """

    rate: Rate | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or self.rate is None:
            return x
        return _drop(x, self.rate, self.make_rng("dropout"), x.shape)


class StochasticDepth(nn.Module):
    """In training, zeroes examples with probability `rate` and divides the rest by 1 - rate: (B, ...) -> the same.

    It ends the branch of a residual block, before the sum; examples are drawn one by one, which is called drop path
    too (Huang et al., 2016). A rate of None is none of it, one of 0 still draws, as in `Dropout`.
    """

    rate: Rate | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or self.rate is None:
            return x
        return _drop(x, self.rate, self.make_rng("dropout"), (x.shape[0],) + (1,) * (x.ndim - 1))


def _drop(x: jax.Array, rate: Scalar, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Zeroes with probability `rate` what a draw of `shape` stands for, and divides the rest by 1 - rate."""
    keep = 1 - jnp.asarray(rate, jnp.float32)
    kept = jax.random.bernoulli(key, keep, shape)
    return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros_like(x))
