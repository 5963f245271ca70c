"""Inception-ResNet-v1 and v2: blocks of parallel branches, with residual connections."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.branches import (
    ConvSpec,
    MakeConv,
    ParallelSpec,
    Series,
    SeriesSpec,
    apply_branches,
    create_conv_factory,
)
from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Conv, Dropout, Epsilon, GlobalAveragePool, Momentum, Rate, activate
from components.types import Output, Range, Scalar

Depth: TypeAlias = Annotated[int, Range(1)]
Scale: TypeAlias = Annotated[Scalar, Range(0)]

MIN_SIDE = 75  # smallest side of images for which the last feature maps have a pixel

STEM: SeriesSpec = (  # figure 14 without the last convolution
    ConvSpec(32, 3, 2, "VALID"),
    ConvSpec(32, 3, 1, "VALID"),
    ConvSpec(64, 3),
    "max",
    ConvSpec(80, 1),
    ConvSpec(192, 3, 1, "VALID"),
)
MIXED_5B: ParallelSpec = (  # from the authors' code; not in the paper
    (ConvSpec(96, 1),),
    (ConvSpec(48, 1), ConvSpec(64, 5)),
    (ConvSpec(64, 1), ConvSpec(96, 3), ConvSpec(96, 3)),
    ("mean", ConvSpec(64, 1)),
)
BLOCK_1_V1: ParallelSpec = (
    (ConvSpec(32, 1),),
    (ConvSpec(32, 1), ConvSpec(32, 3)),
    (ConvSpec(32, 1), ConvSpec(32, 3), ConvSpec(32, 3)),
)  # figure 10
BLOCK_1_V2: ParallelSpec = (
    (ConvSpec(32, 1),),
    (ConvSpec(32, 1), ConvSpec(32, 3)),
    (ConvSpec(32, 1), ConvSpec(48, 3), ConvSpec(64, 3)),
)  # figure 16
BLOCK_2_V1: ParallelSpec = (
    (ConvSpec(128, 1),),
    (ConvSpec(128, 1), ConvSpec(128, (1, 7)), ConvSpec(128, (7, 1))),
)  # figure 11
BLOCK_2_V2: ParallelSpec = (
    (ConvSpec(192, 1),),
    (ConvSpec(128, 1), ConvSpec(160, (1, 7)), ConvSpec(192, (7, 1))),
)  # figure 17
BLOCK_3_V1: ParallelSpec = (
    (ConvSpec(192, 1),),
    (ConvSpec(192, 1), ConvSpec(192, (1, 3)), ConvSpec(192, (3, 1))),
)  # figure 13
BLOCK_3_V2: ParallelSpec = (
    (ConvSpec(192, 1),),
    (ConvSpec(192, 1), ConvSpec(224, (1, 3)), ConvSpec(256, (3, 1))),
)  # figure 19


def _specify_reduction_2(middle: int, last: int) -> ParallelSpec:
    """Returns the reduction from stage 1 to stage 2, with maps of 17 x 17 (figure 7)."""
    return (
        (ConvSpec(384, 3, 2, "VALID"),),
        (ConvSpec(middle, 1), ConvSpec(middle, 3), ConvSpec(last, 3, 2, "VALID")),
        ("max",),
    )


def _specify_reduction_3(middle: int, last: int) -> ParallelSpec:
    """Returns the reduction from stage 2 to stage 3, with maps of 8 x 8 (figures 12 and 18)."""
    return (
        (ConvSpec(256, 1), ConvSpec(384, 3, 2, "VALID")),
        (ConvSpec(256, 1), ConvSpec(middle, 3, 2, "VALID")),
        (ConvSpec(256, 1), ConvSpec(middle, 3), ConvSpec(last, 3, 2, "VALID")),
        ("max",),
    )


# For each stage: the layers at its entry, and the branches of the block that it repeats.
STAGES: Mapping[str, tuple[tuple[SeriesSpec, ParallelSpec], ...]] = {
    "v1": (
        ((ConvSpec(256, 3, 2, "VALID"),), BLOCK_1_V1),
        ((_specify_reduction_2(192, 256),), BLOCK_2_V1),
        ((_specify_reduction_3(256, 256),), BLOCK_3_V1),
    ),
    "v2": (
        (("max", MIXED_5B), BLOCK_1_V2),
        ((_specify_reduction_2(256, 384),), BLOCK_2_V2),
        ((_specify_reduction_3(288, 320),), BLOCK_3_V2),
    ),
}


class InceptionResNet(ConvNet, kw_only=True):
    """Inception-ResNet: images (B, H, W, C) -> (B, outputs).

    Each block adds parallel branches to its input. A 1 x 1 convolution matches their channels, a factor scales them,
    and ReLU follows the sum. Kernels are initially Glorot uniform, as in the authors' code. (Its momentum, 0.9997, is
    for millions of steps.)

    Attributes:
        version: `v1`: as in the paper. `v2`: as in the authors' code and the published weights. It differs from the
            paper in the stem, in the depths (10, 20, 10 instead of 5, 10, 5), and in a last 1 x 1 convolution.
        depths: number of blocks of each stage.
        residual_scales: factor of the branches in each stage, 0 or more. Small factors keep training stable.
        linear_end: whether the last block adds its branches unscaled, without ReLU after the sum.
        dropout: rate before the head. None: no dropout.
        use_scale: whether batch normalization has scales, as in ports to PyTorch.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: a side of the images is below 75 pixels.

    References:
        Szegedy et al., 2017: Inception-v4, Inception-ResNet and the impact of residual connections on learning.
    """

    version: Literal["v1", "v2"]
    depths: tuple[Depth, Depth, Depth]
    residual_scales: tuple[Scale, Scale, Scale] = (0.17, 0.1, 0.2)
    linear_end: bool = False
    dropout: Rate | None = 0.2
    use_scale: bool = False
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        fields = {"use_scale": self.use_scale, "momentum": self.momentum, "epsilon": self.epsilon}
        make_conv = create_conv_factory(self, initializer="glorot_uniform", **fields)
        x = as_images(self, image, MIN_SIDE)
        x = Series(STEM, make_conv, name="stem")(x, train=train)
        features = {"stem": x}
        for stage, (entry, branches) in enumerate(STAGES[self.version], 1):
            x = Series(entry, make_conv, name=f"stage_{stage}_entry")(x, train=train)
            for n in range(self.depths[stage - 1]):
                is_linear = self.linear_end and (stage, n) == (3, self.depths[2] - 1)
                scale = None if is_linear else self.residual_scales[stage - 1]
                x = Block(branches, make_conv, scale, name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        if self.version == "v2":
            features["last"] = x = make_conv(ConvSpec(1536, 1), "last")(x, train=train)
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.make_output(Dropout(self.dropout)(x, train=train), features, train=train)


class Block(nn.Module):
    """Parallel branches that are added to their input: images (B, H, W, C) -> the same shape.

    Attributes:
        branches: specifications of the branches.
        make_conv: makes each convolution.
        scale: factor of the branches. None: 1, and no ReLU after the sum.
    """

    branches: ParallelSpec
    make_conv: MakeConv
    scale: Scalar | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = apply_branches(self.branches, self.make_conv, x, train=train)
        y = Conv(x.shape[-1], 1, name="up")(y, train=train)
        if self.scale is None:
            return x + y
        return activate("relu", x + jnp.asarray(self.scale, y.dtype) * y)


InceptionResNetV1 = partial(InceptionResNet, version="v1", depths=(5, 10, 5))
InceptionResNetV2 = partial(InceptionResNet, version="v2", depths=(10, 20, 10), linear_end=True)
