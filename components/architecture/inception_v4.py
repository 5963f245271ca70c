"""Inception-v4: blocks of parallel branches, without residual connections."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import flax.linen as nn
import jax

from components.architecture.block.branches import (
    ConvSpec,
    Parallel,
    ParallelSpec,
    Series,
    SeriesSpec,
    create_conv_factory,
)
from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Dropout, Epsilon, GlobalAveragePool, Momentum, Rate
from components.types import Output, Range

Depth: TypeAlias = Annotated[int, Range(1)]

MIN_SIDE = 75  # smallest side of images for which the last feature maps have a pixel

STEM: SeriesSpec = (  # figure 3
    ConvSpec(32, 3, 2, "VALID"),
    ConvSpec(32, 3, 1, "VALID"),
    ConvSpec(64, 3),
    (("max",), (ConvSpec(96, 3, 2, "VALID"),)),
    (
        (ConvSpec(64, 1), ConvSpec(96, 3, 1, "VALID")),
        (ConvSpec(64, 1), ConvSpec(64, (1, 7)), ConvSpec(64, (7, 1)), ConvSpec(96, 3, 1, "VALID")),
    ),
    ((ConvSpec(192, 3, 2, "VALID"),), ("max",)),
)
BLOCK_1: ParallelSpec = (  # figure 4
    (ConvSpec(96, 1),),
    (ConvSpec(64, 1), ConvSpec(96, 3)),
    (ConvSpec(64, 1), ConvSpec(96, 3), ConvSpec(96, 3)),
    ("mean", ConvSpec(96, 1)),
)
BLOCK_2: ParallelSpec = (  # figure 5
    (ConvSpec(384, 1),),
    (ConvSpec(192, 1), ConvSpec(224, (1, 7)), ConvSpec(256, (7, 1))),
    (ConvSpec(192, 1), ConvSpec(192, (7, 1)), ConvSpec(224, (1, 7)), ConvSpec(224, (7, 1)), ConvSpec(256, (1, 7))),
    ("mean", ConvSpec(128, 1)),
)
_CROSS: ParallelSpec = ((ConvSpec(256, (1, 3)),), (ConvSpec(256, (3, 1)),))  # a fork at the end of branches of stage 3
BLOCK_3: ParallelSpec = (  # figure 6
    (ConvSpec(256, 1),),
    (ConvSpec(384, 1), _CROSS),
    (ConvSpec(384, 1), ConvSpec(448, (3, 1)), ConvSpec(512, (1, 3)), _CROSS),
    ("mean", ConvSpec(256, 1)),
)
REDUCTION_2: ParallelSpec = (  # figure 7
    (ConvSpec(384, 3, 2, "VALID"),),
    (ConvSpec(192, 1), ConvSpec(224, 3), ConvSpec(256, 3, 2, "VALID")),
    ("max",),
)
REDUCTION_3: ParallelSpec = (  # figure 8
    (ConvSpec(192, 1), ConvSpec(192, 3, 2, "VALID")),
    (ConvSpec(256, 1), ConvSpec(256, (1, 7)), ConvSpec(320, (7, 1)), ConvSpec(320, 3, 2, "VALID")),
    ("max",),
)
# For each stage: the layers at its entry, and the block that it repeats.
STAGES: tuple[tuple[SeriesSpec, ParallelSpec], ...] = (
    ((), BLOCK_1),
    ((REDUCTION_2,), BLOCK_2),
    ((REDUCTION_3,), BLOCK_3),
)


class InceptionV4(ConvNet):
    """Inception-v4: images (B, H, W, C) -> (B, outputs).

    Three stages of blocks of parallel branches. Reductions between stages halve the side. Kernels are initially He
    normal, as in the authors' code. (Its momentum, 0.9997, is for millions of steps.)

    Attributes:
        depths: number of blocks of each stage.
        dropout: rate before the head. None: no dropout.
        use_scale: whether batch normalization has scales, as in timm. The authors' code has no scales.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: a side of the images is below 75 pixels.

    References:
        Szegedy et al., 2017: Inception-v4, Inception-ResNet and the impact of residual connections on learning.
    """

    depths: tuple[Depth, Depth, Depth] = (4, 7, 3)
    dropout: Rate | None = 0.2
    use_scale: bool = True
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = as_images(self, image, MIN_SIDE)
        make_conv = create_conv_factory(self, use_scale=self.use_scale, momentum=self.momentum, epsilon=self.epsilon)
        x = Series(STEM, make_conv, name="stem")(x, train=train)
        features = {"stem": x}
        for stage, ((entry, block), depth) in enumerate(zip(STAGES, self.depths, strict=True), 1):
            x = Series(entry, make_conv, name=f"stage_{stage}_entry")(x, train=train)
            for n in range(depth):
                x = Parallel(block, make_conv, name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.make_output(Dropout(self.dropout)(x, train=train), features, train=train)
