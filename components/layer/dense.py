"""Fully connected layers."""

from __future__ import annotations

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationFunction, activate
from components.layer.initializer import Initializer, get_initializer
from components.layer.lowering.product import multiply
from components.layer.lowering.sparse import multiply_sparse
from components.layer.shape import broadcast_like
from components.types import MultiHot, Range, Scalar


class Dense(nn.Module):
    """Dense layer, a matrix product with bias and activation: (..., C) or MultiHot (B, C) -> (..., features).

    Attributes:
        features: number of units.
        activation: activation function, by name or as a function; None: no activation.
        use_bias: whether each unit has a bias.
        initializer: distribution of the kernel (C, features).
        initial_bias: initial value of the biases.
    """

    features: Annotated[int, Range(1)]
    activation: ActivationFunction | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    initial_bias: Scalar = 0.0

    @nn.compact
    def __call__(self, x: jax.Array | MultiHot, *, train: bool) -> jax.Array:
        del train
        channels = x.size if isinstance(x, MultiHot) else x.shape[-1]
        kernel = self.param("kernel", get_initializer(self.initializer), (channels, self.features), jnp.float32)
        if isinstance(x, MultiHot):
            # The product is in float32, because the gradient of the kernel sums many small terms. The output has the
            # type of the input.
            y = multiply_sparse(x, kernel).astype(x.weights.dtype)
        else:
            y = multiply(x, kernel.astype(x.dtype))
        if self.use_bias:
            initial_bias = nn.initializers.constant(self.initial_bias)
            y = y + broadcast_like(self.param("bias", initial_bias, (self.features,), jnp.float32), y)
        return activate(self.activation, y)


class Flatten(nn.Module):
    """Reshapes each example to a vector: (B, ...) -> (B, D)."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return x.reshape(x.shape[0], -1)
