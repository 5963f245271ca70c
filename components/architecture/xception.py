"""Xception: a network of depthwise separable convolutions with residual connections."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import (
    BatchNorm,
    ConvNorm,
    Dropout,
    Epsilon,
    GlobalAveragePool,
    MaxPool,
    Momentum,
    Rate,
    SeparableConv,
    activate,
)
from components.layer.shape import Padding
from components.types import Output, Range

MIN_SIDE = 7  # smallest side of images for the convolutions of the stem, which have no padding

STEM = ((32, 2), (64, 1))  # (channels, stride) of each convolution
# Channels of the convolutions in the first block of each stage. This block halves the side.
FIRST_BLOCKS = ((128, 128), (256, 256), (728, 728), (728, 1024))
MIDDLE_BLOCK = (728, 728, 728)  # channels of the convolutions in each block of the middle flow
EXIT = (1536, 2048)  # channels of the last two convolutions


class Xception(ConvNet):
    """Xception: images (B, H, W, C) -> (B, outputs).

    The entry flow is two convolutions and the first blocks of stages 1 to 3. The middle flow is the other blocks of
    stage 3. The exit flow is stage 4 and two separable convolutions. Kernels are initially Glorot uniform, in depthwise
    convolutions with the fans of a single channel. Initializers, momentum and epsilon are from Keras, dropout is from
    the paper.

    Attributes:
        depth: number of blocks of the middle flow.
        dropout: rate before the head. None: no dropout.
        padding: padding of max-pooling. `SAME`: as in Keras. 1: as in PyTorch, where windows start one pixel earlier if
            the side is even.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: a side of the images is below 7 pixels.

    References:
        Chollet, 2017: Xception: deep learning with depthwise separable convolutions.
    """

    depth: Annotated[int, Range(0)] = 8
    dropout: Rate | None = 0.5
    padding: Literal["SAME", 1] = "SAME"
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        make_conv = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon, initializer="glorot_uniform")
        x = as_images(self, image, MIN_SIDE)
        for n, (channels, stride) in enumerate(STEM):
            x = make_conv(self.scale_width(channels), 3, stride, "VALID", name=f"stem_{n}")(x, train=train)
        features = {"stem": x}
        for stage, first_block in enumerate(FIRST_BLOCKS, 1):
            middle_blocks = [(MIDDLE_BLOCK, None)] * self.depth if stage == 3 else []  # None: no pooling
            for n, (block, padding) in enumerate([(first_block, self.padding), *middle_blocks]):
                channels_of_convs = tuple(map(self.scale_width, block))
                name = f"stage_{stage}_block_{n}"
                x = Block(channels_of_convs, padding, self.momentum, self.epsilon, name=name)(x, train=train)
            features[f"stage_{stage}"] = x
        for n, channels in enumerate(EXIT):
            conv = SeparableConvNorm(self.scale_width(channels), self.momentum, self.epsilon, name=f"exit_{n}")
            x = activate("relu", conv(x, train=train))
        features["exit"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.make_output(Dropout(self.dropout)(x, train=train), features, train=train)


class SeparableConvNorm(nn.Module):
    """3 x 3 separable convolution with batch normalization: images (B, H, W, C) -> (B, H, W, features)."""

    features: int
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = SeparableConv(self.features, 3, use_bias=False, name="conv")(x, train=train)
        return BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train)


class Block(nn.Module):
    """ReLU and separable convolutions, added to a shortcut: images (B, H, W, C) -> (B, h, w, channels[-1]).

    Attributes:
        channels: number of channels of each convolution.
        padding: padding of the max-pooling after the convolutions; the shortcut is a 1 x 1 convolution. None: no
            pooling, and the shortcut is the input.
        momentum, epsilon: parameters of batch normalization.
    """

    channels: tuple[int, ...]
    padding: Padding | None
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        for n, channels in enumerate(self.channels):
            # The paper has no ReLU before the first block. It has no effect there, because the stem ends with ReLU.
            y = SeparableConvNorm(channels, self.momentum, self.epsilon, name=f"conv_{n}")(
                activate("relu", y), train=train
            )
        shortcut = self._apply_shortcut(x, train)
        return shortcut + (y if self.padding is None else MaxPool(3, 2, self.padding)(y, train=train))

    def _apply_shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        if self.padding is None:
            return x
        make_conv = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon, initializer="glorot_uniform")
        return make_conv(self.channels[-1], 1, 2, activation=None, name="shortcut")(x, train=train)
