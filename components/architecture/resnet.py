"""Residual networks: ResNet, ResNeXt, wide residual networks, and variants with squeeze and excitation."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.architecture.block.residual import ConvolutionSpec, ResidualBlock
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

EXPANSION = 4  # ratio of the output channels of a bottleneck to the width of its stage
BASE_WIDTH = 64  # `group_width` is given for a stage of this width, and grows in proportion to the width


class ResNet(ConvNet, kw_only=True):
    """Residual network: images (B, H, W, C) -> (B, outputs).

    A stem of convolutions, stages of residual blocks, and global average pooling. Each stage after the first halves the
    side. Kernels are initially He normal; the kernel of the head is Glorot uniform.

    Attributes:
        block: `basic`: two 3 x 3 convolutions with `widths` channels. `bottleneck`: a 1 x 1 convolution to `widths`
            channels, a 3 x 3 convolution, and a 1 x 1 convolution to 4 * widths channels.
        depths: number of blocks of each stage.
        widths: number of channels of each stage.
        version: `v1`: a bottleneck has its stride in the first convolution, as in the paper and Keras. `v1.5`: it has
            its stride in the 3 x 3 convolution, as in PyTorch. `v2`: the same, with batch normalization and ReLU before
            instead of after each convolution (He et al., 2016).
        stem: number of channels of each convolution before the first stage.
        stem_kernel: side of the window of the convolutions of the stem.
        stem_stride: stride of the first convolution of the stem.
        max_pool: padding of the 3 x 3 max-pooling after the stem. `torch`: padding that is never the maximum. `keras`:
            padding with zeros; this differs from `torch` only in v2, where the output of the stem can be negative.
            `caffe`: no padding, in ceiling mode. None: no pooling.
        shortcut: the shortcut of blocks that change the number of channels. `projection`: a convolution. `identity`:
            the input, with zeros for new channels (option A of the paper). In all other blocks the shortcut is the
            input.
        projection_kernel: side of the window of projections with a stride.
        downsample: the block of a stage that has the stride. `first`: the first block, in stages after the first.
            `last`: the last block, in stages before the last, as in v2 of Keras.
        groups: number of groups of the 3 x 3 convolutions in bottlenecks (Xie et al., 2017).
        group_width: number of channels of each group in a stage with 64 channels. In other stages it is in proportion
            to `widths`. One group of 128 channels makes bottlenecks twice as wide (Zagoruyko and Komodakis, 2016).
        squeeze_first: whether the first 1 x 1 convolution of a bottleneck has half the channels of the 3 x 3
            convolution (SENet-154). This is independent of squeeze and excitation.
        reduction: reduction ratio of squeeze and excitation after each branch (Hu et al., 2018). None: no squeeze and
            excitation.
        dropout: rate before the head. None: no dropout.
        block_dropout: rate before the last convolution of each block. None: no dropout.
        stochastic_depth: rate of the last block. Rates grow linearly over the blocks (Huang et al., 2016). None: no
            stochastic depth.
        residual_scale: initial value of the scales of the last batch normalization of each block; 0 in Goyal et al.,
            2017. None: 1.
        use_bias: whether convolutions have biases, as in Keras. In v2, only convolutions without batch normalization
            after them do.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: attributes contradict each other, or the images are too small for `max_pool=caffe`.

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
    group_width: Annotated[int, Range(1)] = BASE_WIDTH
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
        self._check_attributes()
        # After the stem, an unpadded window of the max-pooling needs 3 x 3 pixels.
        x = as_images(self, image, min_side=2 * self.stem_stride + 1 if self.max_pool == "caffe" else 1)
        x = self._apply_stem(x, train)
        features = {"stem": x}
        x = self._apply_max_pool(x, train)
        for stage, depth in enumerate(self.depths, 1):
            for n in range(depth):
                x = self._make_block(stage, n)(x, train=train)
            features[f"stage_{stage}"] = x
        if self.version == "v2":
            x = activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        features["pool"] = x = GlobalAveragePool()(x, train=train)
        return self.make_output(Dropout(self.dropout)(x, train=train), features, train=train)

    def _check_attributes(self) -> None:
        if len(self.depths) != len(self.widths):
            raise UserError(f"ResNet needs depths and widths of equal length, got {self.depths} and {self.widths}")
        has_bottleneck_options = (self.groups, self.group_width, self.squeeze_first) != (1, BASE_WIDTH, False)
        if self.block == "basic" and has_bottleneck_options:
            raise UserError("groups, group_width and squeeze_first need bottlenecks, got block=basic")
        if self.version == "v2" and self.residual_scale is not None:
            raise UserError("residual_scale needs batch normalization at the end of a block, got version=v2")

    def _apply_stem(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the stem. In v2 the last convolution has no normalization, because the first block starts with it."""
        for n, channels in enumerate(self.stem):
            fields = (
                self.scale_channels(channels),
                self.stem_kernel,
                self.stem_stride if n == 0 else 1,
                self.stem_kernel // 2,
            )
            name = f"stem_{n}"
            if self.version == "v2" and n == len(self.stem) - 1:
                x = Conv(*fields, use_bias=self.use_bias, initializer="he_normal", name=name)(x, train=train)
            else:
                use_bias = self.use_bias and self.version != "v2"
                conv = ConvNorm(*fields, use_bias=use_bias, momentum=self.momentum, epsilon=self.epsilon, name=name)
                x = conv(x, train=train)
        return x

    def _apply_max_pool(self, x: jax.Array, train: bool) -> jax.Array:
        if self.max_pool is None:
            return x
        if self.max_pool == "keras":
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        padding = 1 if self.max_pool == "torch" else 0
        return MaxPool(3, 2, padding, ceil_mode=self.max_pool == "caffe")(x, train=train)

    def _make_block(self, stage: int, n: int) -> ResidualBlock:
        """Returns block n, counted from 0, of a stage, counted from 1."""
        if self.downsample == "first":
            has_stride = n == 0 and stage > 1
        else:
            has_stride = n == self.depths[stage - 1] - 1 and stage < len(self.depths)
        position = sum(self.depths[: stage - 1]) + n + 1  # of the block in the whole network, counted from 1
        rate = None if self.stochastic_depth is None else self.stochastic_depth * position / sum(self.depths)
        return ResidualBlock(
            self._specify_branch(self.widths[stage - 1], stride=2 if has_stride else 1),
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

    def _specify_branch(self, width: int, stride: int) -> tuple[ConvolutionSpec, ...]:
        if self.block == "basic":
            channels = self.scale_channels(width)
            return ConvolutionSpec(channels, 3, stride), ConvolutionSpec(channels, 3)
        group_channels = width * self.group_width / BASE_WIDTH
        second = self.groups * self.scale_channels(group_channels)
        first = self.scale_channels(self.groups * group_channels / 2) if self.squeeze_first else second
        first_stride, second_stride = (stride, 1) if self.version == "v1" else (1, stride)
        return (
            ConvolutionSpec(first, 1, first_stride),
            ConvolutionSpec(second, 3, second_stride, self.groups),
            ConvolutionSpec(self.scale_channels(EXPANSION * width), 1),
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
