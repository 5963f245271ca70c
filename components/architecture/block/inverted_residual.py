"""The block of MobileNets and EfficientNets: a depthwise convolution between an expansion and a projection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax

from components.layer import ActivationFunction, ConvNorm, Initializer, Rate, SqueezeExcite, StochasticDepth
from components.types import Range

DIVISOR = 8  # numbers of channels are multiples of it

SqueezeExciteKind: TypeAlias = Literal["mobilenet_v3", "efficientnet"]
"""mobilenet_v3: a quarter of the expanded channels as units, ReLU and hard sigmoid (Howard et al., 2019).
efficientnet: a quarter of the input's channels as units, swish and sigmoid (Tan and Le, 2019)."""


@dataclass(frozen=True)
class MobileStage:
    """Specification of a stage: consecutive blocks with the same number of output channels.

    Attributes:
        channels: number of channels of the output of each block, before the network's `width`.
        expansions: for each block, the ratio of expanded channels to channels of the input.
        kernel: side of the window of the depthwise convolutions.
        stride: stride of the first block. Later blocks have stride 1.
        excite: whether the blocks have squeeze and excitation.
        activation: activation function. None: the activation of the network.
    """

    channels: Annotated[int, Range(1)]
    expansions: tuple[Annotated[float, Range(1)], ...]
    kernel: Annotated[int, Range(1)] = 3
    stride: Annotated[int, Range(1)] = 1
    excite: bool = False
    activation: ActivationFunction | None = None


def round_channels(count: float) -> int:
    """Rounds to the nearest multiple of 8, at least 8, or to the next one if this would lose more than a tenth."""
    rounded = max(DIVISOR, int(count + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded if rounded >= 0.9 * count else rounded + DIVISOR


class InvertedResidual(nn.Module):
    """1 x 1 expansion, depthwise convolution, 1 x 1 projection: images (B, H, W, C) -> (B, h, w, features).

    Each convolution has batch normalization. Squeeze and excitation comes before the projection.

    Attributes:
        features: number of channels of the output.
        expansion: ratio of expanded channels, rounded to a multiple of 8, to C. 1: no expansion.
        make_conv: makes each convolution with normalization and activation.
        kernel: side of the window of the depthwise convolution.
        stride: stride of the depthwise convolution.
        symmetric: True: both sides have equal padding, as in PyTorch. False: the padding is SAME.
        squeeze_excite: kind of squeeze and excitation. None: no squeeze and excitation.
        initializer: distribution of the kernels of squeeze and excitation.
        linear: True: the projection has no activation, and the input is added if its shape is equal to that of the
            output (Sandler et al., 2018). False: the projection has an activation, and nothing is added. With an
            expansion of 1, this is the separable convolution of Howard et al., 2017.
        stochastic_depth: share of the examples that skip the block in training. None: no stochastic depth.
    """

    features: int
    expansion: float
    make_conv: Callable[..., ConvNorm]
    kernel: int = 3
    stride: int = 1
    symmetric: bool = False
    squeeze_excite: SqueezeExciteKind | None = None
    initializer: Initializer = "glorot_uniform"
    linear: bool = True
    stochastic_depth: Rate | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        expanded = round_channels(x.shape[-1] * self.expansion)
        if self.expansion != 1:
            y = self.make_conv(expanded, 1, name="expand")(y, train=train)
        padding = self.kernel // 2 if self.symmetric else "SAME"
        depthwise = self.make_conv(expanded, self.kernel, self.stride, padding, groups=expanded, name="depthwise")
        y = depthwise(y, train=train)
        if self.squeeze_excite is not None:
            y = self._make_squeeze_excite(x.shape[-1], expanded)(y, train=train)
        activation = {"activation": None} if self.linear else {}  # otherwise the activation of `make_conv`
        y = self.make_conv(self.features, 1, **activation, name="project")(y, train=train)
        if not self.linear or y.shape != x.shape:
            return y
        return x + StochasticDepth(self.stochastic_depth)(y, train=train)

    def _make_squeeze_excite(self, channels: int, expanded: int) -> SqueezeExcite:
        make = partial(SqueezeExcite, initializer=self.initializer, name="excitation")
        if self.squeeze_excite == "efficientnet":
            return make(max(1, channels // 4), "swish", "sigmoid")
        return make(round_channels(expanded / 4), "relu", "hard_sigmoid")
