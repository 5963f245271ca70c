"""Attention to channels."""

from __future__ import annotations

from typing import Annotated

import flax.linen as nn
import jax

from components.layer.activation import ActivationName
from components.layer.dense import Dense
from components.layer.initializer import Initializer
from components.layer.shape import check_images
from components.types import Range

REDUCTION = 16  # the paper's


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate that sees the means of all: (B, H, W, C) -> the same (Hu et al., 2018).

    The means go through a dense layer of `features` units, None for a sixteenth of the channels, with `activation`,
    and one back to the channels with `gate`. EfficientNet takes swish and sigmoid, MobileNetV3 relu and hard_sigmoid.
    """

    features: Annotated[int, Range(1)] | None = None
    activation: ActivationName = "relu"
    gate: ActivationName = "sigmoid"
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        check_images("squeeze and excitation", x)
        features = max(1, x.shape[-1] // REDUCTION) if self.features is None else self.features
        squeeze = Dense(features, self.activation, self.use_bias, self.initializer, name="squeeze")
        excite = Dense(x.shape[-1], self.gate, self.use_bias, self.initializer, name="excite")
        gates = excite(squeeze(x.mean((1, 2)), train=train), train=train)
        return x * gates[:, None, None, :]
