"""DenseNet: each layer sees the maps of all layers before it."""

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
    """Batch normalization, ReLU, SAME convolution without bias, dropout: (B, H, W, C) -> (B, H, W, features)."""

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
    """Concatenates the input and a convolution by 3 x 3 of it: images (B, H, W, C) -> (B, H, W, C + growth).

    Attributes:
        growth: channels of the convolution by 3 x 3.
        bottleneck: channels of a convolution by 1 x 1 before it; None: there is none.
        conv: makes each convolution.
    """

    growth: int
    bottleneck: int | None
    conv: Callable[..., NormConv]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        sizes = [(self.bottleneck, 1)] if self.bottleneck is not None else []
        y = x
        for n, (features, kernel) in enumerate([*sizes, (self.growth, 3)]):
            y = self.conv(features, kernel, name=f"conv_{n}")(y, train=train)
        return jnp.concatenate([x, y], axis=-1)


class DenseNet(ConvNet, kw_only=True):
    """DenseNet: images (B, H, W, C) -> (B, outputs).

    Each layer sees the maps of all layers before it in its stage and adds `growth` channels to them. Between stages a
    convolution by 1 x 1 reduces the channels and average pooling halves the side. Kernels start He normal, as in the
    paper, the kernel of the head Glorot uniform.

    Attributes:
        depths: layers of each stage.
        growth: channels that a layer adds; the stem has twice as many.
        bottleneck: channels of the convolution by 1 x 1 before each one by 3 x 3, in units of `growth`; None: there is
            none.
        compression: share of its channels that a stage passes on, in (0, 1].
        dropout: rate after each convolution but the first; None: no dropout. The paper uses 0.2 for data without
            augmentation.
        momentum, epsilon: of batch normalization.

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
        x = as_images(self, image, smallest=2 ** (len(self.depths) + 1) - 3)
        stem = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon, name="stem")
        x = stem(self.channels(2 * self.growth), 7, stride=2, padding=3)(x, train=train)
        features = {"stem": x}
        x = MaxPool(3, 2, padding=1)(x, train=train)
        conv = partial(NormConv, dropout=self.dropout, momentum=self.momentum, epsilon=self.epsilon)
        growth = self.channels(self.growth)
        bottleneck = None if self.bottleneck is None else self.bottleneck * growth
        for stage, depth in enumerate(self.depths, 1):
            if stage > 1:
                kept = max(1, math.floor(self.compression * x.shape[-1]))
                x = AveragePool(2)(conv(kept, 1, name=f"transition_{stage - 1}")(x, train=train), train=train)
            for n in range(depth):
                x = DenseLayer(growth, bottleneck, conv, name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        x = activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.apply_head(x, features, train=train)


DenseNet121 = partial(DenseNet, depths=(6, 12, 24, 16))
DenseNet169 = partial(DenseNet, depths=(6, 12, 32, 32))
DenseNet201 = partial(DenseNet, depths=(6, 12, 48, 32))
