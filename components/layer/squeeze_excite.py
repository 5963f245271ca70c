"""Squeeze and excitation, an attention over channels."""

from __future__ import annotations

from typing import Annotated

import flax.linen as nn
import jax

from components.layer.activation import ActivationFunction
from components.layer.dense import Dense
from components.layer.initializer import Initializer
from components.layer.shape import check_images
from components.types import Range


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: scales each channel by a gate that depends on the means of all channels.

    Images (B, H, W, C) -> the same shape. A dense layer with `activation` and a dense layer with the activation `gate`
    compute the C gates from the means (B, C). EfficientNet uses swish and sigmoid, MobileNetV3 relu and hard_sigmoid.

    Attributes:
        features: number of units of the first dense layer. None: C / reduction, rounded down, at least 1.
        activation: activation of the first dense layer.
        gate: activation of the second dense layer.
        use_bias: whether the dense layers have biases.
        initializer: distribution of both kernels.
        reduction: ratio of C to the units of the first dense layer, if `features` is None; 16 in the paper.

    Raises:
        UserError: the input is not a batch of images.

    References:
        Hu et al., 2018: Squeeze-and-excitation networks.
    """

    features: Annotated[int, Range(1)] | None = None
    activation: ActivationFunction = "relu"
    gate: ActivationFunction = "sigmoid"
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    reduction: Annotated[int, Range(1)] = 16

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        check_images("squeeze and excitation", x)
        features = max(1, x.shape[-1] // self.reduction) if self.features is None else self.features
        squeeze = Dense(features, self.activation, self.use_bias, self.initializer, name="squeeze")
        excite = Dense(x.shape[-1], self.gate, self.use_bias, self.initializer, name="excite")
        gates = excite(squeeze(x.mean((1, 2)), train=train), train=train)
        return x * gates[:, None, None, :]
