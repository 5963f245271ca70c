"""Inception-v3 and SE-Inception-v3."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import flax.linen as nn
import jax

from components.architecture.block.branches import (
    ConvSpec,
    MakeConv,
    Parallel,
    ParallelSpec,
    PoolKind,
    Series,
    SeriesSpec,
    create_conv_factory,
)
from components.architecture.block.head import ConvNet, compute_logits
from components.architecture.block.inputs import as_images, check_side_for_auxiliary
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

MIN_SIDE = 75  # smallest side of images for which the last feature maps have a pixel
AUXILIARY_BLOCK = "stage_2_block_4"  # block with the auxiliary classifier
AUXILIARY_MIN_SIDE = 299  # smallest side of images for which the block has feature maps of 17 x 17

STEM: SeriesSpec = (
    ConvSpec(32, 3, 2, "VALID"),
    ConvSpec(32, 3, 1, "VALID"),
    ConvSpec(64, 3),
    "max",
    ConvSpec(80, 1),
    ConvSpec(192, 3, 1, "VALID"),
    "max",
)
_CROSS: ParallelSpec = ((ConvSpec(384, (1, 3)),), (ConvSpec(384, (3, 1)),))  # a fork at the end of branches of stage 3
REDUCTION_2: ParallelSpec = (  # from stage 1 to stage 2, figure 10
    (ConvSpec(384, 3, 2, "VALID"),),
    (ConvSpec(64, 1), ConvSpec(96, 3), ConvSpec(96, 3, 2, "VALID")),
    ("max",),
)
REDUCTION_3: ParallelSpec = (  # from stage 2 to stage 3
    (ConvSpec(192, 1), ConvSpec(320, 3, 2, "VALID")),
    (ConvSpec(192, 1), ConvSpec(192, (1, 7)), ConvSpec(192, (7, 1)), ConvSpec(192, 3, 2, "VALID")),
    ("max",),
)


def _specify_block_1(pooled: int, mean: PoolKind) -> ParallelSpec:
    """Returns a block of stage 1 (figure 5), with `pooled` channels after average pooling."""
    return (
        (ConvSpec(64, 1),),
        (ConvSpec(48, 1), ConvSpec(64, 5)),
        (ConvSpec(64, 1), ConvSpec(96, 3), ConvSpec(96, 3)),
        (mean, ConvSpec(pooled, 1)),
    )


def _specify_block_2(narrow: int, mean: PoolKind) -> ParallelSpec:
    """Returns a block of stage 2 (figure 6), with 1 x 7 and 7 x 1 convolutions on `narrow` channels."""
    horizontal, vertical = ConvSpec(narrow, (1, 7)), ConvSpec(narrow, (7, 1))
    return (
        (ConvSpec(192, 1),),
        (ConvSpec(narrow, 1), horizontal, ConvSpec(192, (7, 1))),
        (ConvSpec(narrow, 1), vertical, horizontal, vertical, ConvSpec(192, (1, 7))),
        (mean, ConvSpec(192, 1)),
    )


def _specify_block_3(mean: PoolKind) -> ParallelSpec:
    """Returns a block of stage 3 (figure 7)."""
    return (
        (ConvSpec(320, 1),),
        (ConvSpec(384, 1), _CROSS),
        (ConvSpec(448, 1), ConvSpec(384, 3), _CROSS),
        (mean, ConvSpec(192, 1)),
    )


def _specify_stages(mean: PoolKind) -> tuple[tuple[ParallelSpec, ...], ...]:
    """Returns the blocks of each stage; `mean` is the kind of average pooling."""
    return (
        tuple(_specify_block_1(pooled, mean) for pooled in (32, 64, 64)),
        (REDUCTION_2, *(_specify_block_2(narrow, mean) for narrow in (128, 160, 160, 192))),
        (REDUCTION_3, _specify_block_3(mean), _specify_block_3(mean)),
    )


class Auxiliary(nn.Module):
    """Auxiliary classifier on feature maps of at least 17 x 17: images (B, H, W, C) -> (B, outputs) in float32.

    Attributes:
        outputs: number of logits.
        make_conv_0: makes the first convolution.
        make_conv_1: makes the second convolution.
    """

    outputs: int
    make_conv_0: MakeConv
    make_conv_1: MakeConv

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = AveragePool(5, 3)(x, train=train)
        x = self.make_conv_0(ConvSpec(128, 1), "conv_0")(x, train=train)
        x = self.make_conv_1(ConvSpec(768, 5, 1, "VALID"), "conv_1")(x, train=train)
        x = GlobalAveragePool()(x, train=train)
        return compute_logits(self.outputs, x, train=train, initializer=TruncatedNormal(0.001))


class InceptionV3(ConvNet):
    """Inception-v3 as its authors released it: images (B, H, W, C) -> (B, outputs).

    Five convolutions, then eleven blocks in three stages. Each convolution has batch normalization. There are
    23,834,568 parameters for 1,000 classes, 17,216 fewer without `use_scale`, and 3,326,696 more in the auxiliary
    classifier after stage 2. The paper trains with label smoothing of 0.1.

    The defaults of `auxiliary`, `dropout` and `epsilon`, and the standard deviations of the last two kernels of the
    auxiliary classifier, are from the release (TF-slim). The default of `momentum` is from Keras, because that of the
    release, 0.9997, is for millions of steps. Other kernels are initially truncated normal, as in torchvision.

    Attributes:
        auxiliary: weight of the loss of the auxiliary classifier in training, 0 or more. None: no auxiliary classifier.
        dropout: rate before the head. None: no dropout.
        use_scale: whether batch normalization has scales; false for weights of Keras.
        count_include_pad: whether the means of average pooling include the padding; true for weights of torchvision and
            timm.
        reduction: reduction ratio of squeeze and excitation in each block (Hu et al., 2018). None: no squeeze and
            excitation.
        initializer: distribution of the kernels.
        momentum, epsilon: parameters of batch normalization.

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
        make_conv = self._create_conv_factory(self.initializer)
        x = as_images(self, image, MIN_SIDE)
        if weight is not None:
            check_side_for_auxiliary(self, x, AUXILIARY_MIN_SIDE)
        x = Series(STEM, make_conv, name="stem")(x, train=train)
        features = {"stem": x}
        auxiliary: tuple[tuple[Scalar, jax.Array], ...] = ()
        for stage, blocks in enumerate(_specify_stages("mean_padded" if self.count_include_pad else "mean"), 1):
            for n, branches in enumerate(blocks):
                name = f"stage_{stage}_block_{n}"
                x = Parallel(branches, make_conv, self.reduction, name=name)(x, train=train)
                if weight is not None and name == AUXILIARY_BLOCK:
                    make_conv_1 = self._create_conv_factory(TruncatedNormal(0.01))
                    classifier = Auxiliary(self.outputs, make_conv, make_conv_1, name="auxiliary_0")
                    auxiliary = ((weight, classifier(x, train=train)),)
            features[f"stage_{stage}"] = x
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train, auxiliary=auxiliary, initializer=self.initializer)

    def _create_conv_factory(self, initializer: Initializer) -> MakeConv:
        fields = {"use_scale": self.use_scale, "momentum": self.momentum, "epsilon": self.epsilon}
        return create_conv_factory(self, initializer=initializer, **fields)


SEInceptionV3 = partial(InceptionV3, reduction=16)
