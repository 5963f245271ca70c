"""Dropout of elements and of residual branches."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import Range, Scalar

Rate: TypeAlias = Annotated[Scalar, Range(0, 1, "[)")]


class Dropout(nn.Module):
    """In training, sets elements to zero at random and divides the others by 1 - rate: any shape -> the same shape.

    Attributes:
        rate: probability that an element is zero, in [0, 1). None disables dropout. A rate of 0 keeps every element
            but still consumes a key of the stream `dropout`, so that one compiled program serves every rate.

    References:
        Srivastava et al., 2014: Dropout: a simple way to prevent neural networks from overfitting.
    """

    rate: Rate | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or self.rate is None:
            return x
        return _drop(x, self.rate, self.make_rng("dropout"), x.shape)


class StochasticDepth(nn.Module):
    """In training, sets examples to zero at random and divides the others by 1 - rate: (B, ...) -> the same shape.

    It ends the branch of a residual block, before the sum. Other names: drop path, drop connect.

    Attributes:
        rate: probability that an example is zero, in [0, 1). None disables it. A rate of 0 keeps every example but
            still consumes a random key.

    References:
        Huang et al., 2016: Deep networks with stochastic depth.
    """

    rate: Rate | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or self.rate is None:
            return x
        return _drop(x, self.rate, self.make_rng("dropout"), (x.shape[0],) + (1,) * (x.ndim - 1))


def _drop(x: jax.Array, rate: Scalar, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws a mask of `shape`, which broadcasts against x, and scales the kept elements by 1 / (1 - rate)."""
    keep = 1 - jnp.asarray(rate, jnp.float32)
    kept = jax.random.bernoulli(key, keep, shape)
    return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros_like(x))
