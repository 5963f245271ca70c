"""ConvNeXt: a convolutional network with design choices of vision transformers."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, TypeAlias

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import (
    Conv,
    Dense,
    DepthwiseConv,
    Epsilon,
    GlobalAveragePool,
    Initializer,
    LayerNorm,
    Normal,
    Rate,
    StochasticDepth,
)
from components.layer.shape import broadcast_like
from components.types import Output, Range, Scalar, UserError

EXPANSION = 4  # ratio of the units of a block's first dense layer to its channels
PATCH = 4  # side in pixels of the patches of the stem

LayerScale: TypeAlias = Annotated[Scalar, Range(0, math.inf, "[)")]


class ConvNeXtBlock(nn.Module):
    """7 x 7 depthwise convolution and two dense layers per pixel, added to the input: (B, H, W, C) -> the same shape.

    Layer normalization comes before the first dense layer, which has 4 * C units and GELU.

    Attributes:
        layer_scale: initial value of the scales of the branch's channels. None: no scales.
        stochastic_depth: share of the examples that skip the branch in training. None: no stochastic depth.
        initializer: distribution of the kernels.
        epsilon: epsilon of layer normalization.
    """

    layer_scale: LayerScale | None = 1e-6
    stochastic_depth: Rate | None = None
    initializer: Initializer = Normal(0.02)
    epsilon: Epsilon = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1]
        depthwise = DepthwiseConv(7, initializer=self.initializer, name="depthwise")
        y = LayerNorm(self.epsilon, name="norm")(depthwise(x, train=train), train=train)
        expand = Dense(EXPANSION * channels, "gelu", initializer=self.initializer, name="expand")
        y = Dense(channels, initializer=self.initializer, name="project")(expand(y, train=train), train=train)
        if self.layer_scale is not None:
            y = y * broadcast_like(
                self.param("layer_scale", nn.initializers.constant(self.layer_scale), (channels,)), y
            )
        return x + StochasticDepth(self.stochastic_depth)(y, train=train)


class ConvNeXt(ConvNet, kw_only=True):
    """ConvNeXt: images (B, H, W, C) -> (B, outputs).

    A convolution of patches of 4 x 4 pixels, stages of blocks, and global average pooling. Each stage after the first
    halves the side. Kernels are initially normal with standard deviation 0.02. (The authors' code truncates this
    distribution at ±2, which is 100 standard deviations.)

    Attributes:
        depths: number of blocks of each stage.
        widths: number of channels of each stage.
        layer_scale: initial value of the scales of each branch (Touvron et al., 2021). None: no scales.
        stochastic_depth: rate of the last block. Rates grow linearly from 0 for the first block. None: no stochastic
            depth.
        initializer: distribution of all kernels.
        epsilon: epsilon of layer normalization.

    Raises:
        UserError: `depths` and `widths` have different lengths, or a side of the images is too small: below 32 pixels
            for four stages, below 16 for three.

    References:
        Liu et al., 2022: A ConvNet for the 2020s.
    """

    depths: tuple[Annotated[int, Range(1)], ...]
    widths: tuple[Annotated[int, Range(1)], ...]
    layer_scale: LayerScale | None = 1e-6
    stochastic_depth: Rate | None = None
    initializer: Initializer = Normal(0.02)
    epsilon: Epsilon = 1e-6

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        if len(self.depths) != len(self.widths):
            raise UserError(f"ConvNeXt needs depths and widths of equal length, got {self.depths} and {self.widths}")
        x = as_images(self, image, min_side=PATCH * 2 ** (len(self.depths) - 1))
        x = self._apply_stem(x, train)
        features = {"stem": x}
        for n in range(1, len(self.depths) + 1):
            features[f"stage_{n}"] = x = self._apply_stage(n, x, train)
        x = LayerNorm(self.epsilon, name="norm")(GlobalAveragePool()(x, train=train), train=train)
        features["pool"] = x
        return self.make_output(x, features, train=train, initializer=self.initializer)

    def _apply_stem(self, x: jax.Array, train: bool) -> jax.Array:
        channels = self.scale_width(self.widths[0])
        x = Conv(channels, PATCH, PATCH, "VALID", initializer=self.initializer, name="stem")(x, train=train)
        return LayerNorm(self.epsilon, name="stem_norm")(x, train=train)

    def _apply_stage(self, n: int, x: jax.Array, train: bool) -> jax.Array:
        """Applies stage n, counted from 1."""
        if n > 1:
            x = LayerNorm(self.epsilon, name=f"stage_{n}_norm")(x, train=train)
            channels, name = self.scale_width(self.widths[n - 1]), f"stage_{n}_downsample"
            x = Conv(channels, 2, 2, "VALID", initializer=self.initializer, name=name)(x, train=train)
        first_block = sum(self.depths[: n - 1])  # number of this stage's first block, from 0 in the whole network
        last_block = max(1, sum(self.depths) - 1)  # at least 1: a network of one block has the rate 0, not 0 / 0
        for m in range(self.depths[n - 1]):
            rate = None if self.stochastic_depth is None else self.stochastic_depth * (first_block + m) / last_block
            fields = (self.layer_scale, rate, self.initializer, self.epsilon)
            x = ConvNeXtBlock(*fields, name=f"stage_{n}_block_{m}")(x, train=train)
        return x


ConvNeXtTiny = partial(ConvNeXt, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768), stochastic_depth=0.1)
ConvNeXtSmall = partial(ConvNeXtTiny, depths=(3, 3, 27, 3), stochastic_depth=0.4)
ConvNeXtBase = partial(ConvNeXtSmall, widths=(128, 256, 512, 1024), stochastic_depth=0.5)
