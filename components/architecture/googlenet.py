"""GoogLeNet and SE-Inception."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.architecture.block.head import ConvNet, compute_logits
from components.architecture.block.inputs import as_images, check_side_for_auxiliary
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

# Channels of the six convolutions of each module, in the order of the fields of `Inception`. The stages are the rows 3a
# and 3b, 4a to 4e, 5a and 5b of table 1.
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
AUXILIARY_BLOCKS = ("stage_2_block_0", "stage_2_block_3")  # modules with auxiliary classifiers: 4a and 4d
AUXILIARY_MIN_SIDE = 65  # smallest side of images for which 4a has feature maps of 5 x 5, as the classifiers need
BIAS = 0.2  # initial value of the biases


class Auxiliary(nn.Module):
    """Auxiliary classifier on the feature maps of a module: images (B, H, W, C) -> (B, outputs) in float32.

    Average pooling, a 1 x 1 convolution, a dense layer, dropout, and the logits.

    Attributes:
        outputs: number of logits.
        make_conv: makes the convolution.
        units: number of units of the dense layer.
        layout: `paper`: 5 x 5 average pooling with stride 3; `torchvision`: adaptive average pooling to 4 x 4.
        dropout: rate before the logits. None: no dropout.
        initializer: distribution of the kernels of the dense layers.
    """

    outputs: int
    make_conv: Callable[..., nn.Module]
    units: int
    layout: Layout
    dropout: Rate | None
    initializer: Initializer

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = AveragePool(5, 3)(x, train=train) if self.layout == "paper" else _adaptive_average_pool(x, 4)
        x = Flatten()(self.make_conv(name="conv")(x, train=train), train=train)
        dense = Dense(self.units, "relu", initializer=self.initializer, initial_bias=BIAS, name="dense")
        x = Dropout(self.dropout)(dense(x, train=train), train=train)
        return compute_logits(self.outputs, x, train=train, initializer=self.initializer)


class GoogLeNet(ConvNet):
    """GoogLeNet: images (B, H, W, C) -> (B, outputs).

    Three convolutions, nine Inception modules in three stages, and global average pooling: 6,998,552 parameters for
    1,000 classes. Two auxiliary classifiers, on the first and the fourth module of stage 2, have 6,379,728 parameters
    for images of 224 x 224. Kernels and biases (0.2) are initialized as in Caffe's model (BVLC, 2014), because the
    paper does not describe the initialization.

    Attributes:
        layout: `paper`: figure 3 of the paper, with SAME padding. `torchvision`: the layout that torchvision's weights
            need, together with `batch_norm`. It has windows of 3 x 3 instead of 5 x 5, padding by half a kernel,
            pooling in ceiling mode, and a last pooling of 2 x 2.
        batch_norm: whether convolutions have batch normalization instead of biases, and the network no local response
            normalization (Ioffe and Szegedy, 2015).
        auxiliary: weight of the loss of each auxiliary classifier in training, 0 or more. None: no auxiliary
            classifiers.
        dropout: rate before the head. None: no dropout.
        auxiliary_dropout: rate before the logits of the auxiliary classifiers. None: no dropout.
        reduction: reduction ratio of squeeze and excitation in each module (Hu et al., 2018). None: no squeeze and
            excitation.
        initializer: distribution of all kernels.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: a side of the images is below 31 pixels with the layout `torchvision`, or below 65 pixels in training
            with the layout `paper` and auxiliary classifiers.

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
        x = self._apply_stem(self._as_images(image, has_auxiliary=weight is not None), train)
        features = {"stem": x}
        auxiliary: list[tuple[Scalar, jax.Array]] = []
        for stage, blocks in enumerate(STAGES, 1):
            if stage > 1:
                x = self._apply_pool(x, window=2 if stage == 3 and self.layout == "torchvision" else 3)
            for n, channels in enumerate(blocks):
                name = f"stage_{stage}_block_{n}"
                x = self._make_inception(channels, name)(x, train=train)
                if weight is not None and name in AUXILIARY_BLOCKS:
                    classifier = self._make_auxiliary(f"auxiliary_{len(auxiliary)}")
                    auxiliary.append((weight, classifier(x, train=train)))
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train, auxiliary=tuple(auxiliary), initializer=self.initializer)

    def _as_images(self, image: jax.Array, *, has_auxiliary: bool) -> jax.Array:
        """Returns the images. Raises UserError if they are too small."""
        x = as_images(self, image, 31 if self.layout == "torchvision" else 1)
        if has_auxiliary and self.layout == "paper":
            check_side_for_auxiliary(self, x, AUXILIARY_MIN_SIDE)
        return x

    def _create_conv_factory(self) -> Callable[..., nn.Module]:
        if self.batch_norm:
            return partial(ConvNorm, initializer=self.initializer, momentum=self.momentum, epsilon=self.epsilon)
        return partial(Conv, activation="relu", initializer=self.initializer, initial_bias=BIAS)

    def _apply_pool(self, x: jax.Array, window: int = 3) -> jax.Array:
        pool = MaxPool(window, 2, "SAME") if self.layout == "paper" else MaxPool(window, 2, ceil_mode=True)
        return pool(x, train=False)

    def _apply_stem(self, x: jax.Array, train: bool) -> jax.Array:
        make_conv, padding = self._create_conv_factory(), "SAME" if self.layout == "paper" else 3
        x = self._apply_pool(make_conv(self.scale_width(64), 7, 2, padding, name="stem_conv_0")(x, train=train))
        x = x if self.batch_norm else LocalResponseNorm()(x, train=train)
        x = make_conv(self.scale_width(64), 1, name="stem_conv_1")(x, train=train)
        x = make_conv(self.scale_width(192), 3, name="stem_conv_2")(x, train=train)
        return self._apply_pool(x if self.batch_norm else LocalResponseNorm()(x, train=train))

    def _make_inception(self, channels: tuple[int, ...], name: str) -> Inception:
        one, three_reduce, three, five_reduce, five, pool = map(self.scale_width, channels)
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

    def _make_auxiliary(self, name: str) -> Auxiliary:
        return Auxiliary(
            self.outputs,
            make_conv=partial(self._create_conv_factory(), self.scale_width(128), 1),
            units=self.scale_width(1024),
            layout=self.layout,
            dropout=self.auxiliary_dropout,
            initializer=self.initializer,
            name=name,
        )


def _adaptive_average_pool(x: jax.Array, count: int) -> jax.Array:
    """Returns the means of `count` x `count` windows, as in PyTorch. They overlap if `count` does not divide a side."""
    for axis in (1, 2):
        size = x.shape[axis]
        bounds = [(n * size // count, -(-(n + 1) * size // count)) for n in range(count)]
        means = [lax.slice_in_dim(x, low, high, axis=axis).mean(axis, keepdims=True) for low, high in bounds]
        x = jnp.concatenate(means, axis)
    return x


SEInception = partial(GoogLeNet, batch_norm=True, reduction=16)
