"""AlexNet and ZFNet."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Conv, Dense, Dropout, Flatten, LocalResponseNorm, MaxPool, Normal, Rate
from components.layer.shape import PadSize
from components.types import Output, Range, Scalar

Count = Annotated[int, Range(1)]

STAGES = ((0,), (1,), (2, 3, 4))  # numbers of the convolutions of each stage, before its max-pooling
GROUPED = (1, 3, 4)  # numbers of the convolutions with `groups` and `initial_bias`


class AlexNet(ConvNet, kw_only=True):
    """AlexNet: images (B, H, W, C) -> (B, outputs), 62,378,344 parameters at 227 x 227.

    Five convolutions with ReLU, and 3 x 3 max-pooling with stride 2 after the first, the second and the last; then
    dense layers, each with ReLU and dropout. Kernels are initially normal with standard deviation 0.01.

    Attributes:
        convolutions: number of channels of each convolution.
        kernels: windows of the first two convolutions. The other windows are 3 x 3.
        strides: strides of the first two convolutions. The other strides are 1.
        paddings: padding of the first two convolutions. The other padding is 1.
        groups: groups of the second, fourth and fifth convolution; 2 for the two GPUs of the paper, with 60,965,224
            parameters.
        normalization: position of local response normalization, at the first two poolings. None: no normalization.
        ceil_mode: whether sizes after pooling are rounded up.
        dense: number of units of each dense layer.
        dropout: rate after each dense layer. None: no dropout.
        initial_bias: initial value of the biases of the second, fourth and fifth convolution and of the dense layers.
            Other biases are initially 0.

    Raises:
        UserError: a side of the images is below 67 pixels (63 for ZFNet and AlexNet2014).

    References:
        Krizhevsky et al., 2012: ImageNet classification with deep convolutional neural networks.
    """

    convolutions: tuple[Count, Count, Count, Count, Count] = (96, 256, 384, 384, 256)
    kernels: tuple[Count, Count] = (11, 5)
    strides: tuple[Count, Count] = (4, 1)
    paddings: tuple[PadSize, PadSize] = (0, 2)
    groups: Count = 1
    normalization: Literal["before_pooling", "after_pooling"] | None = "before_pooling"
    ceil_mode: bool = False
    dense: tuple[Count, ...] = (4096, 4096)
    dropout: Rate | None = 0.5
    initial_bias: Scalar = 1.0

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = as_images(self, image, self._compute_min_side())
        features = {}
        for stage, convolutions in enumerate(STAGES):
            for n in convolutions:
                features[f"conv_{n}"] = x = self._make_conv(n)(x, train=train)
            normalization = None if stage == 2 else self.normalization
            if normalization == "before_pooling":
                x = LocalResponseNorm()(x, train=train)
            x = MaxPool(3, 2, ceil_mode=self.ceil_mode)(x, train=train)
            if normalization == "after_pooling":
                x = LocalResponseNorm()(x, train=train)
            features[f"pool_{stage}"] = x
        x = Flatten()(x, train=train)
        for n, units in enumerate(self.dense):
            dense = Dense(self.scale_width(units), "relu", True, Normal(0.01), self.initial_bias, name=f"dense_{n}")
            features[f"dense_{n}"] = x = dense(x, train=train)
            x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train, initializer=Normal(0.01))

    def _make_conv(self, n: int) -> Conv:
        is_early, is_grouped = n < 2, n in GROUPED
        return Conv(
            self.scale_width(self.convolutions[n]),
            self.kernels[n] if is_early else 3,
            self.strides[n] if is_early else 1,
            self.paddings[n] if is_early else 1,
            activation="relu",
            initializer=Normal(0.01),
            groups=self.groups if is_grouped else 1,
            initial_bias=self.initial_bias if is_grouped else 0.0,
            name=f"conv_{n}",
        )

    def _compute_min_side(self) -> int:
        """Returns the smallest side of images for which the last pooling has one window."""
        side = 3
        for n in (1, 0):
            conv_side = 2 * side + (0 if self.ceil_mode else 1)  # before the pooling
            side = (conv_side - 1) * self.strides[n] + self.kernels[n] - 2 * self.paddings[n]
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
