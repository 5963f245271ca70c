"""GoogLeNet, and its variant with squeeze and excitation."""

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

# Channels of the six convolutions of each module, in the order of `Inception`: rows 3a and 3b, 4a to 4e, 5a and 5b of
# table 1
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
AUXILIARY_BLOCKS = ("stage_2_block_0", "stage_2_block_3")  # 4a and 4d have auxiliary classifiers
AUXILIARY_SIDE = 65  # smallest side of images for which 4a has maps of 5 x 5, the window of their pooling
BIAS = 0.2


class Auxiliary(nn.Module):
    """Auxiliary classifier on the maps of a module: images (B, H, W, C) -> (B, outputs) in float32.

    Average pooling, a convolution by 1 x 1, a dense layer, dropout, and the logits.

    Attributes:
        outputs: number of logits.
        conv: makes the convolution.
        units: units of the dense layer.
        layout: `paper`: average pooling of 5 x 5 with stride 3; `torchvision`: adaptive average pooling to 4 x 4.
        dropout: rate before the logits; None: no dropout.
        initializer: distribution of the dense kernels.
    """

    outputs: int
    conv: Callable[..., nn.Module]
    units: int
    layout: Layout
    dropout: Rate | None
    initializer: Initializer

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = AveragePool(5, 3)(x, train=train) if self.layout == "paper" else _adaptive_mean(x, 4)
        x = Flatten()(self.conv(name="conv")(x, train=train), train=train)
        dense = Dense(self.units, "relu", initializer=self.initializer, initial_bias=BIAS, name="dense")
        x = Dropout(self.dropout)(dense(x, train=train), train=train)
        return compute_logits(self.outputs, x, train=train, initializer=self.initializer)


class GoogLeNet(ConvNet):
    """GoogLeNet: images (B, H, W, C) -> (B, outputs).

    Three convolutions, nine Inception modules in three stages, and the mean of the maps: 6,998,552 parameters for 1,000
    classes of 224 x 224 x 3, and 6,379,728 in two auxiliary classifiers on the first and the fourth module of stage 2.
    Kernels, and biases at 0.2, start as in Caffe's model (BVLC, 2014); the paper does not describe this.

    Attributes:
        layout: `paper`: figure 3, with SAME padding. `torchvision`: what its weights need, with `batch_norm`: windows
            of 3 x 3 in place of 5 x 5, padding by half a kernel, pooling in ceiling mode, the last pooling of 2 x 2.
        batch_norm: whether batch normalization after every convolution replaces biases and local response
            normalization (Ioffe and Szegedy, 2015).
        auxiliary: weight of the loss of each auxiliary classifier in training, 0 or more; None: there are none.
        dropout: rate before the head; None: no dropout.
        auxiliary_dropout: rate before the logits of the auxiliary classifiers; None: no dropout.
        reduction: channels for each unit of squeeze and excitation in each module (Hu et al., 2018); None: there is
            none.
        initializer: distribution of all kernels.
        momentum, epsilon: of batch normalization.

    Raises:
        UserError: a side of the images is below 31 pixels for `torchvision`, or, in training with auxiliary
            classifiers, below 65 pixels for `paper`.

    References:
        Szegedy et al., 2015: Going deeper with convolutions.
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
        weight = self.auxiliary if train and self.head else None
        x = self._stem(self._check(image, weight is not None), train)
        features = {"stem": x}
        heads: list[tuple[Scalar, jax.Array]] = []
        for stage, blocks in enumerate(STAGES, 1):
            x = x if stage == 1 else self._pool(x, 2 if stage == 3 and self.layout == "torchvision" else 3)
            for n, numbers in enumerate(blocks):
                name = f"stage_{stage}_block_{n}"
                x = self._inception(numbers, name)(x, train=train)
                if weight is not None and name in AUXILIARY_BLOCKS:
                    heads.append((weight, self._auxiliary(f"auxiliary_{len(heads)}")(x, train=train)))
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, auxiliary=tuple(heads), initializer=self.initializer)

    def _check(self, image: jax.Array, auxiliary: bool) -> jax.Array:
        """Returns the images; raises UserError where a window is larger than its maps."""
        x = as_images(self, image, 31 if self.layout == "torchvision" else 1)
        if auxiliary and self.layout == "paper":
            check_auxiliary(x, AUXILIARY_SIDE, "classifiers of GoogLeNet train")
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

    def _auxiliary(self, name: str) -> Auxiliary:
        conv, units = partial(self._conv(), self.channels(128), 1), self.channels(1024)
        return Auxiliary(self.outputs, conv, units, self.layout, self.auxiliary_dropout, self.initializer, name=name)


def _adaptive_mean(x: jax.Array, count: int) -> jax.Array:
    """Returns the means of `count` x `count` parts of the maps; parts overlap where they do not divide the sides."""
    for axis in (1, 2):
        size = x.shape[axis]
        bounds = [(n * size // count, -(-(n + 1) * size // count)) for n in range(count)]
        means = [lax.slice_in_dim(x, low, high, axis=axis).mean(axis, keepdims=True) for low, high in bounds]
        x = jnp.concatenate(means, axis)
    return x


SEInception = partial(GoogLeNet, batch_norm=True, reduction=16)
