"""AlexNet, and ZFNet with its finer first layers."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Conv, Dense, Dropout, Flatten, LocalResponseNorm, MaxPool, Normal, Rate
from components.types import Output, Range, Scalar

Count = Annotated[int, Range(1)]
Side = Annotated[int, Range(0)]

STAGES = ((0,), (1,), (2, 3, 4))  # convolutions before each max-pooling
GROUPED = (1, 3, 4)  # convolutions with groups, whose biases start at `initial_bias`


class AlexNet(ConvNet, kw_only=True):
    """AlexNet: images (B, H, W, C) -> (B, outputs), 62,378,344 parameters at 227 x 227.

    Five convolutions with ReLU, and max-pooling of 3 x 3 with stride 2 after the first, the second and the last; then
    dense layers, each with ReLU and dropout. Kernels start normal with standard deviation 0.01.

    Attributes:
        convolutions: channels of the convolutions.
        kernels, strides, paddings: of the first two convolutions; the others are 3 x 3 with stride 1 and padding 1.
        groups: groups of convolutions 2, 4 and 5; 2 for the two GPUs of the paper: 60,965,224 parameters.
        normalization: place of local response normalization at the first two poolings; None: there is none.
        ceil_mode: whether the size after pooling is rounded up.
        dense: units of the dense layers.
        dropout: rate after each dense layer; None: no dropout.
        initial_bias: value that the biases of convolutions 2, 4 and 5 and of the dense layers start at; the other
            biases start at 0.

    Raises:
        UserError: a side of the images is below 67 pixels, for ZFNet and AlexNet2014 below 63.

    References:
        Krizhevsky et al., 2012: ImageNet classification with deep convolutional neural networks.
    """

    convolutions: tuple[Count, Count, Count, Count, Count] = (96, 256, 384, 384, 256)
    kernels: tuple[Count, Count] = (11, 5)
    strides: tuple[Count, Count] = (4, 1)
    paddings: tuple[Side, Side] = (0, 2)
    groups: Count = 1
    normalization: Literal["before_pooling", "after_pooling"] | None = "before_pooling"
    ceil_mode: bool = False
    dense: tuple[Count, ...] = (4096, 4096)
    dropout: Rate | None = 0.5
    initial_bias: Scalar = 1.0

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x, features = as_images(self, image, self._smallest()), {}
        for stage, convolutions in enumerate(STAGES):
            for n in convolutions:
                features[f"conv_{n}"] = x = self._conv(n)(x, train=train)
            normalization = None if stage == 2 else self.normalization
            if normalization == "before_pooling":
                x = LocalResponseNorm()(x, train=train)
            x = MaxPool(3, 2, ceil_mode=self.ceil_mode)(x, train=train)
            if normalization == "after_pooling":
                x = LocalResponseNorm()(x, train=train)
            features[f"pool_{stage}"] = x
        x = Flatten()(x, train=train)
        for n, width in enumerate(self.dense):
            dense = Dense(self.channels(width), "relu", True, Normal(0.01), self.initial_bias, name=f"dense_{n}")
            features[f"dense_{n}"] = x = dense(x, train=train)
            x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, initializer=Normal(0.01))

    def _conv(self, n: int) -> Conv:
        first, grouped = n < 2, n in GROUPED
        return Conv(
            self.channels(self.convolutions[n]),
            self.kernels[n] if first else 3,
            self.strides[n] if first else 1,
            self.paddings[n] if first else 1,
            activation="relu",
            initializer=Normal(0.01),
            groups=self.groups if grouped else 1,
            initial_bias=self.initial_bias if grouped else 0.0,
            name=f"conv_{n}",
        )

    def _smallest(self) -> int:
        """Returns the smallest side of images for which the last pooling has one window."""
        side = 3
        for kernel, stride, padding in list(zip(self.kernels, self.strides, self.paddings, strict=True))[::-1]:
            pooled = 2 * side + (0 if self.ceil_mode else 1)
            side = (pooled - 1) * stride + kernel - 2 * padding
        return side


ZFNet = partial(
    AlexNet,
    kernels=(7, 5),
    strides=(2, 2),
    paddings=(1, 0),
    normalization="after_pooling",
    ceil_mode=True,
    initial_bias=0.0,
)  # Zeiler and Fergus, 2014: Visualizing and understanding convolutional networks, figure 3

AlexNet2014 = partial(
    AlexNet, convolutions=(64, 192, 384, 256, 256), paddings=(2, 2), normalization=None, initial_bias=0.0
)  # Krizhevsky, 2014: One weird trick for parallelizing convolutional neural networks, as in torchvision
