"""Any list of layers."""

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

    Layers are Flax modules, ours or Flax's own, from one array to one array; `Residual`, `Branches` and `Repeat` take
    lists of layers themselves. The last gives vectors (B, D). Raises UserError with the position and the class of a
    layer that can't take what the one before it gives.
    """

    outputs: int
    layers: tuple[Layer, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        x, *given = apply_layers(self.layers, as_array(self, inputs), train=train)
        features = {f"layers_{n}": feature for n, feature in enumerate(given)}
        x = given[-1] if given else x
        if x.ndim != 2:
            raise UserError(
                f"the last layer gives {x.shape}, not vectors (B, D): end with Flatten or GlobalAveragePool"
            )
        return Output(compute_logits(self.outputs, x, train=train), features=features)
