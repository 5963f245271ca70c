"""Inception-ResNet-v1 and v2: blocks of parallel branches with residuals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.branches import (
    Branches,
    Layers,
    MakeConv,
    Series,
    Step,
    apply_branches,
    make_conv_norm,
)
from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Conv, Dropout, Epsilon, GlobalAveragePool, Momentum, Rate, activate
from components.types import Output, Range, Scalar

Depth: TypeAlias = Annotated[int, Range(1)]
Scale: TypeAlias = Annotated[Scalar, Range(0)]

SMALLEST = 75  # smallest side of images for which the last maps have a place

STEM: Layers = (  # figure 14 without its last convolution
    Step(32, 3, 2, "VALID"),
    Step(32, 3, 1, "VALID"),
    Step(64, 3),
    "max",
    Step(80, 1),
    Step(192, 3, 1, "VALID"),
)
MIXED_5B: Branches = (  # in the authors' code, not in the paper
    (Step(96, 1),),
    (Step(48, 1), Step(64, 5)),
    (Step(64, 1), Step(96, 3), Step(96, 3)),
    ("mean", Step(64, 1)),
)
A_1: Branches = ((Step(32, 1),), (Step(32, 1), Step(32, 3)), (Step(32, 1), Step(32, 3), Step(32, 3)))  # figure 10
A_2: Branches = ((Step(32, 1),), (Step(32, 1), Step(32, 3)), (Step(32, 1), Step(48, 3), Step(64, 3)))  # figure 16
B_1: Branches = ((Step(128, 1),), (Step(128, 1), Step(128, (1, 7)), Step(128, (7, 1))))  # figure 11
B_2: Branches = ((Step(192, 1),), (Step(128, 1), Step(160, (1, 7)), Step(192, (7, 1))))  # figure 17
C_1: Branches = ((Step(192, 1),), (Step(192, 1), Step(192, (1, 3)), Step(192, (3, 1))))  # figure 13
C_2: Branches = ((Step(192, 1),), (Step(192, 1), Step(224, (1, 3)), Step(256, (3, 1))))  # figure 19


def _to_b(middle: int, last: int) -> Branches:
    """Returns the reduction to 17 x 17 (figure 7)."""
    return (Step(384, 3, 2, "VALID"),), (Step(middle, 1), Step(middle, 3), Step(last, 3, 2, "VALID")), ("max",)


def _to_c(middle: int, last: int) -> Branches:
    """Returns the reduction to 8 x 8 (figures 12 and 18)."""
    return (
        (Step(256, 1), Step(384, 3, 2, "VALID")),
        (Step(256, 1), Step(middle, 3, 2, "VALID")),
        (Step(256, 1), Step(middle, 3), Step(last, 3, 2, "VALID")),
        ("max",),
    )


STAGES: Mapping[str, tuple[tuple[Layers, Branches], ...]] = {
    "v1": (((Step(256, 3, 2, "VALID"),), A_1), ((_to_b(192, 256),), B_1), ((_to_c(256, 256),), C_1)),
    "v2": ((("max", MIXED_5B), A_2), ((_to_b(256, 384),), B_2), ((_to_c(288, 320),), C_2)),
}
"""For each stage, the layers before it and the branches of the block that it repeats."""


class InceptionResNet(ConvNet, kw_only=True):
    """Inception-ResNet: images (B, H, W, C) -> (B, outputs).

    In each block, a convolution by 1 x 1 brings parallel branches to the channels of the input; they are scaled and
    added to it, then ReLU. Kernels start Glorot uniform, as in the authors' code. Its momentum, 0.9997, is for millions
    of steps.

    Attributes:
        version: `v1`: as in the paper. `v2`: as in the authors' code and the published weights, where the stem differs
            from the paper's, stages have 10, 20 and 10 blocks (paper: 5, 10, 5), and a convolution by 1 x 1 ends it.
        depths: blocks of each stage.
        residual_scales: factor of the branches in each stage, 0 or more; small ones keep training stable.
        linear_end: whether the last block adds its branches unscaled and has no ReLU.
        dropout: rate before the head; None: no dropout.
        use_scale: whether normalization has scales, as in ports to PyTorch.
        momentum, epsilon: of batch normalization.

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
        conv = make_conv_norm(self, initializer="glorot_uniform", **fields)
        x = as_images(self, image, SMALLEST)
        features = {"stem": (x := Series(STEM, conv, name="stem")(x, train=train))}
        for stage, (entry, branches) in enumerate(STAGES[self.version], 1):
            x = Series(entry, conv, name=f"stage_{stage}_entry")(x, train=train)
            for n in range(self.depths[stage - 1]):
                linear = self.linear_end and (stage, n) == (3, self.depths[2] - 1)
                scale = None if linear else self.residual_scales[stage - 1]
                x = Block(branches, conv, scale, name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        if self.version == "v2":
            features["last"] = x = conv(Step(1536, 1), "last")(x, train=train)
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.apply_head(Dropout(self.dropout)(x, train=train), features, train=train)


class Block(nn.Module):
    """Parallel branches, added to their input: images (B, H, W, C) -> the same shape.

    Attributes:
        branches: the branches.
        conv: makes their convolutions.
        scale: factor of the branches; None: 1, and no ReLU after the sum.
    """

    branches: Branches
    conv: MakeConv
    scale: Scalar | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = apply_branches(self.branches, self.conv, x, train=train)
        y = Conv(x.shape[-1], 1, name="up")(y, train=train)
        return x + y if self.scale is None else activate("relu", x + jnp.asarray(self.scale, y.dtype) * y)


InceptionResNetV1 = partial(InceptionResNet, version="v1", depths=(5, 10, 5))
InceptionResNetV2 = partial(InceptionResNet, version="v2", depths=(10, 20, 10), linear_end=True)
