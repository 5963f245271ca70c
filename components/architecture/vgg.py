"""The networks of the Visual Geometry Group."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Epsilon,
    Flatten,
    InitializerName,
    MaxPool,
    Momentum,
    Rate,
    activate,
)
from components.types import Output, Range, UserError

Count = Annotated[int, Range(1)]


class VGG(ConvNet, kw_only=True):
    """VGG (Simonyan and Zisserman, 2015): images (B, H, W, C) -> (B, outputs).

    Stages of SAME convolutions of 3 x 3 with ReLU, each halved by max-pooling: stage n has `depths[n]` of `widths[n]`
    channels. Then dense layers, each with dropout. With `batch_norm` every convolution is normalized, and keeps its
    bias. Kernels begin as Glorot and Bengio, 2010, draw them, with which the paper needs no pre-training. Raises
    UserError below 32 x 32 pixels for five stages. The dense layers are as large as what is left of the image: they
    fit its size alone, in the paper 224.
    """

    depths: tuple[Count, ...]
    widths: tuple[Count, ...] = (64, 128, 256, 512, 512)
    dense: tuple[Count, ...] = (4096, 4096)
    batch_norm: bool = False
    dropout: Rate | None = 0.5
    initializer: InitializerName = "glorot_uniform"
    momentum: Momentum = 0.9
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        if len(self.depths) != len(self.widths):
            raise UserError(f"VGG has depths {self.depths} and widths {self.widths}: give one of each for every stage")
        x, features = as_images(self, image, 2 ** len(self.depths)), {}
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            for n in range(depth):
                conv = Conv(self.channels(width), 3, initializer=self.initializer, name=f"stage_{stage}_conv_{n}")
                x = conv(x, train=train)
                if self.batch_norm:
                    x = BatchNorm(self.momentum, self.epsilon, name=f"stage_{stage}_norm_{n}")(x, train=train)
                x = activate("relu", x)
            features[f"stage_{stage}"] = x = MaxPool(2)(x, train=train)
        x = Flatten()(x, train=train)
        for n, width in enumerate(self.dense):
            dense = Dense(self.channels(width), "relu", initializer=self.initializer, name=f"dense_{n}")
            features[f"dense_{n}"] = x = dense(x, train=train)
            x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, initializer=self.initializer)


VGG11 = partial(VGG, depths=(1, 1, 2, 2, 2))  # the paper's A, B, D and E
VGG13 = partial(VGG, depths=(2, 2, 2, 2, 2))
VGG16 = partial(VGG, depths=(2, 2, 3, 3, 3))
VGG19 = partial(VGG, depths=(2, 2, 4, 4, 4))
