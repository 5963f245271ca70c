"""Residual networks: ResNet, ResNeXt, wide residual networks, and their variants with squeeze and excitation."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.architecture.block.residual import Convolution, ResidualBlock
from components.layer import (
    BatchNorm,
    Conv,
    ConvNorm,
    Dropout,
    Epsilon,
    GlobalAveragePool,
    MaxPool,
    Momentum,
    Rate,
    activate,
)
from components.types import Output, Range, Scalar, UserError

EXPANSION = 4  # channels of the output of a bottleneck for each of `widths`
UNGROUPED = 64  # channels of `widths` that `group_width` refers to


class ResNet(ConvNet, kw_only=True):
    """Residual network: images (B, H, W, C) -> (B, outputs).

    A stem of convolutions, stages of residual blocks, each after the first at half the side of the one before, and the
    mean. Kernels start He normal, the kernel of the head Glorot uniform.

    Attributes:
        block: `basic`: two convolutions by 3 x 3 with `widths` channels; `bottleneck`: a convolution by 1 x 1 to
            `widths` channels, a convolution by 3 x 3, and a convolution by 1 x 1 to four times as many channels.
        depths: blocks of each stage.
        widths: channels of each stage.
        version: place of the stride in a bottleneck, and of normalization. `v1`: stride in the first convolution, as in
            the paper and Keras; `v1.5`: in the convolution by 3 x 3, as in PyTorch; `v2`: as in v1.5, with
            normalization and ReLU before the convolutions (He et al., 2016).
        stem: channels of the convolutions before the first stage; the first has the stride.
        stem_kernel, stem_stride: of the stem.
        max_pool: max-pooling of 3 x 3 after the stem. `torch`: padded; `keras`: padded with zeros, which differs in v2;
            `caffe`: not padded, in ceiling mode; None: there is none.
        shortcut: where channels change, `projection`: a convolution by 1 x 1; `identity`: the input, with zeros for new
            channels (option A of the paper). Where channels stay, the shortcut is the input.
        projection_kernel: side of the window of projections with a stride.
        downsample: the block of a stage that has the stride: the `first`, in stages after the first; or the `last`, in
            stages before the last, as in v2 of Keras.
        groups, group_width: groups of the convolutions by 3 x 3 in bottlenecks, and channels of each group for 64 of
            `widths` (Xie et al., 2017). One group of 128 is twice as wide (Zagoruyko and Komodakis, 2016).
        squeeze_first: whether the first convolution of a bottleneck has half of the channels of the second (SENet-154).
        reduction: channels for each unit of squeeze and excitation after each branch (Hu et al., 2018); None: there is
            none.
        dropout: rate before the head; None: no dropout.
        block_dropout: rate before the last convolution of each block; None: no dropout.
        stochastic_depth: rate of the last block; it grows linearly over the blocks (Huang et al., 2016). None: there is
            none.
        residual_scale: value that the scale of the last normalization of each block starts at, 0 in Goyal et al., 2017;
            None: 1.
        use_bias: whether convolutions have biases, as in Keras; in v2, those without normalization after them.
        momentum, epsilon: of batch normalization.

    Raises:
        UserError: fields contradict each other, or a side of the images is below 5 pixels with `max_pool=caffe`.

    References:
        He et al., 2015: Deep residual learning for image recognition.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[Annotated[int, Range(1)], ...]
    widths: tuple[Annotated[int, Range(1)], ...] = (64, 128, 256, 512)
    version: Literal["v1", "v1.5", "v2"] = "v1.5"
    stem: tuple[Annotated[int, Range(1)], ...] = (64,)
    stem_kernel: Annotated[int, Range(1)] = 7
    stem_stride: Annotated[int, Range(1)] = 2
    max_pool: Literal["torch", "keras", "caffe"] | None = "torch"
    shortcut: Literal["projection", "identity"] = "projection"
    projection_kernel: Annotated[int, Range(1)] = 1
    downsample: Literal["first", "last"] = "first"
    groups: Annotated[int, Range(1)] = 1
    group_width: Annotated[int, Range(1)] = UNGROUPED
    squeeze_first: bool = False
    reduction: Annotated[int, Range(1)] | None = None
    dropout: Rate | None = None
    block_dropout: Rate | None = None
    stochastic_depth: Rate | None = None
    residual_scale: Scalar | None = None
    use_bias: bool = False
    momentum: Momentum = 0.9
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        self._check()
        x = as_images(self, image, smallest=2 * self.stem_stride + 1 if self.max_pool == "caffe" else 1)
        x = self._stem(x, train)
        features = {"stem": x}
        x = self._pool(x, train)
        for stage, depth in enumerate(self.depths, 1):
            for n in range(depth):
                x = self._block(stage, n)(x, train=train)
            features[f"stage_{stage}"] = x
        if self.version == "v2":
            x = activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.apply_head(Dropout(self.dropout)(x, train=train), features, train=train)

    def _check(self) -> None:
        if len(self.depths) != len(self.widths):
            raise UserError(f"ResNet has {len(self.depths)} stages in depths={self.depths}, but widths={self.widths}")
        grouped = (self.groups, self.group_width, self.squeeze_first) != (1, UNGROUPED, False)
        if self.block == "basic" and grouped:
            raise UserError("groups, group_width and squeeze_first are of bottlenecks: choose block=bottleneck")
        if self.version == "v2" and self.residual_scale is not None:
            raise UserError("no normalization ends a block of version=v2: residual_scale needs another version")

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the first convolutions; in v2 the first block normalizes the output of the last."""
        for n, count in enumerate(self.stem):
            fields = (self.channels(count), self.stem_kernel, self.stem_stride if n == 0 else 1, self.stem_kernel // 2)
            name = f"stem_{n}"
            if self.version == "v2" and n == len(self.stem) - 1:
                x = Conv(*fields, use_bias=self.use_bias, initializer="he_normal", name=name)(x, train=train)
            else:
                biased = self.use_bias and self.version != "v2"
                conv = ConvNorm(*fields, use_bias=biased, momentum=self.momentum, epsilon=self.epsilon, name=name)
                x = conv(x, train=train)
        return x

    def _pool(self, x: jax.Array, train: bool) -> jax.Array:
        if self.max_pool is None:
            return x
        if self.max_pool == "keras":
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        caffe = self.max_pool == "caffe"
        return MaxPool(3, 2, padding=1 if self.max_pool == "torch" else 0, ceil_mode=caffe)(x, train=train)

    def _block(self, stage: int, n: int) -> ResidualBlock:
        """Returns block n, from 0, of a stage, from 1."""
        first, last = n == 0 and stage > 1, n == self.depths[stage - 1] - 1 and stage < len(self.depths)
        stride = 2 if (first if self.downsample == "first" else last) else 1
        position = sum(self.depths[: stage - 1]) + n + 1
        rate = None if self.stochastic_depth is None else self.stochastic_depth * position / sum(self.depths)
        return ResidualBlock(
            self._branch(self.widths[stage - 1], stride),
            preactivate=self.version == "v2",
            shortcut=self.shortcut,
            projection_kernel=self.projection_kernel,
            reduction=self.reduction,
            dropout=self.block_dropout,
            stochastic_depth=rate,
            residual_scale=self.residual_scale,
            use_bias=self.use_bias,
            momentum=self.momentum,
            epsilon=self.epsilon,
            name=f"stage_{stage}_block_{n}",
        )

    def _branch(self, width: int, stride: int) -> tuple[Convolution, ...]:
        if self.block == "basic":
            count = self.channels(width)
            return Convolution(count, 3, stride), Convolution(count, 3)
        within = width * self.group_width / UNGROUPED
        inner = self.groups * self.channels(within)
        first = self.channels(self.groups * within / 2) if self.squeeze_first else inner
        early, late = (stride, 1) if self.version == "v1" else (1, stride)
        return (
            Convolution(first, 1, early),
            Convolution(inner, 3, late, self.groups),
            Convolution(self.channels(EXPANSION * width), 1),
        )


ResNet18 = partial(ResNet, block="basic", depths=(2, 2, 2, 2))
ResNet34 = partial(ResNet, block="basic", depths=(3, 4, 6, 3))
ResNet50 = partial(ResNet, block="bottleneck", depths=(3, 4, 6, 3))
ResNet101 = partial(ResNet, block="bottleneck", depths=(3, 4, 23, 3))
ResNet152 = partial(ResNet, block="bottleneck", depths=(3, 8, 36, 3))
ResNeXt50 = partial(ResNet50, groups=32, group_width=4)
ResNeXt101 = partial(ResNet101, groups=32, group_width=8)
WideResNet50 = partial(ResNet50, group_width=128)
SEResNet18 = partial(ResNet18, reduction=16)
SEResNet34 = partial(ResNet34, reduction=16)
SEResNet50 = partial(ResNet50, reduction=16)
SEResNet101 = partial(ResNet101, reduction=16)
SEResNet152 = partial(ResNet152, reduction=16)
SEResNeXt50 = partial(ResNeXt50, reduction=16)
SEResNeXt101 = partial(ResNet101, groups=32, group_width=4, reduction=16)
SENet154 = partial(
    SEResNet152,
    stem=(64, 64, 128),
    stem_kernel=3,
    max_pool="caffe",
    projection_kernel=3,
    groups=64,
    group_width=4,
    squeeze_first=True,
    dropout=0.2,
)

_small = partial(ResNet, block="basic", stem=(16,), stem_kernel=3, stem_stride=1, max_pool=None)
ResNet20 = partial(_small, depths=(3, 3, 3), widths=(16, 32, 64), shortcut="identity")
ResNet32 = partial(ResNet20, depths=(5, 5, 5))
ResNet56 = partial(ResNet20, depths=(9, 9, 9))
WRN_28_10 = partial(_small, depths=(4, 4, 4), widths=(160, 320, 640), version="v2")
