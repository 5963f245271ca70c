"""A list of layers as a network."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.block.inputs import as_array
from components.layer.composite import Layer, apply_layers
from components.types import Output, UserError


class Sequential(nn.Module):
    """Layers one after another, then a dense layer to the outputs: (B, ...) -> (B, outputs).

    Attributes:
        outputs: number of logits.
        layers: Flax modules, ours or Flax's own, from one array to one array; `Residual`, `Branches` and `Repeat` hold
            lists of layers. The last layer gives vectors (B, D).
        dtype: dtype of the computation.

    Raises:
        UserError: a layer can't take the output of the layer before it; the message has its position and its class.
    """

    outputs: int
    layers: tuple[Layer, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        x, *outputs = apply_layers(self.layers, as_array(self, inputs), train=train)
        features = {f"layers_{n}": feature for n, feature in enumerate(outputs)}
        x = outputs[-1] if outputs else x
        if x.ndim != 2:
            raise UserError(
                f"the last layer gives {x.shape}, not vectors (B, D): end with Flatten or GlobalAveragePool"
            )
        return Output(compute_logits(self.outputs, x, train=train), features=features)
