"""The block of networks for mobile devices: a depthwise convolution on more channels than the input and output have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax

from components.layer import ActivationName, ConvNorm, Initializer, Rate, SqueezeExcite, StochasticDepth
from components.types import Range

DIVISOR = 8

SqueezeExciteKind: TypeAlias = Literal["mobilenet_v3", "efficientnet"]
"""mobilenet_v3: units for a quarter of the expanded channels, ReLU and hard sigmoid (Howard et al., 2019).
efficientnet: units for a quarter of the input's channels, swish and sigmoid (Tan and Le, 2019)."""


@dataclass(frozen=True)
class MobileStage:
    """A stage of blocks with as many channels.

    Attributes:
        channels: channels of the output of each block, before the network's `width`.
        expansions: factor from the input's channels to the expanded ones, one for each block.
        kernel: side of the window of the depthwise convolutions.
        stride: stride of the first block; the others have stride 1.
        excite: whether the blocks have squeeze and excitation.
        activation: name of the activation function; None: that of the network.
    """

    channels: Annotated[int, Range(1)]
    expansions: tuple[Annotated[float, Range(1)], ...]
    kernel: Annotated[int, Range(1)] = 3
    stride: Annotated[int, Range(1)] = 1
    excite: bool = False
    activation: ActivationName | None = None


def round_channels(count: float) -> int:
    """Rounds to a multiple of 8, half up, at least 8; to the next multiple where more than a tenth would be lost."""
    rounded = max(DIVISOR, int(count + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded if rounded >= 0.9 * count else rounded + DIVISOR


class InvertedResidual(nn.Module):
    """Expansion by 1 x 1, depthwise convolution, projection by 1 x 1: images (B, H, W, C) -> (B, h, w, features).

    Each convolution is normalized. Squeeze and excitation stands before the projection.

    Attributes:
        features: channels of the output.
        expansion: factor from C to the expanded channels, rounded to a multiple of 8; 1: there is no expansion.
        conv: makes each convolution, with its activation.
        kernel, stride: of the depthwise convolution.
        symmetric: whether both sides have equal padding, as in PyTorch; otherwise the padding is SAME.
        squeeze_excite: kind of squeeze and excitation; None: there is none.
        initializer: distribution of the kernels of squeeze and excitation.
        linear: whether the projection has no activation and the input is added where shapes are equal (Sandler et al.,
            2018). Without expansion and not linear, the block is the separable convolution of Howard et al., 2017.
        stochastic_depth: rate of examples that skip the block in training; None: no example does.
    """

    features: int
    expansion: float
    conv: Callable[..., ConvNorm]
    kernel: int = 3
    stride: int = 1
    symmetric: bool = False
    squeeze_excite: SqueezeExciteKind | None = None
    initializer: Initializer = "glorot_uniform"
    linear: bool = True
    stochastic_depth: Rate | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        expanded, y = round_channels(x.shape[-1] * self.expansion), x
        if self.expansion != 1:
            y = self.conv(expanded, 1, name="expand")(y, train=train)
        padding = self.kernel // 2 if self.symmetric else "SAME"
        depthwise = self.conv(expanded, self.kernel, self.stride, padding, groups=expanded, name="depthwise")
        y = depthwise(y, train=train)
        if self.squeeze_excite is not None:
            y = self._squeeze_excite(x.shape[-1], expanded)(y, train=train)
        last = {"activation": None} if self.linear else {}
        y = self.conv(self.features, 1, **last, name="project")(y, train=train)
        if not self.linear or y.shape != x.shape:
            return y
        return x + StochasticDepth(self.stochastic_depth)(y, train=train)

    def _squeeze_excite(self, channels: int, expanded: int) -> SqueezeExcite:
        make = partial(SqueezeExcite, initializer=self.initializer, name="excitation")
        if self.squeeze_excite == "efficientnet":
            return make(max(1, channels // 4), "swish", "sigmoid")
        return make(round_channels(expanded / 4), "relu", "hard_sigmoid")
