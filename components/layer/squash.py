"""The squashing function of the first convolutional networks."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

AMPLITUDE, SLOPE = 1.7159, 2 / 3  # so that ±1 goes to ±1, where the second derivative is largest


def squash(x: jax.Array) -> jax.Array:
    """1.7159 tanh(2/3 x) of every number (LeCun et al., 1998)."""
    return AMPLITUDE * jnp.tanh(SLOPE * x)


class Squash(nn.Module):
    """The same as a layer of its own: any shape -> the same."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return squash(x)
