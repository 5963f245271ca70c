"""Penalties on the parameters: kernels and embeddings pay, biases and normalization don't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from components.paths import leaves_with_paths
from components.types import Range, Scalar

PENALIZED = ("kernel", "embedding")  # names of parameters


@dataclass(frozen=True)
class L1:
    """`strength` times the sum of absolute weights (Tibshirani, 1996)."""

    strength: Annotated[Scalar, Range(0)]

    def __call__(self, parameters: Any) -> jax.Array:
        return jnp.asarray(self.strength, jnp.float32) * _total(jnp.abs, parameters)


@dataclass(frozen=True)
class L2:
    """`strength` times the sum of squared weights, without a half (Hoerl and Kennard, 1970)."""

    strength: Annotated[Scalar, Range(0)]

    def __call__(self, parameters: Any) -> jax.Array:
        return jnp.asarray(self.strength, jnp.float32) * _total(jnp.square, parameters)


def _total(cost: Callable[[jax.Array], jax.Array], parameters: Any) -> jax.Array:
    """The summed cost of what is penalized in a tree of parameters."""
    weights = [leaf for path, leaf in leaves_with_paths(parameters) if path.rpartition("/")[2] in PENALIZED]
    return sum((cost(leaf.astype(jnp.float32)).sum() for leaf in weights), jnp.float32(0))
