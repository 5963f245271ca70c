"""MobileNets: small networks of depthwise convolutions."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.architecture.block.inverted_residual import (
    InvertedResidual,
    MobileStage,
    SqueezeExciteKind,
    round_channels,
)
from components.layer import (
    ActivationName,
    ConvNorm,
    Dense,
    Dropout,
    Epsilon,
    GlobalAveragePool,
    Initializer,
    Momentum,
    Rate,
    TruncatedNormal,
)
from components.types import Output, Range


class MobileNet(ConvNet, kw_only=True):
    """MobileNet or EfficientNet: images (B, H, W, C) -> (B, outputs).

    A 3 x 3 convolution with stride 2, stages of blocks, a 1 x 1 convolution, global average pooling, and the head. The
    versions differ in their stages. Numbers of channels are multiples of 8, after multiplication by `width`. The
    initializer and the epsilon of MobileNets are from the authors' TensorFlow code. (Its momentum, 0.997 or 0.9997, is
    for millions of steps.)

    Attributes:
        stages: specifications of the stages, in order.
        block: `inverted`: expansion, depthwise convolution and linear projection, added to the input if shapes are
            equal (v2). `separable`: a depthwise and a 1 x 1 convolution, both with activation (v1).
        stem: number of channels of the first convolution.
        top: number of channels of the 1 x 1 convolution after the stages. None: no such convolution.
        dense: number of units of a dense layer after the pooling. None: no dense layer.
        narrow: whether a `width` below 1 also applies to the last layer before the head.
        depth: factor for the number of blocks of each stage, rounded up. Additional blocks repeat the last expansion.
        squeeze_excite: kind of squeeze and excitation, for stages with `excite`.
        activation: name of the activation function, for stages without an activation of their own.
        padding: padding of convolutions with a stride. `SAME`: an odd pixel at the bottom or right, as in TensorFlow
            and Keras. `symmetric`: equal on both sides, as in PyTorch; its weights also need an epsilon of 1e-5 (1e-3
            for v3 of torchvision).
        dropout: rate before the head. None: no dropout.
        stochastic_depth: r, where block i of n, counted from 0, has the rate r * i / n (Tan and Le, 2019). None: no
            stochastic depth.
        initializer: distribution of all kernels.
        momentum, epsilon: parameters of batch normalization.

    References:
        Howard et al., 2017: MobileNets: efficient convolutional neural networks for mobile vision applications.
        Sandler et al., 2018: MobileNetV2: inverted residuals and linear bottlenecks.
        Howard et al., 2019: Searching for MobileNetV3.
    """

    stages: tuple[MobileStage, ...]
    block: Literal["separable", "inverted"] = "inverted"
    stem: Annotated[int, Range(1)] = 32
    top: Annotated[int, Range(1)] | None = 1280
    dense: Annotated[int, Range(1)] | None = None
    narrow: bool = False
    depth: Annotated[float, Range(0, math.inf, "()")] = 1.0
    squeeze_excite: SqueezeExciteKind = "mobilenet_v3"
    activation: ActivationName = "relu6"
    padding: Literal["SAME", "symmetric"] = "SAME"
    dropout: Rate | None = 0.2
    stochastic_depth: Rate | None = None
    initializer: Initializer = TruncatedNormal(0.09)
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        make_conv = self._create_conv_factory(self.activation)
        padding = 1 if self.padding == "symmetric" else "SAME"
        x = as_images(self, image)
        x = make_conv(self.scale_width(self.stem), 3, 2, padding, name="stem")(x, train=train)
        features = {"stem": x}
        for n, stage in enumerate(self.stages, 1):
            for m in range(self._count_blocks(stage)):
                x = self._make_block(n, m)(x, train=train)
            features[f"stage_{n}"] = x
        if self.top is not None:
            channels = self._scale_last(self.top) if self.dense is None else self.scale_width(self.top)
            features["top"] = x = make_conv(channels, 1, name="top")(x, train=train)
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        if self.dense is not None:
            dense = Dense(self._scale_last(self.dense), self.activation, initializer=self.initializer, name="dense")
            features["dense"] = x = dense(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train, initializer=self.initializer)

    def scale_width(self, count: float) -> int:
        """Returns a number of channels or units times `width`, rounded to a multiple of 8."""
        return round_channels(count * self.width)

    def _scale_last(self, count: int) -> int:
        """Returns the number of channels of the last layer before the head."""
        return self.scale_width(count) if self.narrow or self.width > 1 else count

    def _count_blocks(self, stage: MobileStage) -> int:
        return math.ceil(len(stage.expansions) * self.depth)

    def _create_conv_factory(self, activation: ActivationName) -> partial[ConvNorm]:
        return partial(
            ConvNorm,
            activation=activation,
            initializer=self.initializer,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )

    def _make_block(self, n: int, m: int) -> InvertedResidual:
        """Returns block m, counted from 0, of stage n, counted from 1."""
        stage, depths = self.stages[n - 1], [self._count_blocks(stage) for stage in self.stages]
        share = (sum(depths[: n - 1]) + m) / sum(depths)  # of all blocks, before this block
        return InvertedResidual(
            self.scale_width(stage.channels),
            stage.expansions[min(m, len(stage.expansions) - 1)],
            self._create_conv_factory(stage.activation or self.activation),
            stage.kernel,
            stage.stride if m == 0 else 1,
            symmetric=self.padding == "symmetric",
            squeeze_excite=self.squeeze_excite if stage.excite else None,
            initializer=self.initializer,
            linear=self.block == "inverted",
            stochastic_depth=None if self.stochastic_depth is None else self.stochastic_depth * share,
            name=f"stage_{n}_block_{m}",
        )


MobileNetV1 = partial(
    MobileNet,
    stages=(
        MobileStage(64, (1,)),
        MobileStage(128, (1,) * 2, stride=2),
        MobileStage(256, (1,) * 2, stride=2),
        MobileStage(512, (1,) * 6, stride=2),
        MobileStage(1024, (1,) * 2, stride=2),
    ),
    block="separable",
    top=None,
    dropout=0.001,
)
MobileNetV2 = partial(
    MobileNet,
    stages=(
        MobileStage(16, (1,)),
        MobileStage(24, (6,) * 2, stride=2),
        MobileStage(32, (6,) * 3, stride=2),
        MobileStage(64, (6,) * 4, stride=2),
        MobileStage(96, (6,) * 3),
        MobileStage(160, (6,) * 3, stride=2),
        MobileStage(320, (6,)),
    ),
)
MobileNetV3 = partial(
    MobileNet,
    stages=(
        MobileStage(16, (1,), activation="relu"),
        MobileStage(24, (4, 3), stride=2, activation="relu"),
        MobileStage(40, (3,) * 3, 5, 2, excite=True, activation="relu"),
        MobileStage(80, (6, 2.5, 2.3, 2.3), stride=2),
        MobileStage(112, (6,) * 2, excite=True),
        MobileStage(160, (6,) * 3, 5, 2, excite=True),
    ),
    stem=16,
    top=960,
    dense=1280,
    activation="hard_swish",
)
MobileNetV3Small = partial(
    MobileNetV3,
    stages=(
        MobileStage(16, (1,), stride=2, excite=True, activation="relu"),
        MobileStage(24, (72 / 16, 88 / 24), stride=2, activation="relu"),
        MobileStage(40, (4, 6, 6), 5, 2, excite=True),
        MobileStage(48, (3,) * 2, 5, excite=True),
        MobileStage(96, (6,) * 3, 5, 2, excite=True),
    ),
    top=576,
    dense=1024,
)
