"""Any list of layers."""

from __future__ import annotations

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.ends import as_array, logits
from components.types import Output, UserError


class Sequential(nn.Module):
    """Layers one after another, then a dense layer to the outputs: (B, ...) -> (B, outputs).

    Layers are Flax modules, ours or Flax's own, from one array to one array; the last gives vectors (B, D).
    Raises UserError with the position and the class of a layer that can't take what the one before it gives.
    """

    outputs: int
    layers: tuple[nn.Module, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        x = as_array(self, inputs)
        features = {}
        for n, layer in enumerate(self.layers):
            x = _call(f"layer {n} ({type(layer).__name__})", layer, x, train)
            features[f"layers_{n}"] = x
        if x.ndim != 2:
            raise UserError(
                f"the last layer gives {x.shape}, not vectors (B, D): end with Flatten or GlobalAveragePool"
            )
        return Output(logits(self.outputs, x, train=train), features=features)


def _call(place: str, layer: nn.Module, x: jax.Array, train: bool) -> jax.Array:
    takes_train = "train" in inspect.signature(layer.__call__).parameters
    try:
        return layer(x, train=train) if takes_train else layer(x)
    except UserError as error:
        raise UserError(f"{place} can't take an input of shape {x.shape}: {error}") from error
