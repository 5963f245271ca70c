"""A linear model and a dense network, trained together."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.block.inputs import as_vectors
from components.architecture.mlp import Stack
from components.layer import Dense, Normal
from components.types import MultiHot, Output


class WideDeep(Stack):
    """Wide & Deep, a linear model plus a dense network: `wide` and `deep` (B, ...), flattened -> (B, outputs).

    The logits of both are added. Crosses of categories belong into `wide`, which memorizes combinations; numbers and
    embeddings belong into `deep`, which generalizes. The kernel of the linear model starts at zero, and it has no bias.
    A dense layer on the concatenation of `wide` and the last hidden layer computes the same function.

    Attributes are those of `MLP`.

    References:
        Cheng et al., 2016: Wide & deep learning for recommender systems.
    """

    @nn.compact
    def __call__(self, wide: jax.Array | MultiHot, deep: jax.Array | MultiHot, *, train: bool) -> Output:
        linear = Dense(self.outputs, use_bias=False, initializer=Normal(0.0), name="wide")
        x, features = self.hidden(deep, train=train)
        wide_logits = linear(as_vectors(self, wide), train=train).astype(jnp.float32)
        return Output(compute_logits(self.outputs, x, train=train) + wide_logits, features=features)
