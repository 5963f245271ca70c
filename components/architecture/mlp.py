"""Dense networks."""

from __future__ import annotations

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.block.inputs import as_vectors
from components.layer import ActivationName, BatchNorm, Dense, Dropout, InitializerName, Rate, activate
from components.types import MultiHot, Output, Range


class Stack(nn.Module):
    """A stack of dense layers (Rumelhart et al., 1986).

    Each of `widths` is a layer of so many units: a matrix product with a bias, or with batch normalization in its
    place; then the activation; then, unless the rate is None, dropout.
    """

    outputs: int
    widths: tuple[Annotated[int, Range(1)], ...]
    activation: ActivationName = "relu"
    initializer: InitializerName = "glorot_uniform"
    batch_norm: bool = False
    dropout: Rate | None = None
    dtype: Any = jnp.float32

    def hidden(self, inputs: jax.Array | MultiHot, *, train: bool) -> tuple[Any, dict[str, jax.Array]]:
        """What the last layer gives, (B, D), and what each gives; the input itself where there is no layer."""
        x = as_vectors(self, inputs)
        features = {}
        for n, width in enumerate(self.widths):
            dense = Dense(width, use_bias=not self.batch_norm, initializer=self.initializer, name=f"dense_{n}")
            x = dense(x, train=train).astype(self.dtype)
            if self.batch_norm:
                x = BatchNorm(name=f"batch_norm_{n}")(x, train=train)
            x = activate(self.activation, x)
            features[f"dense_{n}"] = x
            x = Dropout(self.dropout)(x, train=train)
        return x, features


class MLP(Stack):
    """A stack of dense layers, and one more for the outputs: any input (B, ...), flattened -> (B, outputs)."""

    @nn.compact
    def __call__(self, inputs: jax.Array | MultiHot, *, train: bool) -> Output:
        x, features = self.hidden(inputs, train=train)
        return Output(compute_logits(self.outputs, x, train=train), features=features)
