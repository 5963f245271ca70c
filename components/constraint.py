"""Constraints on parameters, applied after each update of the optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from components.paths import EMBEDDINGS, WEIGHTS, leaves_with_paths, map_matching, matches_any
from components.types import FieldError, Range, Scalar, UserError, is_above, shortest_decimal

EPSILON = 1e-7  # added to norms, as in Keras
PROJECTIONS = tuple(f"**/{name}/kernel" for name in ("query", "key", "value"))
"""Patterns of Flax's projections of attention. If they have heads, their kernels are (inputs, heads, units)."""


@dataclass(frozen=True, kw_only=True)
class MaxNorm:
    """Limits the norm of the weights that enter each output unit: w * min(norm, limit) / (norm + 1e-7).

    The norm is taken over the axes that a unit sums over: all axes of a kernel but those of its bias, which are the
    last one, or the heads and the last one in the projections of attention, and the last axis of an embedding.

    Attributes:
        limit: the largest norm, above 0.
        paths: patterns of the constrained parameters. None: all kernels and embeddings.
        axis: the axes that the norm is taken over, as in Keras. None: as above. Transposed convolutions with kernels
            (H, W, outputs, inputs) need [0, 1, 3].

    References:
        Srivastava et al., 2014: Dropout: a simple way to prevent neural networks from overfitting.
    """

    limit: Annotated[Scalar, Range(0, math.inf, "()")] = 2.0
    paths: tuple[str, ...] | None = None
    axis: tuple[int, ...] | None = None

    def __call__(self, parameters: Any) -> Any:
        leaves = dict(leaves_with_paths(parameters))

        def limit(path: str, weights: jax.Array) -> jax.Array:
            norm = _unit_norms(path, weights, leaves, self.axis)
            return weights * (jnp.minimum(norm, jnp.asarray(self.limit, norm.dtype)) / (norm + EPSILON))

        return map_matching(limit, parameters, self.paths, default=WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class UnitNorm:
    """Scales the weights that enter each output unit to the norm 1: w / (norm + 1e-7), with the norm of `MaxNorm`.

    Attributes:
        paths: patterns of the constrained parameters. None: all kernels and embeddings.
        axis: the axes that the norm is taken over, as in `MaxNorm`.
    """

    paths: tuple[str, ...] | None = None
    axis: tuple[int, ...] | None = None

    def __call__(self, parameters: Any) -> Any:
        leaves = dict(leaves_with_paths(parameters))

        def scale(path: str, weights: jax.Array) -> jax.Array:
            return weights / (_unit_norms(path, weights, leaves, self.axis) + EPSILON)

        return map_matching(scale, parameters, self.paths, default=WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class MinMaxNorm:
    """Moves the norm of the weights that enter each output unit towards an interval, with the norm of `MaxNorm`.

    w * (rate * clip(norm, low, high) + (1 - rate) * norm) / (norm + 1e-7)

    Attributes:
        low: the smallest norm, 0 or more.
        high: the largest norm, above 0 and at least `low`.
        rate: the share of the way to the interval, in (0, 1].
        paths: patterns of the constrained parameters. None: all kernels and embeddings.
        axis: the axes that the norm is taken over, as in `MaxNorm`.
    """

    low: Annotated[Scalar, Range(0)] = 0.5
    high: Annotated[Scalar, Range(0, math.inf, "()")] = 2.0
    rate: Annotated[Scalar, Range(0, 1, "(]")] = 1.0
    paths: tuple[str, ...] | None = None
    axis: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if is_above(self.low, self.high):
            text = f"{shortest_decimal(self.low)} is above `high`, {shortest_decimal(self.high)}."
            raise FieldError("low", f"{text} Choose a smaller one.")

    def __call__(self, parameters: Any) -> Any:
        leaves = dict(leaves_with_paths(parameters))

        def move(path: str, weights: jax.Array) -> jax.Array:
            norm = _unit_norms(path, weights, leaves, self.axis)
            low, high, rate = (jnp.asarray(each, norm.dtype) for each in (self.low, self.high, self.rate))
            moved = rate * jnp.clip(norm, low, high) + (1 - rate) * norm
            return weights * (moved / (norm + EPSILON))

        return map_matching(move, parameters, self.paths, default=WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class NonNegative:
    """Sets negative weights to 0.

    Attributes:
        paths: patterns of the constrained parameters. None: all kernels and embeddings.
    """

    paths: tuple[str, ...] | None = None

    def __call__(self, parameters: Any) -> Any:
        return map_matching(lambda path, weights: jax.nn.relu(weights), parameters, self.paths, default=WEIGHTS)


def _unit_norms(
    path: str, weights: jax.Array, parameters: Mapping[str, Any], axis: tuple[int, ...] | None
) -> jax.Array:
    """The norm of the weights of each output unit. The axes that it is taken over have length 1.

    Args:
        path: the path of the weights.
        weights: the weights.
        parameters: all parameters by path.
        axis: the axes that the norm is taken over. None: they follow from the kind of the weights.

    Raises:
        UserError: the weights don't have these axes, or it isn't known which axes are those of the output units.
    """
    if axis is None:
        axes = _input_axes(path, weights, parameters)
    else:
        axes = tuple(number % weights.ndim for number in axis if -weights.ndim <= number < weights.ndim)
        if len(set(axes)) < max(len(axis), 1):
            raise FieldError("axis", f"{path} has the shape {weights.shape}. Choose different ones of its axes.")
    return jnp.sqrt(jnp.sum(jnp.square(weights), axis=axes, keepdims=True))


def _input_axes(path: str, weights: jax.Array, parameters: Mapping[str, Any]) -> tuple[int, ...]:
    """The axes of weights that an output unit sums over."""
    if weights.ndim == 1 or matches_any(EMBEDDINGS, path):
        return (weights.ndim - 1,)
    outputs = 2 if weights.ndim == 3 and matches_any(PROJECTIONS, path) else 1
    bias = parameters.get(f"{path.rpartition('/')[0]}/bias")  # has the axes of the output units
    if bias is not None and matches_any(("**/kernel",), path):
        outputs = bias.ndim
        if weights.shape[weights.ndim - outputs :] != bias.shape:
            raise UserError(
                f"the output units of {path} are unknown: its shape {weights.shape} doesn't end with that of its bias, "
                f"{bias.shape}. Set `axis`, or set `paths` without it."
            )
    return tuple(range(weights.ndim - outputs))
