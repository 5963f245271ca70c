"""Wide & Deep: a linear model and a dense network, trained together."""

from __future__ import annotations

import flax.linen as nn
import jax

from components.architecture.block.head import compute_logits, compute_wide_logits
from components.architecture.mlp import HiddenLayers
from components.types import MultiHot, Output


class WideDeep(HiddenLayers):
    """Wide & Deep: inputs `wide` and `deep` (B, ...), which are flattened -> (B, outputs).

    The logits are the sum of the logits of a linear model on `wide` and of a dense network on `deep`. List crosses of
    categories in `wide`, which memorizes combinations. List numbers and embeddings in `deep`, which generalizes. The
    linear model has no bias, and its kernel is initially zero.

    Attributes are those of `MLP`.

    References:
        Cheng et al., 2016: Wide & deep learning for recommender systems.
    """

    @nn.compact
    def __call__(self, wide: jax.Array | MultiHot, deep: jax.Array | MultiHot, *, train: bool) -> Output:
        x, features = self.apply_hidden(deep, train=train)
        logits = compute_logits(self.outputs, x, train=train)
        wide_logits = compute_wide_logits(self, self.outputs, wide, train=train)
        return Output(logits + wide_logits, features=features)
