"""Networks for small devices, of depthwise convolutions."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.architecture.block.inverted_residual import Excitation, InvertedResidual, MobileStage, divisible
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
    """A convolution by 3 x 3 with stride 2, stages of blocks, one convolution by 1 x 1 more, the mean, the head.

    MobileNet-v1 (Howard et al., 2017), v2 (Sandler et al., 2018), v3 (Howard et al., 2019) and EfficientNet (Tan and
    Le, 2019) are tables of stages. All channels are multiples of 8, times `width` too. All kernels, the head's too,
    are drawn alike; initializer and epsilon of MobileNets are those of their authors' TensorFlow code, whose momentum,
    0.997 or 0.9997, is for millions of steps.

    Attributes:
        block: inverted: expansion, depthwise convolution, linear projection, and a sum where shapes are equal (v2);
            separable: a depthwise convolution and one by 1 x 1, both with activation (v1).
        stem: the channels of the first convolution.
        top: those of the convolution by 1 x 1 after the stages; None: there is none.
        dense: the units of a dense layer after the mean; None: there is none.
        narrow: whether a width below 1 makes the last layer before the head narrower too.
        depth: multiplies the blocks of each stage, rounded up; those that are added repeat the last expansion.
        activation: that of all convolutions and the dense layer, but of stages with one of their own.
        padding: of convolutions with a stride. SAME: with the odd pixel last, as in TensorFlow and Keras; symmetric:
            as many pixels on each side, as in PyTorch, whose weights are for an epsilon of 1e-5 too (but torchvision's
            of v3).
        dropout: the rate before the head.
        stochastic_depth: the rate after the last block; block i of n, from 0, has i / n of it (Tan and Le, 2019).
    """

    stages: tuple[MobileStage, ...]
    block: Literal["separable", "inverted"] = "inverted"
    stem: Annotated[int, Range(1)] = 32
    top: Annotated[int, Range(1)] | None = 1280
    dense: Annotated[int, Range(1)] | None = None
    narrow: bool = False
    depth: Annotated[float, Range(0, math.inf, "()")] = 1.0
    excitation: Excitation = "mobilenet_v3"
    activation: ActivationName = "relu6"
    padding: Literal["SAME", "symmetric"] = "SAME"
    dropout: Rate | None = 0.2
    stochastic_depth: Rate | None = None
    initializer: Initializer = TruncatedNormal(0.09)
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x, conv = as_images(self, image), self._conv(self.activation)
        padding = 1 if self.padding == "symmetric" else "SAME"
        x = conv(self.channels(self.stem), 3, 2, padding, name="stem")(x, train=train)
        features = {"stem": x}
        for n, stage in enumerate(self.stages, 1):
            for m in range(self._depth(stage)):
                x = self._block(n, m)(x, train=train)
            features[f"stage_{n}"] = x
        if self.top is not None:
            count = self._last(self.top) if self.dense is None else self.channels(self.top)
            features["top"] = x = conv(count, 1, name="top")(x, train=train)
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        if self.dense is not None:
            dense = Dense(self._last(self.dense), self.activation, initializer=self.initializer, name="dense")
            features["dense"] = x = dense(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, initializer=self.initializer)

    def channels(self, count: float) -> int:
        """So many, times the width: as a multiple of 8."""
        return divisible(count * self.width)

    def _last(self, count: int) -> int:
        """The channels of the last layer before the head."""
        return self.channels(count) if self.narrow or self.width > 1 else count

    def _depth(self, stage: MobileStage) -> int:
        return math.ceil(len(stage.expansions) * self.depth)

    def _conv(self, activation: ActivationName) -> partial[ConvNorm]:
        return partial(
            ConvNorm,
            activation=activation,
            initializer=self.initializer,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )

    def _block(self, n: int, m: int) -> InvertedResidual:
        """Block m, from 0, of stage n, from 1."""
        stage, depths = self.stages[n - 1], [self._depth(one) for one in self.stages]
        share = (sum(depths[: n - 1]) + m) / sum(depths)
        return InvertedResidual(
            self.channels(stage.channels),
            stage.expansions[min(m, len(stage.expansions) - 1)],
            self._conv(stage.activation or self.activation),
            stage.kernel,
            stage.stride if m == 0 else 1,
            symmetric=self.padding == "symmetric",
            excitation=self.excitation if stage.excite else None,
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
