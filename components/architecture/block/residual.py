"""The block of residual networks: a branch of convolutions that is added to a shortcut."""

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


class ConvolutionSpec(NamedTuple):
    """Specification of a convolution of a branch. Its padding is half the kernel.

    Attributes:
        features: number of channels of the output.
        kernel: side of the window in pixels.
        stride: distance between two windows in pixels.
        groups: number of groups of channels.
    """

    features: int
    kernel: int
    stride: int = 1
    groups: int = 1


class ResidualBlock(nn.Module):
    """A branch of convolutions, added to a shortcut: images (B, H, W, C) -> (B, h, w, features).

    Attributes:
        branch: the convolutions. Each is followed by batch normalization and ReLU. The last ReLU comes after the sum.
        preactivate: whether batch normalization and ReLU come before each convolution instead of after it, so that the
            sum of one block is directly the shortcut of the next block (He et al., 2016).
        shortcut: the shortcut if the number of channels changes. `projection`: a convolution. `identity`: the input at
            every stride-th pixel, with zeros as new channels. Otherwise the shortcut is the input.
        projection_kernel: side of the window of a projection with a stride; a projection without a stride is 1 x 1.
        reduction: reduction ratio of squeeze and excitation after the branch. None: no squeeze and excitation.
        dropout: rate before the last convolution. None: no dropout.
        stochastic_depth: share of the examples that skip the branch in training. None: no stochastic depth.
        residual_scale: initial value of the scales of the last normalization. None: 1.
        use_bias: whether convolutions have biases. With `preactivate`, only the last convolution and a projection do.
        momentum, epsilon: parameters of batch normalization.

    Raises:
        UserError: `shortcut` is `identity`, and the number of channels decreases.

    References:
        He et al., 2015: Deep residual learning for image recognition.
    """

    branch: tuple[ConvolutionSpec, ...]
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
        inputs = x
        if self.preactivate:
            inputs = activate("relu", BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train))
        shortcut = self._apply_shortcut(x, inputs, train)
        y = self._apply_branch(inputs, train)
        if self.reduction is not None:
            y = SqueezeExcite(reduction=self.reduction, name="excitation")(y, train=train)
        total = shortcut + StochasticDepth(self.stochastic_depth)(y, train=train)
        return total if self.preactivate else activate("relu", total)

    def _apply_branch(self, y: jax.Array, train: bool) -> jax.Array:
        for n, conv in enumerate(self.branch[:-1]):
            y = self._make_conv_norm(conv, f"conv_{n}")(y, train=train)
        y = Dropout(self.dropout)(y, train=train)
        name = f"conv_{len(self.branch) - 1}"
        scale = 1.0 if self.residual_scale is None else self.residual_scale
        return self._make_last_conv(self.branch[-1], name, scale)(y, train=train)

    def _apply_shortcut(self, x: jax.Array, inputs: jax.Array, train: bool) -> jax.Array:
        """Returns x in the shape of the branch's output. A projection takes `inputs`, x after preactivation."""
        features, stride = self.branch[-1].features, math.prod(conv.stride for conv in self.branch)
        new_channels = features - x.shape[-1]
        if new_channels and self.shortcut == "projection":
            kernel = 1 if stride == 1 else self.projection_kernel
            return self._make_last_conv(ConvolutionSpec(features, kernel, stride), "shortcut")(inputs, train=train)
        if new_channels < 0:
            raise UserError(
                f"a block with shortcut=identity can't reduce channels, got {x.shape[-1]} channels before the block "
                f"and {features} after it. Set shortcut to projection."
            )
        x = x[:, ::stride, ::stride]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, new_channels))) if new_channels else x

    def _make_conv_norm(self, conv: ConvolutionSpec, name: str, *, last: bool = False, scale: Scalar = 1.0) -> ConvNorm:
        return ConvNorm(
            conv.features,
            conv.kernel,
            conv.stride,
            conv.kernel // 2,
            activation=None if last else "relu",
            use_bias=self.use_bias and not self.preactivate,
            groups=conv.groups,
            momentum=self.momentum,
            epsilon=self.epsilon,
            initial_scale=scale,
            name=name,
        )

    def _make_last_conv(self, conv: ConvolutionSpec, name: str, scale: Scalar = 1.0) -> ConvNorm | Conv:
        """Returns the convolution directly before the sum."""
        if not self.preactivate:
            return self._make_conv_norm(conv, name, last=True, scale=scale)
        return Conv(
            conv.features,
            conv.kernel,
            conv.stride,
            conv.kernel // 2,
            use_bias=self.use_bias,
            initializer="he_normal",
            groups=conv.groups,
            name=name,
        )
