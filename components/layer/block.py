"""Blocks: a few layers that architectures repeat."""

from __future__ import annotations

from typing import Annotated

import flax.linen as nn
import jax

from components.layer.activation import ActivationName, activate
from components.layer.convolution import Conv
from components.layer.initializer import Initializer
from components.layer.normalization import BatchNorm, Epsilon, Momentum
from components.layer.shape import Padding, Size
from components.types import Range, Scalar


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalization, an activation: (B, H, W, C) -> (B, h, w, features).

    Fields are those of `Conv` and `BatchNorm` (Ioffe and Szegedy, 2015).
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = "relu"
    use_bias: bool = False
    initializer: Initializer = "he_normal"
    dilation: Size = 1
    groups: Annotated[int, Range(1)] = 1
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3
    use_scale: bool = True
    initial_scale: Scalar = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = Conv(
            self.features,
            self.kernel,
            self.stride,
            self.padding,
            use_bias=self.use_bias,
            initializer=self.initializer,
            dilation=self.dilation,
            groups=self.groups,
            name="conv",
        )
        norm = BatchNorm(self.momentum, self.epsilon, self.use_scale, self.initial_scale, name="norm")
        return activate(self.activation, norm(conv(x, train=train), train=train))
