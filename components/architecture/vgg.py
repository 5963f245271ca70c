"""VGG: networks of 3 x 3 convolutions."""

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
    Initializer,
    MaxPool,
    Momentum,
    Rate,
    activate,
)
from components.types import Output, Range, UserError

Count = Annotated[int, Range(1)]


class VGG(ConvNet, kw_only=True):
    """VGG: images (B, H, W, C) -> (B, outputs).

    Stages of 3 x 3 SAME convolutions with ReLU, each stage followed by 2 x 2 max-pooling; then dense layers, each with
    ReLU and dropout. Parameters fit images of one size only, 224 x 224 in the paper.

    Attributes:
        depths: number of convolutions of each stage.
        widths: number of channels of each stage.
        dense: number of units of each dense layer.
        batch_norm: whether every convolution, with its bias, is followed by batch normalization.
        dropout: rate after each dense layer. None: no dropout.
        initializer: distribution of all kernels. With Glorot uniform, the paper's pre-training is not necessary.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: `depths` and `widths` have different lengths, or a side of the images is below 32 pixels (for five
            stages).

    References:
        Simonyan and Zisserman, 2015: Very deep convolutional networks for large-scale image recognition.
    """

    depths: tuple[Count, ...]
    widths: tuple[Count, ...] = (64, 128, 256, 512, 512)
    dense: tuple[Count, ...] = (4096, 4096)
    batch_norm: bool = False
    dropout: Rate | None = 0.5
    initializer: Initializer = "glorot_uniform"
    momentum: Momentum = 0.9
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        if len(self.depths) != len(self.widths):
            raise UserError(f"VGG needs depths and widths of equal length, got {self.depths} and {self.widths}")
        x = as_images(self, image, 2 ** len(self.depths))
        features = {}
        for stage, (depth, channels) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            for n in range(depth):
                name = f"stage_{stage}_conv_{n}"
                conv = Conv(self.scale_width(channels), 3, initializer=self.initializer, name=name)
                x = conv(x, train=train)
                if self.batch_norm:
                    x = BatchNorm(self.momentum, self.epsilon, name=f"stage_{stage}_norm_{n}")(x, train=train)
                x = activate("relu", x)
            features[f"stage_{stage}"] = x = MaxPool(2)(x, train=train)
        x = Flatten()(x, train=train)
        for n, units in enumerate(self.dense):
            dense = Dense(self.scale_width(units), "relu", initializer=self.initializer, name=f"dense_{n}")
            features[f"dense_{n}"] = x = dense(x, train=train)
            x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train, initializer=self.initializer)


VGG11 = partial(VGG, depths=(1, 1, 2, 2, 2))  # configurations A, B, D and E of the paper
VGG13 = partial(VGG, depths=(2, 2, 2, 2, 2))
VGG16 = partial(VGG, depths=(2, 2, 3, 3, 3))
VGG19 = partial(VGG, depths=(2, 2, 4, 4, 4))
