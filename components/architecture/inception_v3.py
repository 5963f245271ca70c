"""Inception-v3, and its variant with squeeze and excitation."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import flax.linen as nn
import jax

from components.architecture.block.branches import (
    Branches,
    Layers,
    MakeConv,
    Parallel,
    Pool,
    Series,
    Step,
    make_conv_norm,
)
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
    TruncatedNormal,
)
from components.types import Output, Range, Scalar

SMALLEST = 75  # smallest side of images for which the last maps have a place
AUXILIARY_BLOCK = "stage_2_block_4"  # has the auxiliary classifier
AUXILIARY_SIDE = 299  # smallest side of images for which its maps are 17 x 17, which the classifier needs

STEM: Layers = (
    Step(32, 3, 2, "VALID"),
    Step(32, 3, 1, "VALID"),
    Step(64, 3),
    "max",
    Step(80, 1),
    Step(192, 3, 1, "VALID"),
    "max",
)
_CROSS: Branches = ((Step(384, (1, 3)),), (Step(384, (3, 1)),))
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


def _a(pooled: int, mean: Pool) -> Branches:
    """Returns the block of stage 1 (figure 5), with `pooled` channels after average pooling."""
    return (Step(64, 1),), (Step(48, 1), Step(64, 5)), (Step(64, 1), Step(96, 3), Step(96, 3)), (mean, Step(pooled, 1))


def _b(narrow: int, mean: Pool) -> Branches:
    """Returns the block of stage 2, with 7 x 7 as 1 x 7 and 7 x 1 on `narrow` channels (figure 6)."""
    wide, high = Step(narrow, (1, 7)), Step(narrow, (7, 1))
    return (
        (Step(192, 1),),
        (Step(narrow, 1), wide, Step(192, (7, 1))),
        (Step(narrow, 1), high, wide, high, Step(192, (1, 7))),
        (mean, Step(192, 1)),
    )


def _c(mean: Pool) -> Branches:
    """Returns the block of stage 3 (figure 7)."""
    return (
        (Step(320, 1),),
        (Step(384, 1), _CROSS),
        (Step(448, 1), Step(384, 3), _CROSS),
        (mean, Step(192, 1)),
    )


def _stages(mean: Pool) -> tuple[tuple[Branches, ...], ...]:
    """Returns the blocks of each stage; `mean` is the kind of average pooling."""
    return (
        (_a(32, mean), _a(64, mean), _a(64, mean)),
        (TO_B, _b(128, mean), _b(160, mean), _b(160, mean), _b(192, mean)),
        (TO_C, _c(mean), _c(mean)),
    )


class Auxiliary(nn.Module):
    """Auxiliary classifier on maps of at least 17 x 17: images (B, H, W, C) -> (B, outputs) in float32.

    Attributes:
        outputs: number of logits.
        conv: makes the first convolution.
        last: makes the second convolution.
    """

    outputs: int
    conv: MakeConv
    last: MakeConv

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = AveragePool(5, 3)(x, train=train)
        x = self.conv(Step(128, 1), "conv_0")(x, train=train)
        x = self.last(Step(768, 5, 1, "VALID"), "conv_1")(x, train=train)
        x = GlobalAveragePool()(x, train=train)
        return compute_logits(self.outputs, x, train=train, initializer=TruncatedNormal(0.001))


class InceptionV3(ConvNet):
    """Inception-v3 as its authors released it: images (B, H, W, C) -> (B, outputs).

    Five convolutions, then eleven modules in three stages, each convolution with batch normalization: 23,834,568
    parameters for 1,000 classes of 299 x 299 x 3, 17,216 less without `use_scale`, and 3,326,696 in the auxiliary
    classifier after stage 2. The paper trains with labels smoothed by 0.1: `loss.label_smoothing=0.1`.

    The weight of the auxiliary loss, dropout, epsilon, and the standard deviations of the last two kernels of the
    auxiliary classifier are those of the release (TF-slim). Its momentum, 0.9997, is for millions of steps; the default
    here is that of Keras. Other kernels start truncated normal with standard deviation 0.1, as in torchvision.

    Attributes:
        auxiliary: weight of the loss of the auxiliary classifier in training, 0 or more; None: there is none.
        dropout: rate before the head; None: no dropout.
        use_scale: whether normalization has scales; weights of Keras need `false`.
        count_include_pad: whether average pooling counts its padding; weights of torchvision and timm need `true`.
        reduction: channels for each unit of squeeze and excitation in each module (Hu et al., 2018); None: there is
            none.
        initializer: distribution of the kernels.
        momentum, epsilon: of batch normalization.

    Raises:
        UserError: a side of the images is below 75 pixels, or below 299 in training with the auxiliary classifier.

    References:
        Szegedy et al., 2016: Rethinking the Inception architecture for computer vision.
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
        weight = self.auxiliary if train and self.head else None
        conv = self._conv(self.initializer)
        x = Series(STEM, conv, name="stem")(self._check(image, weight is not None), train=train)
        features = {"stem": x}
        heads: tuple[tuple[Scalar, jax.Array], ...] = ()
        for stage, blocks in enumerate(_stages("mean_padded" if self.count_include_pad else "mean"), 1):
            for n, branches in enumerate(blocks):
                name = f"stage_{stage}_block_{n}"
                x = Parallel(branches, conv, self.reduction, name=name)(x, train=train)
                if weight is not None and name == AUXILIARY_BLOCK:
                    auxiliary = Auxiliary(self.outputs, conv, self._conv(TruncatedNormal(0.01)), name="auxiliary_0")
                    heads = ((weight, auxiliary(x, train=train)),)
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.apply_head(x, features, train=train, auxiliary=heads, initializer=self.initializer)

    def _check(self, image: jax.Array, auxiliary: bool) -> jax.Array:
        """Returns the images; raises UserError where a window is larger than its maps."""
        x = as_images(self, image, SMALLEST)
        if auxiliary:
            check_auxiliary(x, AUXILIARY_SIDE, "classifier of InceptionV3 trains")
        return x

    def _conv(self, initializer: Initializer) -> MakeConv:
        numbers = {"momentum": self.momentum, "epsilon": self.epsilon}
        return make_conv_norm(self, initializer=initializer, use_scale=self.use_scale, **numbers)


SEInceptionV3 = partial(InceptionV3, reduction=16)
