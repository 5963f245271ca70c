"""VGG: networks of convolutions of 3 x 3."""

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

    Stages of SAME convolutions of 3 x 3 with ReLU, each followed by max-pooling by 2; then dense layers, each with ReLU
    and dropout. The first dense layer fits images of one size, 224 x 224 in the paper.

    Attributes:
        depths: convolutions of each stage.
        widths: channels of each stage.
        dense: units of the dense layers.
        batch_norm: whether batch normalization follows every convolution, which keeps its bias.
        dropout: rate after each dense layer; None: no dropout.
        initializer: distribution of all kernels. With Glorot uniform the network trains without the pre-training of the
            paper.
        momentum, epsilon: of batch normalization.

    Raises:
        UserError: depths and widths have different lengths, or a side of the images is below 32 pixels for five stages.

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


VGG11 = partial(VGG, depths=(1, 1, 2, 2, 2))  # configurations A, B, D and E of the paper
VGG13 = partial(VGG, depths=(2, 2, 2, 2, 2))
VGG16 = partial(VGG, depths=(2, 2, 3, 3, 3))
VGG19 = partial(VGG, depths=(2, 2, 4, 4, 4))
