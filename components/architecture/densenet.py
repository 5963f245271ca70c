"""DenseNet."""

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
)
from components.types import Output, Range, Scalar


class NormConv(nn.Module):
    """Batch normalization, ReLU, a SAME convolution without bias, dropout: (B, H, W, C) -> (B, H, W, features)."""

    features: int
    kernel: int
    dropout: Scalar | None
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.relu(BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        conv = Conv(self.features, self.kernel, use_bias=False, initializer="he_normal", name="conv")
        return Dropout(self.dropout)(conv(x, train=train), train=train)


class DenseLayer(nn.Module):
    """Maps, and the channels that convolutions of them add: (B, H, W, C) -> (B, H, W, C + growth).

    One by 3 x 3, after one by 1 x 1 to `bottleneck` channels where that isn't None.
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
    """DenseNet (Huang et al., 2017): images (B, H, W, C) -> (B, outputs).

    Each layer sees the maps of all the layers before it in its stage, and adds `growth` channels to them. Between
    stages a convolution by 1 x 1 keeps a part of the channels and average pooling halves the side. Kernels are drawn
    from He's normal distribution, as in the paper, that of the head from Glorot's uniform one. Raises UserError below
    29 x 29 pixels, where there are four stages.

    Attributes:
        depths: the layers of each stage.
        growth: the channels that a layer adds; before the first stage there are twice as many.
        bottleneck: how many times `growth` the convolution by 1 x 1 before that by 3 x 3 gives; None: there is none.
        compression: the part of its channels that a stage passes on.
        dropout: the rate after each convolution but the first; the paper's is 0.2 for data without augmentation.
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
        x = nn.relu(BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.apply_head(x, features, train=train)


DenseNet121 = partial(DenseNet, depths=(6, 12, 24, 16))
DenseNet169 = partial(DenseNet, depths=(6, 12, 32, 32))
DenseNet201 = partial(DenseNet, depths=(6, 12, 48, 32))
