"""Dropout of single elements and of whole examples."""

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
        rate: probability that an element becomes zero, in [0, 1). None disables dropout. A rate of 0 keeps every
            element but still consumes a key of the stream `dropout`, so that one compiled program serves all rates.

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

    Use it as the last layer of a residual branch. It is also called drop path or drop connect.

    Attributes:
        rate: probability that an example becomes zero, in [0, 1). None and 0 are as in `Dropout`.

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
    """Sets elements to zero by a random mask of `shape`, which broadcasts against x, and scales the others."""
    keep_rate = 1 - jnp.asarray(rate, jnp.float32)
    mask = jax.random.bernoulli(key, keep_rate, shape)
    return jnp.where(mask, x / keep_rate.astype(x.dtype), jnp.zeros_like(x))
