"""Residual networks: ResNet, ResNeXt, wide ones, and those with squeeze and excitation."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.architecture.block.residual import Convolution, ResidualBlock
from components.layer import BatchNorm, Conv, ConvNorm, Dropout, Epsilon, GlobalAveragePool, MaxPool, Momentum, Rate
from components.types import Output, Range, Scalar, UserError

EXPANSION = 4  # channels that a bottleneck gives, for each of its width
UNGROUPED = 64  # channels of the first stage to which `group_width` refers


class ResNet(ConvNet, kw_only=True):
    """Stages of residual blocks, each from the second on at half the side of the one before it (He et al., 2015).

    A basic block is two convolutions by 3 x 3 with `widths` channels; a bottleneck goes down to them by 1 x 1, has one
    by 3 x 3, and goes up to four times as many by 1 x 1. Kernels are drawn from He's normal distribution by the
    connections that come in, those of the head from Glorot's uniform one. Raises UserError where fields contradict each
    other, and below 5 x 5 pixels where max_pool is `caffe`.

    Attributes:
        version: where a bottleneck has its stride, and where a block is normalized. v1: in its first convolution, as
            in the paper and Keras; v1.5: in that by 3 x 3, as in PyTorch; v2: there too, and normalization and ReLU
            stand before the convolutions (He et al., 2016).
        stem: the channels of the convolutions before the first stage; the first has the stride.
        max_pool: that after them. torch: padded; keras: padded with zeros, which v2 can tell apart; caffe: not
            padded, its size rounded up; None: none.
        shortcut: what carries the input to the sum where channels change: a projection by 1 x 1, or the identity with
            zeros for new channels (the paper's option A). Where channels stay, it is the identity.
        projection_kernel: the side of projections that have a stride.
        downsample: which block of a stage has the stride, for the first the stages from the second on, for the last
            those before the last (Keras, v2).
        groups, group_width: the groups of convolutions by 3 x 3 in bottlenecks, and the channels of each for 64 of
            `widths` (Xie et al., 2017); one group of 128 is twice as wide (Zagoruyko and Komodakis, 2016).
        squeeze_first: whether a bottleneck's first convolution has half of the channels of its second (SENet-154).
        reduction: how many channels share a unit of squeeze and excitation, which ends each branch; None: there is none
            (Hu et al., 2018).
        block_dropout: the rate before the last convolution of each block; `dropout`: that before the head.
        stochastic_depth: the rate of the last block; those before it have their linear share (Huang et al., 2016).
        residual_scale: what the scale of the last normalization of each block begins with, 0 in Goyal et al., 2017;
            None: 1.
        use_bias: biases in convolutions, as in Keras; in v2 in those that no normalization follows.
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
        x = self._pooled(x, train)
        for stage, depth in enumerate(self.depths, 1):
            for n in range(depth):
                x = self._block(stage, n)(x, train=train)
            features[f"stage_{stage}"] = x
        if self.version == "v2":
            x = nn.relu(BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
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
        """The first convolutions; in v2 the first block normalizes what the last of them gives."""
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

    def _pooled(self, x: jax.Array, train: bool) -> jax.Array:
        if self.max_pool is None:
            return x
        if self.max_pool == "keras":
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        caffe = self.max_pool == "caffe"
        return MaxPool(3, 2, padding=1 if self.max_pool == "torch" else 0, ceil_mode=caffe)(x, train=train)

    def _block(self, stage: int, n: int) -> ResidualBlock:
        """Block n, from 0, of a stage, from 1."""
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
