"""The block of networks for small devices: a depthwise convolution among more channels than come in and go out."""

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

Excitation: TypeAlias = Literal["mobilenet_v3", "efficientnet"]
"""How blocks squeeze and excite: to a quarter of the expanded channels with ReLU, gated by a piecewise linear sigmoid
(Howard et al., 2019); or to a quarter of those that come in with swish, gated by a sigmoid (Tan and Le, 2019)."""


@dataclass(frozen=True)
class MobileStage:
    """Blocks of as many channels, one after another: the first has the stride, `expansions` are one a block."""

    channels: Annotated[int, Range(1)]
    expansions: tuple[Annotated[float, Range(1)], ...]
    kernel: Annotated[int, Range(1)] = 3
    stride: Annotated[int, Range(1)] = 1
    excite: bool = False
    activation: ActivationName | None = None  # None: that of the network


def divisible(count: float) -> int:
    """So many channels as the nearest multiple of 8, half up; the next one where more than a tenth would be lost."""
    rounded = max(DIVISOR, int(count + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded if rounded >= 0.9 * count else rounded + DIVISOR


class InvertedResidual(nn.Module):
    """Expands by 1 x 1, convolves channel by channel, projects by 1 x 1: (B, H, W, C) -> (B, h, w, features).

    Each is a normalized convolution that `conv` makes, with its activation. In a `linear` block the projection has
    none, and is added to the input of the block where shapes are equal (Sandler et al., 2018); without expansion and
    not linear, it is the separable convolution of Howard et al., 2017. Squeeze and excitation stands before it.
    """

    features: int
    expansion: float
    conv: Callable[..., ConvNorm]
    kernel: int = 3
    stride: int = 1
    symmetric: bool = False
    excitation: Excitation | None = None
    initializer: Initializer = "glorot_uniform"
    linear: bool = True
    stochastic_depth: Rate | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        expanded, y = divisible(x.shape[-1] * self.expansion), x
        if self.expansion != 1:
            y = self.conv(expanded, 1, name="expand")(y, train=train)
        padding = self.kernel // 2 if self.symmetric else "SAME"
        depthwise = self.conv(expanded, self.kernel, self.stride, padding, groups=expanded, name="depthwise")
        y = depthwise(y, train=train)
        if self.excitation is not None:
            y = self._excitation(x.shape[-1], expanded)(y, train=train)
        last = {"activation": None} if self.linear else {}
        y = self.conv(self.features, 1, **last, name="project")(y, train=train)
        if not self.linear or y.shape != x.shape:
            return y
        return x + StochasticDepth(self.stochastic_depth)(y, train=train)

    def _excitation(self, channels: int, expanded: int) -> SqueezeExcite:
        excite = partial(SqueezeExcite, initializer=self.initializer, name="excitation")
        if self.excitation == "efficientnet":
            return excite(max(1, channels // 4), "swish", "sigmoid")
        return excite(divisible(expanded / 4), "relu", "hard_sigmoid")
