"""Activation functions by name, with the constants of Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias

import flax.linen as nn
import jax

from components.layer.table import get_entry

ActivationName: TypeAlias = Literal[
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
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

FUNCTIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "elu": jax.nn.elu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.2),
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


def activate(name: ActivationName | None, x: jax.Array) -> jax.Array:
    """Applies an activation function, element by element. None is the identity."""
    return x if name is None else get_entry("activation", FUNCTIONS, name)(x)


class Activation(nn.Module):
    """Activation function as a layer: any shape -> the same shape.

    Attributes:
        function: name of the activation function.
    """

    function: ActivationName

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return activate(self.function, x)
