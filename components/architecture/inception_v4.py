"""Inception-v4: blocks of parallel branches without residuals."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import flax.linen as nn
import jax

from components.architecture.block.branches import Branches, Layers, Parallel, Series, Step, make_conv_norm
from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Dropout, Epsilon, GlobalAveragePool, Momentum, Rate
from components.types import Output, Range

Depth: TypeAlias = Annotated[int, Range(1)]

SMALLEST = 75  # smallest side of images for which the last maps have a place

STEM: Layers = (  # figure 3
    Step(32, 3, 2, "VALID"),
    Step(32, 3, 1, "VALID"),
    Step(64, 3),
    (("max",), (Step(96, 3, 2, "VALID"),)),
    (
        (Step(64, 1), Step(96, 3, 1, "VALID")),
        (Step(64, 1), Step(64, (1, 7)), Step(64, (7, 1)), Step(96, 3, 1, "VALID")),
    ),
    ((Step(192, 3, 2, "VALID"),), ("max",)),
)
A: Branches = (  # figure 4
    (Step(96, 1),),
    (Step(64, 1), Step(96, 3)),
    (Step(64, 1), Step(96, 3), Step(96, 3)),
    ("mean", Step(96, 1)),
)
B: Branches = (  # figure 5
    (Step(384, 1),),
    (Step(192, 1), Step(224, (1, 7)), Step(256, (7, 1))),
    (Step(192, 1), Step(192, (7, 1)), Step(224, (1, 7)), Step(224, (7, 1)), Step(256, (1, 7))),
    ("mean", Step(128, 1)),
)
_CROSS: Branches = ((Step(256, (1, 3)),), (Step(256, (3, 1)),))
C: Branches = (  # figure 6
    (Step(256, 1),),
    (Step(384, 1), _CROSS),
    (Step(384, 1), Step(448, (3, 1)), Step(512, (1, 3)), _CROSS),
    ("mean", Step(256, 1)),
)
TO_B: Branches = (  # figure 7
    (Step(384, 3, 2, "VALID"),),
    (Step(192, 1), Step(224, 3), Step(256, 3, 2, "VALID")),
    ("max",),
)
TO_C: Branches = (  # figure 8
    (Step(192, 1), Step(192, 3, 2, "VALID")),
    (Step(256, 1), Step(256, (1, 7)), Step(320, (7, 1)), Step(320, 3, 2, "VALID")),
    ("max",),
)
STAGES: tuple[tuple[Layers, Branches], ...] = (((), A), ((TO_B,), B), ((TO_C,), C))
"""For each stage, the layers before it and the block that it repeats."""


class InceptionV4(ConvNet):
    """Inception-v4: images (B, H, W, C) -> (B, outputs).

    Three stages of blocks of parallel branches, with reductions between them that halve the image. Kernels start He
    normal, as in the authors' code. Its momentum, 0.9997, is for millions of steps.

    Attributes:
        depths: blocks of each stage.
        dropout: rate before the head; None: no dropout.
        use_scale: whether normalization has scales: in timm it has, in the authors' code it has none.
        momentum, epsilon: of batch normalization.

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
        x = as_images(self, image, SMALLEST)
        conv = make_conv_norm(self, use_scale=self.use_scale, momentum=self.momentum, epsilon=self.epsilon)
        features = {"stem": (x := Series(STEM, conv, name="stem")(x, train=train))}
        for stage, ((entry, block), depth) in enumerate(zip(STAGES, self.depths, strict=True), 1):
            x = Series(entry, conv, name=f"stage_{stage}_entry")(x, train=train)
            for n in range(depth):
                x = Parallel(block, conv, name=f"stage_{stage}_block_{n}")(x, train=train)
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.apply_head(Dropout(self.dropout)(x, train=train), features, train=train)
