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

EXPANSION = 4  # a bottleneck has 4 * width output channels
BASE_WIDTH = 64  # the width of a stage in which bottlenecks have `group_width` channels per group


class ResNet(ConvNet, kw_only=True):
    """Residual network: images (B, H, W, C) -> (B, outputs).

    stem (convolutions) -> max-pooling -> stages of residual blocks -> global average pooling -> dropout -> dense layer

    Convolutions are initially He normal, the dense layer is Glorot uniform. ResNet-50 has these shapes:

        images   (B, 224, 224, 3)
        stem     (B, 112, 112, 64)    pooled to (B, 56, 56, 64)
        stage_1  (B, 56, 56, 256)
        stage_2  (B, 28, 28, 512)
        stage_3  (B, 14, 14, 1024)
        stage_4  (B, 7, 7, 2048)
        pool     (B, 2048)
        logits   (B, outputs)

    Attributes:
        block: `basic`: two 3 x 3 convolutions with `widths` channels. `bottleneck`: a 1 x 1 convolution to `widths`
            channels, a 3 x 3 convolution, and a 1 x 1 convolution to 4 * widths channels.
        depths: number of blocks of each stage.
        widths: base number of channels of each stage; see `block`.
        version: order and strides of the layers of a block.
            `v1`: convolution, batch normalization, ReLU. A bottleneck has its stride in the first convolution, as in
            the paper and Keras.
            `v1.5`: as v1, but a bottleneck has its stride in the 3 x 3 convolution, as in PyTorch.
            `v2`: batch normalization, ReLU, convolution (He et al., 2016). Strides as in v1.5.
        stem: number of channels of each convolution before the first stage.
        stem_kernel: side of the window of the convolutions of the stem.
        stem_stride: stride of the first convolution of the stem.
        max_pool: padding of the 3 x 3 max-pooling after the stem.
            `torch`: one pixel of minus infinity on each side.
            `keras`: one pixel of zeros on each side. Only in v2 does the result differ from `torch`, because only there
            can the output of the stem be negative.
            `caffe`: no padding. The last window may extend beyond the image.
            None: no max-pooling.
        shortcut: the shortcut of a block that changes the number of channels. `projection`: a convolution. `identity`:
            the input, with zeros for new channels (option A of the paper). In all other blocks the shortcut is the
            input.
        projection_kernel: side of the window of projections with a stride, an odd number.
        downsample: the block of a stage that has stride 2. `first`: the first block, in all stages but the first.
            `last`: the last block, in all stages but the last, as in v2 of Keras.
        groups: number of groups of the 3 x 3 convolutions in bottlenecks (Xie et al., 2017).
        group_width: number of channels per group of the 3 x 3 convolutions in a stage of width 64. In other stages it
            grows in proportion to the width. One group of 128 channels makes bottlenecks twice as wide (Zagoruyko and
            Komodakis, 2016).
        squeeze_first: whether the first 1 x 1 convolution of a bottleneck has half the channels of the 3 x 3
            convolution (SENet-154). This is independent of squeeze and excitation.
        reduction: reduction ratio of squeeze and excitation in each block (Hu et al., 2018). None: no squeeze and
            excitation.
        dropout: rate before the dense layer. None: no dropout.
        block_dropout: rate before the last convolution of each block. None: no dropout.
        stochastic_depth: rate of the last block. The rate of block i of n is `stochastic_depth * i / n` (Huang et al.,
            2016). None: no stochastic depth.
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
        # Max-pooling without padding needs 3 x 3 pixels after the stem.
        min_side = 2 * self.stem_stride + 1 if self.max_pool == "caffe" else 1
        x = as_images(self, image, min_side)
        x = self._apply_stem(x, train)  # (B, H / stem_stride, W / stem_stride, stem[-1])
        features = {"stem": x}
        x = self._apply_max_pool(x, train)  # half the height and width
        for stage, depth in enumerate(self.depths, 1):
            for n in range(depth):
                x = self._make_block(stage, n)(x, train=train)
            features[f"stage_{stage}"] = x
        if self.version == "v2":
            x = BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train)
            x = activate("relu", x)
        x = GlobalAveragePool()(x, train=train)  # (B, channels)
        features["pool"] = x
        x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train)

    def _check_attributes(self) -> None:
        if len(self.depths) != len(self.widths):
            raise UserError(f"ResNet needs depths and widths of equal length, got {self.depths} and {self.widths}")
        has_bottleneck_options = self.groups != 1 or self.group_width != BASE_WIDTH or self.squeeze_first
        if self.block == "basic" and has_bottleneck_options:
            raise UserError("groups, group_width and squeeze_first need bottlenecks, got block=basic")
        if self.projection_kernel % 2 == 0:
            raise UserError(f"projection_kernel needs an odd number, got {self.projection_kernel}. Choose 1 or 3.")
        if self.projection_kernel != 1 and self.shortcut == "identity":
            raise UserError(f"projection_kernel={self.projection_kernel} needs shortcut=projection, got identity")
        if self.version == "v2" and self.residual_scale is not None:
            raise UserError("residual_scale needs batch normalization at the end of a block, got version=v2")

    def _apply_stem(self, x: jax.Array, train: bool) -> jax.Array:
        kernel, padding = self.stem_kernel, self.stem_kernel // 2
        for n, width in enumerate(self.stem):
            channels = self.scale_width(width)
            stride = self.stem_stride if n == 0 else 1
            name = f"stem_{n}"
            is_last = n == len(self.stem) - 1
            layer: Conv | ConvNorm
            if self.version == "v2" and is_last:  # the first block starts with batch normalization
                layer = Conv(
                    channels, kernel, stride, padding, use_bias=self.use_bias, initializer="he_normal", name=name
                )
            else:
                layer = ConvNorm(
                    channels,
                    kernel,
                    stride,
                    padding,
                    use_bias=self.use_bias and self.version != "v2",
                    momentum=self.momentum,
                    epsilon=self.epsilon,
                    name=name,
                )
            x = layer(x, train=train)
        return x

    def _apply_max_pool(self, x: jax.Array, train: bool) -> jax.Array:
        if self.max_pool is None:
            return x
        if self.max_pool == "torch":
            return MaxPool(window=3, stride=2, padding=1)(x, train=train)
        if self.max_pool == "keras":
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            return MaxPool(window=3, stride=2, padding=0)(x, train=train)
        return MaxPool(window=3, stride=2, padding=0, ceil_mode=True)(x, train=train)

    def _make_block(self, stage: int, n: int) -> ResidualBlock:
        """Returns block n of a stage. Stages are counted from 1, the blocks of a stage from 0."""
        width = self.widths[stage - 1]
        stride = 2 if self._is_downsampling(stage, n) else 1
        if self.block == "basic":
            branch = self._get_basic_branch(width, stride)
        else:
            branch = self._get_bottleneck_branch(width, stride)
        return ResidualBlock(
            branch,
            preactivate=self.version == "v2",
            shortcut=self.shortcut,
            projection_kernel=self.projection_kernel,
            reduction=self.reduction,
            dropout=self.block_dropout,
            stochastic_depth=self._compute_stochastic_depth(stage, n),
            residual_scale=self.residual_scale,
            use_bias=self.use_bias,
            momentum=self.momentum,
            epsilon=self.epsilon,
            name=f"stage_{stage}_block_{n}",
        )

    def _is_downsampling(self, stage: int, n: int) -> bool:
        if self.downsample == "first":
            return stage > 1 and n == 0
        return stage < len(self.depths) and n == self.depths[stage - 1] - 1

    def _compute_stochastic_depth(self, stage: int, n: int) -> Rate | None:
        """Returns the rate of block n of a stage. It grows linearly, up to `stochastic_depth` in the last block."""
        if self.stochastic_depth is None:
            return None
        blocks_before = sum(self.depths[: stage - 1]) + n
        return self.stochastic_depth * (blocks_before + 1) / sum(self.depths)

    def _get_basic_branch(self, width: int, stride: int) -> tuple[ConvolutionSpec, ...]:
        channels = self.scale_width(width)
        return (
            ConvolutionSpec(channels, kernel=3, stride=stride),
            ConvolutionSpec(channels, kernel=3),
        )

    def _get_bottleneck_branch(self, width: int, stride: int) -> tuple[ConvolutionSpec, ...]:
        """Returns three convolutions, for example for width 64 and stride 1 in v1.5.

        ResNet-50:    1 x 1 to 64 channels,  3 x 3 to 64 channels,                1 x 1 to 256 channels
        ResNeXt-50:   1 x 1 to 128 channels, 3 x 3 to 128 channels in 32 groups,  1 x 1 to 256 channels
        """
        group_channels = width * self.group_width / BASE_WIDTH
        middle_channels = self.groups * self.scale_width(group_channels)
        if self.squeeze_first:
            first_channels = self.scale_width(self.groups * group_channels / 2)
        else:
            first_channels = middle_channels
        last_channels = self.scale_width(EXPANSION * width)
        first_stride, middle_stride = (stride, 1) if self.version == "v1" else (1, stride)
        return (
            ConvolutionSpec(first_channels, kernel=1, stride=first_stride),
            ConvolutionSpec(middle_channels, kernel=3, stride=middle_stride, groups=self.groups),
            ConvolutionSpec(last_channels, kernel=1),
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

# For images of 32 x 32 pixels.
_small = partial(ResNet, block="basic", stem=(16,), stem_kernel=3, stem_stride=1, max_pool=None)
ResNet20 = partial(_small, depths=(3, 3, 3), widths=(16, 32, 64), shortcut="identity")
ResNet32 = partial(ResNet20, depths=(5, 5, 5))
ResNet56 = partial(ResNet20, depths=(9, 9, 9))
WRN_28_10 = partial(_small, depths=(4, 4, 4), widths=(160, 320, 640), version="v2")
