"""Xception."""

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
)
from components.layer.shape import Padding
from components.types import Output, Range

SMALLEST = 7  # pixels a side that the convolutions of the stem, which aren't padded, fit into

STEM = ((32, 2), (64, 1))  # (features, stride)
DOWN = ((128, 128), (256, 256), (728, 728), (728, 1024))
"""The convolutions of the first block of each stage, which halves the image."""
MIDDLE = (728, 728, 728)
EXIT = (1536, 2048)


class Xception(ConvNet):
    """Depthwise separable convolutions with residuals: images (B, H, W, C) -> (B, outputs) (Chollet, 2017).

    Nothing stands between the depthwise and the pointwise half; each pair is normalized. The entry flow are two
    convolutions and the first blocks of three stages, the middle flow the other `depth` blocks of the third, the exit
    flow the fourth and two more convolutions. Kernels are drawn from Glorot's uniform distribution, as Keras does,
    depthwise ones channel by channel; momentum and epsilon are Keras's too, dropout is the paper's alone. Raises
    UserError below 7 x 7 pixels.

    Attributes:
        depth: the blocks of the middle flow.
        padding: that of max-pooling: SAME in Keras, 1 in PyTorch, which begins a pixel earlier where sides are even.
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
            x = nn.relu(Separable(self.channels(count), self.momentum, self.epsilon, name=f"exit_{n}")(x, train=train))
        features |= {"exit": x, "pool": (x := GlobalAveragePool()(x, train=train))}
        return self.apply_head(Dropout(self.dropout)(x, train=train), features, train=train)


class Separable(nn.Module):
    """A separable convolution by 3 x 3 and normalization: (B, H, W, C) -> (B, H, W, features)."""

    features: int
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = SeparableConv(self.features, 3, use_bias=False, name="conv")(x, train=train)
        return BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train)


class Block(nn.Module):
    """Separable convolutions, each after ReLU, and a shortcut: (B, H, W, C) -> (B, h, w, features of the last).

    With `padding`, max-pooling halves the image at the end and the shortcut is a convolution by 1 x 1; at None nothing
    changes the size, and it is the identity.
    """

    widths: tuple[int, ...]
    padding: Padding | None
    momentum: Momentum
    epsilon: Epsilon

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        for n, width in enumerate(self.widths):
            # The paper has no ReLU before the very first: what the stem gives is its own ReLU already.
            y = Separable(width, self.momentum, self.epsilon, name=f"conv_{n}")(nn.relu(y), train=train)
        return self._shortcut(x, train) + (y if self.padding is None else MaxPool(3, 2, self.padding)(y, train=train))

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        if self.padding is None:
            return x
        conv = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon, initializer="glorot_uniform")
        return conv(self.widths[-1], 1, 2, activation=None, name="shortcut")(x, train=train)
