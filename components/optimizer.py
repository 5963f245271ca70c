"""Optimizers that Optax doesn't have."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from components.types import Range, Scalar

__all__ = ["ftrl"]


class FtrlState(NamedTuple):
    """The state of `ftrl`: trees with the structure of the parameters.

    Attributes:
        accumulator: n, the sum of the squared gradients.
        linear: z, the linear term of the objective.
    """

    accumulator: Any
    linear: Any


def ftrl(
    learning_rate: Annotated[Scalar, Range(0)],
    l1: Annotated[Scalar, Range(0)] = 0.0,
    l2: Annotated[Scalar, Range(0)] = 0.0,
    l2_shrinkage: Annotated[Scalar, Range(0)] = 0.0,
    beta: Annotated[Scalar, Range(0)] = 0.0,
    initial_accumulator: Annotated[Scalar, Range(0, math.inf, "()")] = 0.1,
    learning_rate_power: Annotated[Scalar, Range(-math.inf, 0)] = -0.5,
) -> optax.GradientTransformation:
    """Follow-the-regularized-leader (FTRL-Proximal), as in TensorFlow and Keras.

    With p = -learning_rate_power, gradient g and parameter w:
        n' = n + g²
        z' = z + g + 2 l2_shrinkage w - (n'^p - n^p) / learning_rate * w
        w' = (clip(z', -l1, l1) - z') / ((n'^p + beta) / learning_rate + 2 l2)
    The parameter enters z in proportion to the growth of n^p, so the first step forgets most of its initial value.
    A step with the learning rate 0 changes nothing.

    Args:
        learning_rate: 0 or more.
        l1: strength of the L1 penalty. It sets parameters to exactly 0.
        l2: strength of the L2 penalty.
        l2_shrinkage: strength of an L2 penalty that is added to the gradient in z only, not in n.
        beta: added to n'^p. A larger one lowers the rate of the first steps.
        initial_accumulator: the initial n, above 0.
        learning_rate_power: the exponent of n in the learning rate, 0 or less. 0: the rate doesn't decrease with n.

    References:
        McMahan et al., 2013: Ad click prediction: a view from the trenches.
    """

    def init(parameters: Any) -> FtrlState:
        accumulator = jax.tree.map(lambda leaf: jnp.full_like(leaf, initial_accumulator), parameters)
        return FtrlState(accumulator, jax.tree.map(jnp.zeros_like, parameters))

    def update(gradients: Any, state: FtrlState, parameters: Any = None) -> tuple[Any, FtrlState]:
        if parameters is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        rate, power = jnp.asarray(learning_rate, jnp.float32), -jnp.asarray(learning_rate_power, jnp.float32)
        is_moving = rate > 0
        divisor = jnp.where(is_moving, rate, jnp.float32(1))

        def step(g: jax.Array, n: jax.Array, z: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            new_n = n + jnp.square(g)
            new_z = z + g + 2 * l2_shrinkage * w - (new_n**power - n**power) / divisor * w
            curvature = (new_n**power + beta) / divisor + 2 * l2
            new_w = (jnp.clip(new_z, -l1, l1) - new_z) / curvature
            change = jnp.where(is_moving, new_w - w, jnp.zeros_like(w))
            return change, jnp.where(is_moving, new_n, n), jnp.where(is_moving, new_z, z)

        steps = jax.tree.map(step, gradients, state.accumulator, state.linear, parameters)
        outer, inner = jax.tree.structure(gradients), jax.tree.structure((0, 0, 0))
        changes, accumulator, linear = jax.tree.transpose(outer, inner, steps)
        return changes, FtrlState(accumulator, linear)

    return optax.GradientTransformation(init, update)
