"""DenseNet: each layer takes the feature maps of all earlier layers of its stage as input."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import (
    AveragePool,
    BatchNorm,
    Conv,
    ConvNorm,
    Dropout,
    Epsilon,
    GlobalAveragePool,
    MaxPool,
    Momentum,
    Rate,
    activate,
)
from components.types import Output, Range, Scalar


class NormConv(nn.Module):
    """Batch normalization, ReLU, SAME convolution, dropout: images (B, H, W, C) -> (B, H, W, features)."""

    features: int
    kernel: int
    dropout: Scalar | None
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        conv = Conv(self.features, self.kernel, use_bias=False, initializer="he_normal", name="conv")
        return Dropout(self.dropout)(conv(x, train=train), train=train)


class DenseLayer(nn.Module):
    """3 x 3 convolution, concatenated to its input: images (B, H, W, C) -> (B, H, W, C + growth).

    Attributes:
        growth: number of channels of the convolution.
        bottleneck: number of channels of a 1 x 1 convolution before it. None: no such convolution.
        make_conv: makes each convolution.
    """

    growth: int
    bottleneck: int | None
    make_conv: Callable[..., NormConv]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        convolutions = [(self.growth, 3)] if self.bottleneck is None else [(self.bottleneck, 1), (self.growth, 3)]
        y = x
        for n, (features, kernel) in enumerate(convolutions):
            y = self.make_conv(features, kernel, name=f"conv_{n}")(y, train=train)
        return jnp.concatenate([x, y], axis=-1)


class DenseNet(ConvNet, kw_only=True):
    """DenseNet: images (B, H, W, C) -> (B, outputs).

    Each layer takes the feature maps of all earlier layers of its stage and appends `growth` channels to them. Between
    stages, a 1 x 1 convolution reduces the channels, and average pooling halves the side. Kernels are initially He
    normal, as in the paper; the kernel of the head is Glorot uniform.

    Attributes:
        depths: number of layers of each stage.
        growth: number of channels that each layer appends. The stem has 2 * growth channels.
        bottleneck: number of channels, in units of `growth`, of the 1 x 1 convolution before each 3 x 3 convolution.
            None: no 1 x 1 convolutions in layers.
        compression: share of the channels that remains after a stage, in (0, 1].
        dropout: rate after each convolution except the first. None: no dropout. The paper uses 0.2 for data without
            augmentation.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: a side of the images is below 29 pixels for four stages.

    References:
        Huang et al., 2017: Densely connected convolutional networks.
    """

    depths: tuple[Annotated[int, Range(1)], ...]
    growth: Annotated[int, Range(1)] = 32
    bottleneck: Annotated[int, Range(1)] | None = 4
    compression: Annotated[float, Range(0, 1, "(]")] = 0.5
    dropout: Rate | None = None
    momentum: Momentum = 0.9
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = as_images(self, image, min_side=2 ** (len(self.depths) + 1) - 3)
        channels = self.scale_width(2 * self.growth)
        stem = ConvNorm(channels, 7, 2, 3, momentum=self.momentum, epsilon=self.epsilon, name="stem")
        x = stem(x, train=train)
        features = {"stem": x}
        x = MaxPool(3, 2, padding=1)(x, train=train)
        make_conv = partial(NormConv, dropout=self.dropout, momentum=self.momentum, epsilon=self.epsilon)
        growth = self.scale_width(self.growth)
        bottleneck = None if self.bottleneck is None else self.bottleneck * growth
        for stage, depth in enumerate(self.depths, 1):
            if stage > 1:
                channels = max(1, math.floor(self.compression * x.shape[-1]))
                x = make_conv(channels, 1, name=f"transition_{stage - 1}")(x, train=train)
                x = AveragePool(2)(x, train=train)
            for n in range(depth):
                x = DenseLayer(growth, bottleneck, make_conv, name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        x = activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.make_output(x, features, train=train)


DenseNet121 = partial(DenseNet, depths=(6, 12, 24, 16))
DenseNet169 = partial(DenseNet, depths=(6, 12, 32, 32))
DenseNet201 = partial(DenseNet, depths=(6, 12, 48, 32))
