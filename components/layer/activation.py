"""Activation functions by name, with the constants of Keras, and one with parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.shape import broadcast_like
from components.layer.table import describe_function, get_entry
from components.types import Scalar, UserError

ActivationName: TypeAlias = Literal[
    "celu",
    "elu",
    "exponential",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]

ActivationFunction: TypeAlias = ActivationName | Callable[[jax.Array], jax.Array]
"""The type of parameters called `activation`: a name, or a function of an array that keeps its shape."""

FUNCTIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "exponential": jnp.exp,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "hard_swish": jax.nn.hard_swish,
    "hard_tanh": jax.nn.hard_tanh,
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.2),
    "log_sigmoid": jax.nn.log_sigmoid,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "swish": jax.nn.silu,
    "tanh": jax.nn.tanh,
}


def activate(activation: ActivationFunction | None, x: jax.Array) -> jax.Array:
    """Applies an activation function, element by element. None is the identity.

    Raises:
        UserError: the name is unknown, or a function of the user returns another shape or type of number.
    """
    if activation is None:
        return x
    if isinstance(activation, str):
        return get_entry("activation", FUNCTIONS, activation)(x)
    y = activation(x)
    if getattr(y, "shape", None) != x.shape or y.dtype != x.dtype:
        returned = f"{y.dtype} {y.shape}" if isinstance(y, jax.Array) else f"a {type(y).__name__}"
        raise UserError(f"activation {describe_function(activation)} returns {returned} for {x.dtype} {x.shape}.")
    return y


class Activation(nn.Module):
    """Activation function as a layer: any shape -> the same shape.

    Attributes:
        function: name of the activation function, or the function.
    """

    function: ActivationFunction

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return activate(self.function, x)


class PReLU(nn.Module):
    """Leaky ReLU with a trained slope for each channel: any shape (..., C) -> the same shape.

    y = x where x > 0, else slope * x.

    Attributes:
        initial_slope: initial value of the slopes; 0.25 in the paper.

    References:
        He et al., 2015: Delving deep into rectifiers.
    """

    initial_slope: Scalar = 0.25

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        slope = self.param("slope", nn.initializers.constant(self.initial_slope), (x.shape[-1],), jnp.float32)
        return jnp.where(x > 0, x, broadcast_like(slope, x) * x)
