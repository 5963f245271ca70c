"""Penalties on kernels and embeddings, and on no other parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from components.paths import WEIGHTS, leaves_with_paths, select_default
from components.types import Range, Scalar


@dataclass(frozen=True)
class L1:
    """L1 penalty: strength * sum of |weight|.

    Attributes:
        strength: factor of the sum, 0 or more.

    References:
        Tibshirani, 1996: Regression shrinkage and selection via the lasso.
    """

    strength: Annotated[Scalar, Range(0)]

    def __call__(self, parameters: Any) -> jax.Array:
        return jnp.asarray(self.strength, jnp.float32) * _sum_penalties(jnp.abs, parameters)


@dataclass(frozen=True)
class L2:
    """L2 penalty: strength * sum of weight², without a factor of 1/2.

    Attributes:
        strength: factor of the sum, 0 or more.

    References:
        Hoerl and Kennard, 1970: Ridge regression.
    """

    strength: Annotated[Scalar, Range(0)]

    def __call__(self, parameters: Any) -> jax.Array:
        return jnp.asarray(self.strength, jnp.float32) * _sum_penalties(jnp.square, parameters)


def _sum_penalties(penalty: Callable[[jax.Array], jax.Array], parameters: Any) -> jax.Array:
    """Returns the sum of an elementwise penalty over the kernels and embeddings of a tree of parameters.

    Raises UserError if there is none.
    """
    leaves = dict(leaves_with_paths(parameters))
    weights = (leaves[path].astype(jnp.float32) for path in select_default(list(leaves), WEIGHTS))
    return sum((penalty(leaf).sum() for leaf in weights), jnp.float32(0))
