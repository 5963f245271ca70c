"""GoogLeNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.architecture.block.head import ConvNet, compute_logits
from components.architecture.block.inputs import as_images, check_auxiliary
from components.layer import (
    AveragePool,
    Conv,
    ConvNorm,
    Dense,
    Dropout,
    Epsilon,
    Flatten,
    GlobalAveragePool,
    Inception,
    Initializer,
    LocalResponseNorm,
    MaxPool,
    Momentum,
    Rate,
)
from components.types import Output, Range, Scalar

Layout = Literal["paper", "torchvision"]

# 1 x 1, before 3 x 3, 3 x 3, before 5 x 5, 5 x 5, after the pool: rows 3a and 3b, 4a to 4e, 5a and 5b of table 1
STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
JUDGED = ("stage_2_block_0", "stage_2_block_3")  # 4a and 4d have auxiliary classifiers
JUDGED_SIDE = 65  # from here on 4a has the 5 x 5 maps that their pooling takes
BIAS = 0.2


class Auxiliary(nn.Module):
    """A small classifier on maps in between: (B, H, W, C) -> (B, outputs) in float32.

    The means of 5 x 5 pixels, every third, or for torchvision of 4 x 4 parts of the maps; a convolution by 1 x 1, a
    dense layer, dropout, and the outputs.
    """

    outputs: int
    conv: Callable[..., nn.Module]
    units: int
    layout: Layout
    dropout: Rate | None
    initializer: Initializer

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = AveragePool(5, 3)(x, train=train) if self.layout == "paper" else _parts(x, 4)
        x = Flatten()(self.conv(name="conv")(x, train=train), train=train)
        dense = Dense(self.units, "relu", initializer=self.initializer, initial_bias=BIAS, name="dense")
        x = Dropout(self.dropout)(dense(x, train=train), train=train)
        return compute_logits(self.outputs, x, train=train, initializer=self.initializer)


class GoogLeNet(ConvNet):
    """GoogLeNet (Szegedy et al., 2015): images (B, H, W, C) -> (B, outputs).

    Three convolutions, nine Inception modules, the mean of the maps: 6,998,552 parameters for 1,000 classes of
    224 x 224 x 3, and 6,379,728 in two auxiliary classifiers on the first and fourth module of stage 2, whose losses
    count `auxiliary` times in training; None: there are none. Local response normalization with AlexNet's numbers, or
    with `batch_norm` batch normalization after every convolution, and neither that nor biases (Ioffe and Szegedy,
    2015). With `reduction`, squeeze and excitation in each module (Hu et al., 2018).

    Layout `paper` is that of its figure 3, all SAME. `torchvision` is what the weights of torchvision want, beside
    `batch_norm`: 3 x 3 for 5 x 5, padding by half a kernel, pooling in ceiling mode, the last by 2 x 2. Kernels, and
    biases at 0.2, start as in Caffe's model of it (BVLC, 2014), as the paper is silent.

    Raises UserError for `torchvision` below 31 x 31 pixels, and for `paper` with auxiliary classifiers below 65 x 65
    in training.
    """

    layout: Layout = "paper"
    batch_norm: bool = False
    auxiliary: Annotated[Scalar, Range(0)] | None = 0.3
    dropout: Rate | None = 0.4
    auxiliary_dropout: Rate | None = 0.7
    reduction: Annotated[int, Range(1)] | None = None
    initializer: Initializer = "lecun_uniform"
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        judged = self.auxiliary if train and self.head else None
        x = self._stem(self._checked(image, judged is not None), train)
        features = {"stem": x}
        heads: list[tuple[Scalar, jax.Array]] = []
        for stage, blocks in enumerate(STAGES, 1):
            x = x if stage == 1 else self._pool(x, 2 if stage == 3 and self.layout == "torchvision" else 3)
            for n, numbers in enumerate(blocks):
                name = f"stage_{stage}_block_{n}"
                x = self._inception(numbers, name)(x, train=train)
                if judged is not None and name in JUDGED:
                    heads.append((judged, self._judge(f"auxiliary_{len(heads)}")(x, train=train)))
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, auxiliary=tuple(heads), initializer=self.initializer)

    def _checked(self, image: jax.Array, judged: bool) -> jax.Array:
        """The images, if no window is larger than its maps."""
        x = as_images(self, image, 31 if self.layout == "torchvision" else 1)
        if judged and self.layout == "paper":
            check_auxiliary(x, JUDGED_SIDE, "classifiers of GoogLeNet train")
        return x

    def _conv(self) -> Callable[..., nn.Module]:
        if self.batch_norm:
            return partial(ConvNorm, initializer=self.initializer, momentum=self.momentum, epsilon=self.epsilon)
        return partial(Conv, activation="relu", initializer=self.initializer, initial_bias=BIAS)

    def _pool(self, x: jax.Array, window: int = 3) -> jax.Array:
        paper = self.layout == "paper"
        return MaxPool(window, 2, "SAME" if paper else "VALID", ceil_mode=not paper)(x, train=False)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        conv, padding = self._conv(), "SAME" if self.layout == "paper" else 3
        x = self._pool(conv(self.channels(64), 7, 2, padding, name="stem_conv_0")(x, train=train))
        x = x if self.batch_norm else LocalResponseNorm()(x, train=train)
        x = conv(self.channels(64), 1, name="stem_conv_1")(x, train=train)
        x = conv(self.channels(192), 3, name="stem_conv_2")(x, train=train)
        return self._pool(x if self.batch_norm else LocalResponseNorm()(x, train=train))

    def _inception(self, numbers: tuple[int, ...], name: str) -> Inception:
        one, three_reduce, three, five_reduce, five, pool = map(self.channels, numbers)
        return Inception(
            one,
            three_reduce,
            three,
            five_reduce,
            five,
            pool,
            five_kernel=5 if self.layout == "paper" else 3,
            batch_norm=self.batch_norm,
            momentum=self.momentum,
            epsilon=self.epsilon,
            initializer=self.initializer,
            initial_bias=BIAS,
            reduction=self.reduction,
            name=name,
        )

    def _judge(self, name: str) -> Auxiliary:
        conv, units = partial(self._conv(), self.channels(128), 1), self.channels(1024)
        return Auxiliary(self.outputs, conv, units, self.layout, self.auxiliary_dropout, self.initializer, name=name)


def _parts(x: jax.Array, count: int) -> jax.Array:
    """The means of so many parts of the rows and of the columns, that overlap where they must."""
    for axis in (1, 2):
        size = x.shape[axis]
        bounds = [(n * size // count, -(-(n + 1) * size // count)) for n in range(count)]
        means = [lax.slice_in_dim(x, low, high, axis=axis).mean(axis, keepdims=True) for low, high in bounds]
        x = jnp.concatenate(means, axis)
    return x


SEInception = partial(GoogLeNet, batch_norm=True, reduction=16)
