"""Steps: how the gradients of the objective are computed. The program then updates the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp

from components.types import Range, Scalar

Objective: TypeAlias = Callable[[Any], tuple[jax.Array, Any]]  # parameters -> (value, auxiliary results)


@dataclass(frozen=True)
class Supervised:
    """The gradient of the objective at the parameters."""

    def __call__(self, objective: Objective, parameters: Any) -> tuple[tuple[jax.Array, Any], Any]:
        return jax.value_and_grad(objective, has_aux=True)(parameters)


@dataclass(frozen=True, kw_only=True)
class SAM:
    """Sharpness-aware minimization: the gradient at the worst point near the parameters.

    The point is parameters + rho * gradient / |gradient|, with the norm over all parameters. The value, the metrics and
    the running moments of BatchNorm are those at the parameters. A step takes twice as long.

    Attributes:
        rho: the distance of the point, 0 or more.

    References:
        Foret et al., 2021: Sharpness-aware minimization for efficiently improving generalization.
    """

    rho: Annotated[Scalar, Range(0)] = 0.05

    def __call__(self, objective: Objective, parameters: Any) -> tuple[tuple[jax.Array, Any], Any]:
        result, gradients = jax.value_and_grad(objective, has_aux=True)(parameters)
        squares = sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradients))
        scale = jnp.asarray(self.rho, jnp.float32) / (jnp.sqrt(squares) + 1e-12)
        worst = jax.tree.map(lambda weights, gradient: weights + scale * gradient, parameters, gradients)
        return result, jax.grad(objective, has_aux=True)(worst)[0]
