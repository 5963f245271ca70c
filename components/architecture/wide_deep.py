"""A linear model and a deep one, trained together."""

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
    """A linear model of `wide` and a stack of dense layers on `deep`, whose logits are added (Cheng et al., 2016).

    Crosses of categories belong into `wide`, which remembers combinations; numbers and embeddings into `deep`, which
    generalizes. Both are (B, ...), flattened -> (B, outputs). The linear model starts at zero and has no bias beside
    that of the deep one. A network that puts `wide` beside the last hidden layer and a dense layer on both computes
    the same function: its kernel is one of ours on top of the other.
    """

    @nn.compact
    def __call__(self, wide: jax.Array | MultiHot, deep: jax.Array | MultiHot, *, train: bool) -> Output:
        linear = Dense(self.outputs, use_bias=False, initializer=Normal(0.0), name="wide")
        x, features = self.hidden(deep, train=train)
        remembered = linear(as_vectors(self, wide), train=train).astype(jnp.float32)
        return Output(compute_logits(self.outputs, x, train=train) + remembered, features=features)
