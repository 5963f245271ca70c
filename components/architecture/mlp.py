"""Dense networks (multilayer perceptrons)."""

from __future__ import annotations

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.block.inputs import as_vectors
from components.layer import ActivationFunction, BatchNorm, Dense, Dropout, Initializer, Rate, activate
from components.types import MultiHot, Output, Range, Scalar


class HiddenLayers(nn.Module):
    """Base class of networks with hidden dense layers.

    Attributes:
        outputs: number of logits.
        widths: number of units of each hidden layer.
        activation: activation function of the hidden layers.
        initializer: distribution of the kernels of the hidden layers.
        batch_norm: whether hidden layers have batch normalization instead of biases.
        dropout: rate after each hidden layer. None: no dropout.
        dtype: dtype of the computation.

    References:
        Rumelhart et al., 1986: Learning representations by back-propagating errors.
    """

    outputs: int
    widths: tuple[Annotated[int, Range(1)], ...]
    activation: ActivationFunction = "relu"
    initializer: Initializer = "glorot_uniform"
    batch_norm: bool = False
    dropout: Rate | None = None
    dtype: Any = jnp.float32

    def apply_hidden(self, inputs: jax.Array | MultiHot, *, train: bool) -> tuple[Any, dict[str, jax.Array]]:
        """Returns the output of the last hidden layer, (B, D), and the outputs of all hidden layers by name.

        Call it in a compact method.
        """
        x = as_vectors(self, inputs)
        features = {}
        for n, units in enumerate(self.widths):
            dense = Dense(units, use_bias=not self.batch_norm, initializer=self.initializer, name=f"dense_{n}")
            x = dense(x, train=train).astype(self.dtype)
            if self.batch_norm:
                x = BatchNorm(name=f"batch_norm_{n}")(x, train=train)
            x = activate(self.activation, x)
            features[f"dense_{n}"] = x
            x = Dropout(self.dropout)(x, train=train)
        return x, features


class ReconstructingRegressor(HiddenLayers):
    """Dense network that also reconstructs its inputs: any input (B, ...), which is flattened -> (B, outputs).

    The mean squared error of the reconstruction is an internal loss, which keeps hidden layers from losing information.

    Attributes are those of `MLP`, and:
        strength: factor of the reconstruction error in the objective, 0 or more.

    References:
        Géron, 2019: Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow, chapter 12.
    """

    strength: Annotated[Scalar, Range(0)] = 0.05

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        x, features = self.apply_hidden(inputs, train=train)
        flat = inputs.reshape(len(inputs), -1).astype(jnp.float32)
        reconstruction = Dense(flat.shape[1], name="reconstruction")(x, train=train).astype(jnp.float32)
        error = jnp.square(reconstruction - flat).mean(1)
        features["reconstruction_error"] = error
        losses = {"reconstruction": jnp.asarray(self.strength, jnp.float32) * error}
        return Output(compute_logits(self.outputs, x, train=train), losses, features=features)


class MLP(HiddenLayers):
    """Dense network: any input (B, ...), which is flattened -> (B, outputs)."""

    @nn.compact
    def __call__(self, inputs: jax.Array | MultiHot, *, train: bool) -> Output:
        x, features = self.apply_hidden(inputs, train=train)
        return Output(compute_logits(self.outputs, x, train=train), features=features)
