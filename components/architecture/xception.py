"""Xception: a network of depthwise separable convolutions with residuals."""

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

SMALLEST = 7  # smallest side of images for the convolutions of the stem, which have no padding

STEM = ((32, 2), (64, 1))  # (features, stride)
DOWN = ((128, 128), (256, 256), (728, 728), (728, 1024))
"""Channels of the convolutions in the first block of each stage, which halves the image."""
MIDDLE = (728, 728, 728)
EXIT = (1536, 2048)


class Xception(ConvNet):
    """Xception: images (B, H, W, C) -> (B, outputs).

    The entry flow is two convolutions and the first block of stages 1 to 3; the middle flow is the other blocks of
    stage 3; the exit flow is stage 4 and two separable convolutions. Kernels start Glorot uniform, depthwise ones
    channel by channel; they, momentum and epsilon are as in Keras. Dropout is that of the paper.

    Attributes:
        depth: blocks of the middle flow.
        dropout: rate before the head; None: no dropout.
        padding: of max-pooling: `SAME` in Keras, 1 in PyTorch, whose windows start a pixel earlier on even sides.
        momentum, epsilon: of batch normalization.

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
        conv = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon, initializer="glorot_uniform")
        x = as_images(self, image, SMALLEST)
        for n, (count, stride) in enumerate(STEM):
            x = conv(self.channels(count), 3, stride, "VALID", name=f"stem_{n}")(x, train=train)
        features = {"stem": x}
        for stage, widths in enumerate(DOWN, 1):
            middle = [(MIDDLE, None)] * self.depth if stage == 3 else []
            for n, (counts, padding) in enumerate([(widths, self.padding), *middle]):
                block = partial(Block, tuple(map(self.channels, counts)), padding, self.momentum, self.epsilon)
                x = block(name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        for n, count in enumerate(EXIT):
            x = activate(
                "relu", Separable(self.channels(count), self.momentum, self.epsilon, name=f"exit_{n}")(x, train=train)
            )
        features |= {"exit": x, "pool": (x := GlobalAveragePool()(x, train=train))}
        return self.apply_head(Dropout(self.dropout)(x, train=train), features, train=train)


class Separable(nn.Module):
    """Separable convolution by 3 x 3, batch normalization: images (B, H, W, C) -> (B, H, W, features)."""

    features: int
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = SeparableConv(self.features, 3, use_bias=False, name="conv")(x, train=train)
        return BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train)


class Block(nn.Module):
    """Separable convolutions, each after ReLU, added to a shortcut: (B, H, W, C) -> (B, h, w, last of `widths`).

    Attributes:
        widths: channels of each convolution.
        padding: of max-pooling after the convolutions, with a convolution by 1 x 1 as the shortcut; None: there is no
            pooling, and the shortcut is the input.
        momentum, epsilon: of batch normalization.
    """

    widths: tuple[int, ...]
    padding: Padding | None
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        for n, width in enumerate(self.widths):
            # The paper has no ReLU before the first block. The stem ends with ReLU, so one more changes nothing.
            y = Separable(width, self.momentum, self.epsilon, name=f"conv_{n}")(activate("relu", y), train=train)
        return self._shortcut(x, train) + (y if self.padding is None else MaxPool(3, 2, self.padding)(y, train=train))

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        if self.padding is None:
            return x
        conv = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon, initializer="glorot_uniform")
        return conv(self.widths[-1], 1, 2, activation=None, name="shortcut")(x, train=train)
