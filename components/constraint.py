"""Constraints on parameters, applied after each update of the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from components.paths import EMBEDDINGS, WEIGHTS, map_matching, matches_any
from components.types import Range, Scalar

EPSILON = 1e-7  # added to norms, as in Keras


@dataclass(frozen=True, kw_only=True)
class MaxNorm:
    """Limits the norm of the weights that enter each output unit: w * min(norm, limit) / (norm + 1e-7).

    The norm is taken over all axes of a kernel but the last, and over the last axis of an embedding.

    Attributes:
        limit: the largest norm, above 0.
        paths: patterns of the constrained parameters. None: all kernels and embeddings.

    References:
        Srivastava et al., 2014: Dropout: a simple way to prevent neural networks from overfitting.
    """

    limit: Annotated[Scalar, Range(0, math.inf, "()")] = 2.0
    paths: tuple[str, ...] | None = None

    def __call__(self, parameters: Any) -> Any:
        def limit(path: str, weights: jax.Array) -> jax.Array:
            norm = _unit_norms(path, weights)
            return weights * (jnp.minimum(norm, jnp.asarray(self.limit, norm.dtype)) / (norm + EPSILON))

        return map_matching(limit, parameters, self.paths, default=WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class UnitNorm:
    """Scales the weights that enter each output unit to the norm 1: w / (norm + 1e-7), with the norm of `MaxNorm`.

    Attributes:
        paths: patterns of the constrained parameters. None: all kernels and embeddings.
    """

    paths: tuple[str, ...] | None = None

    def __call__(self, parameters: Any) -> Any:
        def scale(path: str, weights: jax.Array) -> jax.Array:
            return weights / (_unit_norms(path, weights) + EPSILON)

        return map_matching(scale, parameters, self.paths, default=WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class NonNegative:
    """Sets negative weights to 0.

    Attributes:
        paths: patterns of the constrained parameters. None: all kernels and embeddings.
    """

    paths: tuple[str, ...] | None = None

    def __call__(self, parameters: Any) -> Any:
        return map_matching(lambda path, weights: jax.nn.relu(weights), parameters, self.paths, default=WEIGHTS)


def _unit_norms(path: str, weights: jax.Array) -> jax.Array:
    """The norm of the weights of each output unit. The axes that it is taken over have length 1."""
    is_row_a_unit = weights.ndim == 1 or matches_any(EMBEDDINGS, path)
    axes = -1 if is_row_a_unit else tuple(range(weights.ndim - 1))
    return jnp.sqrt(jnp.sum(jnp.square(weights), axis=axes, keepdims=True))
