"""Inception-v3."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.branches import Branches, Layers, Make, Series, Step, normalized
from components.architecture.block.head import ConvNet, compute_logits
from components.architecture.block.inputs import as_images, check_auxiliary
from components.layer import (
    AveragePool,
    Dropout,
    Epsilon,
    GlobalAveragePool,
    Initializer,
    Momentum,
    Rate,
    SqueezeExcite,
    TruncatedNormal,
)
from components.types import Output, Range, Scalar

SMALLEST = 75  # pixels a side that leave one place at the end
JUDGED = "stage_2_block_4"  # has the auxiliary classifier
JUDGED_SIDE = 299  # from here on its maps are 17 x 17, which the classifier takes

STEM: Layers = (
    Step(32, 3, 2, "VALID"),
    Step(32, 3, 1, "VALID"),
    Step(64, 3),
    "max",
    Step(80, 1),
    Step(192, 3, 1, "VALID"),
    "max",
)
A: Branches = ((Step(64, 1),), (Step(48, 1), Step(64, 5)), (Step(64, 1), Step(96, 3), Step(96, 3)))  # figure 5
_CROSS: Branches = ((Step(384, (1, 3)),), (Step(384, (3, 1)),))
C: Branches = ((Step(320, 1),), (Step(384, 1), _CROSS), (Step(448, 1), Step(384, 3), _CROSS))  # figure 7
TO_B: Branches = (  # figure 10
    (Step(384, 3, 2, "VALID"),),
    (Step(64, 1), Step(96, 3), Step(96, 3, 2, "VALID")),
    ("max",),
)
TO_C: Branches = (
    (Step(192, 1), Step(320, 3, 2, "VALID")),
    (Step(192, 1), Step(192, (1, 7)), Step(192, (7, 1)), Step(192, 3, 2, "VALID")),
    ("max",),
)


def _b(narrow: int) -> Branches:
    """7 x 7 as 1 x 7 and 7 x 1, with so many channels in between (figure 6)."""
    wide, high = Step(narrow, (1, 7)), Step(narrow, (7, 1))
    return (
        (Step(192, 1),),
        (Step(narrow, 1), wide, Step(192, (7, 1))),
        (Step(narrow, 1), high, wide, high, Step(192, (1, 7))),
    )


STAGES: tuple[tuple[tuple[Branches, int | None], ...], ...] = (
    ((A, 32), (A, 64), (A, 64)),
    ((TO_B, None), (_b(128), 192), (_b(160), 192), (_b(160), 192), (_b(192), 192)),
    ((TO_C, None), (C, 192), (C, 192)),
)
"""The branches of each block, and the channels of one more, a convolution by 1 x 1 after average pooling."""


class Block(nn.Module):
    """Branches side by side, `pooled` those of the one after average pooling: (B, H, W, C) -> (B, h, w, all channels).

    With `reduction`, squeeze and excitation through so many times fewer units scales what they give.
    """

    branches: Branches
    pooled: int | None
    conv: Make
    count_include_pad: bool
    reduction: int | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        maps = [Series(layers, self.conv, name=f"branch_{n}")(x, train=train) for n, layers in enumerate(self.branches)]
        if self.pooled is not None:
            means = AveragePool(3, 1, "SAME", count_include_pad=self.count_include_pad)(x, train=train)
            last = Series((Step(self.pooled, 1),), self.conv, name=f"branch_{len(maps)}")
            maps.append(last(means, train=train))
        y = jnp.concatenate(maps, axis=-1)
        if self.reduction is None:
            return y
        return SqueezeExcite(max(1, y.shape[-1] // self.reduction), name="excitation")(y, train=train)


class Auxiliary(nn.Module):
    """A small classifier on maps of 17 x 17 or more: (B, H, W, C) -> (B, outputs) in float32."""

    outputs: int
    conv: Make
    last: Make

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = AveragePool(5, 3)(x, train=train)
        x = self.conv(Step(128, 1), "conv_0")(x, train=train)
        x = self.last(Step(768, 5, 1, "VALID"), "conv_1")(x, train=train)
        x = GlobalAveragePool()(x, train=train)
        return compute_logits(self.outputs, x, train=train, initializer=TruncatedNormal(0.001))


class InceptionV3(ConvNet):
    """Inception-v3 (Szegedy et al., 2016), as its authors released it: images (B, H, W, C) -> (B, outputs).

    Five convolutions, then eleven modules in three stages, each convolution with batch normalization: 23,834,568
    parameters for 1,000 classes of 299 x 299 x 3, 17,216 less without `use_scale`, and 3,326,696 in an auxiliary
    classifier after stage 2, whose loss counts `auxiliary` times in training; None: there is none. The paper trains
    with labels smoothed by 0.1, which is a field of the loss. With `reduction`, squeeze and excitation in each module
    (Hu et al., 2018).

    The weight of that loss, dropout, epsilon, and the deviations of the auxiliary classifier's last two kernels are
    those of the release (TF-slim), whose momentum of 0.9997 is for millions of steps: here it is Keras's 0.99. Other
    kernels start with torchvision's deviation of 0.1; all are cut at twice theirs. Weights of Keras want
    `use_scale: false`; those of torchvision and timm want `count_include_pad: true`, for average pooling.

    Raises UserError below 75 x 75 pixels, and with an auxiliary classifier below 299 x 299 in training.
    """

    auxiliary: Annotated[Scalar, Range(0)] | None = 0.4
    dropout: Rate | None = 0.2
    use_scale: bool = True
    count_include_pad: bool = False
    reduction: Annotated[int, Range(1)] | None = None
    initializer: Initializer = TruncatedNormal(0.1)
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        judged = self.auxiliary if train and self.head else None
        conv = self._conv(self.initializer)
        x = Series(STEM, conv, name="stem")(self._checked(image, judged is not None), train=train)
        features = {"stem": x}
        heads: tuple[tuple[Scalar, jax.Array], ...] = ()
        for stage, blocks in enumerate(STAGES, 1):
            for n, (branches, pooled) in enumerate(blocks):
                name = f"stage_{stage}_block_{n}"
                block = Block(branches, pooled, conv, self.count_include_pad, self.reduction, name=name)
                x = block(x, train=train)
                if judged is not None and name == JUDGED:
                    judge = Auxiliary(self.outputs, conv, self._conv(TruncatedNormal(0.01)), name="auxiliary_0")
                    heads = ((judged, judge(x, train=train)),)
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, auxiliary=heads, initializer=self.initializer)

    def _checked(self, image: jax.Array, judged: bool) -> jax.Array:
        x = as_images(self, image, SMALLEST)
        if judged:
            check_auxiliary(x, JUDGED_SIDE, "classifier of InceptionV3 trains")
        return x

    def _conv(self, spread: Initializer) -> Make:
        numbers = {"momentum": self.momentum, "epsilon": self.epsilon}
        return normalized(self, initializer=spread, use_scale=self.use_scale, **numbers)


SEInceptionV3 = partial(InceptionV3, reduction=16)
