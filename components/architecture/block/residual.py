"""The block of residual networks: a branch of convolutions, added to its input."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer import (
    BatchNorm,
    Conv,
    ConvNorm,
    Dropout,
    Epsilon,
    Momentum,
    Rate,
    SqueezeExcite,
    StochasticDepth,
    activate,
)
from components.types import Scalar, UserError


class Convolution(NamedTuple):
    """A convolution of a branch, with a padding of half the kernel.

    Attributes:
        features: channels of the output.
        kernel: side of the window.
        stride: pixels between two windows.
        groups: groups of channels.
    """

    features: int
    kernel: int
    stride: int = 1
    groups: int = 1


class ResidualBlock(nn.Module):
    """A branch of convolutions, added to a shortcut: images (B, H, W, C) -> (B, h, w, features).

    Attributes:
        branch: the convolutions. Batch normalization and ReLU follow each; the last ReLU follows the sum.
        preactivate: whether normalization and ReLU stand before each convolution instead, so that nothing stands
            between the sum of one block and that of the next (He et al., 2016).
        shortcut: where the shape changes, `projection`: a convolution; `identity`: every stride-th pixel, and zeros for
            new channels. Where the shape stays, the shortcut is the input.
        projection_kernel: side of the window of a projection with a stride; without a stride it is 1.
        reduction: channels for each unit of squeeze and excitation after the branch; None: there is none.
        dropout: rate before the last convolution; None: no dropout.
        stochastic_depth: rate of examples that skip the branch in training; None: no example does.
        residual_scale: value that the scale of the last normalization starts at; None: 1.
        use_bias: whether convolutions have biases; with `preactivate`, only the last one and a projection.
        momentum, epsilon: of batch normalization.

    Raises:
        UserError: `shortcut` is `identity` and the number of channels falls.

    References:
        He et al., 2015: Deep residual learning for image recognition.
    """

    branch: tuple[Convolution, ...]
    preactivate: bool = False
    shortcut: Literal["projection", "identity"] = "projection"
    projection_kernel: int = 1
    reduction: int | None = None
    dropout: Rate | None = None
    stochastic_depth: Rate | None = None
    residual_scale: Scalar | None = None
    use_bias: bool = False
    momentum: Momentum = 0.9
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        active = (
            activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
            if self.preactivate
            else x
        )
        around = self._shortcut(x, active, train)
        y = self._branch(active, train)
        if self.reduction is not None:
            y = SqueezeExcite(reduction=self.reduction, name="excitation")(y, train=train)
        total = around + StochasticDepth(self.stochastic_depth)(y, train=train)
        return total if self.preactivate else activate("relu", total)

    def _branch(self, y: jax.Array, train: bool) -> jax.Array:
        for n, one in enumerate(self.branch[:-1]):
            y = self._conv_norm(one, f"conv_{n}")(y, train=train)
        y = Dropout(self.dropout)(y, train=train)
        name = f"conv_{len(self.branch) - 1}"
        scale = 1.0 if self.residual_scale is None else self.residual_scale
        return self._last(self.branch[-1], name, scale)(y, train=train)

    def _shortcut(self, x: jax.Array, active: jax.Array, train: bool) -> jax.Array:
        """Returns the input; where the shape changes, projected, or sampled and padded with zero channels."""
        features, stride = self.branch[-1].features, math.prod(one.stride for one in self.branch)
        missing = features - x.shape[-1]
        if missing and self.shortcut == "projection":
            kernel = 1 if stride == 1 else self.projection_kernel
            return self._last(Convolution(features, kernel, stride), "shortcut")(active, train=train)
        if missing < 0:
            raise UserError(f"no identity leads from {x.shape[-1]} channels to {features}: choose shortcut=projection")
        x = x[:, ::stride, ::stride]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing))) if missing else x

    def _conv_norm(self, one: Convolution, name: str, *, last: bool = False, scale: Scalar = 1.0) -> ConvNorm:
        return ConvNorm(
            one.features,
            one.kernel,
            one.stride,
            one.kernel // 2,
            activation=None if last else "relu",
            use_bias=self.use_bias and not self.preactivate,
            groups=one.groups,
            momentum=self.momentum,
            epsilon=self.epsilon,
            initial_scale=scale,
            name=name,
        )

    def _last(self, one: Convolution, name: str, scale: Scalar = 1.0) -> ConvNorm | Conv:
        """Returns the convolution before the sum."""
        if not self.preactivate:
            return self._conv_norm(one, name, last=True, scale=scale)
        return Conv(
            one.features,
            one.kernel,
            one.stride,
            one.kernel // 2,
            use_bias=self.use_bias,
            initializer="he_normal",
            groups=one.groups,
            name=name,
        )
