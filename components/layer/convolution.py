"""Convolutions."""

from __future__ import annotations

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationName, activate
from components.layer.initializer import Initializer, grouped
from components.layer.lowering.convolve import convolve
from components.layer.shape import Padding, Size, across, check_images, pair, reach
from components.types import Range, Scalar, UserError


class Conv(nn.Module):
    """A convolution, a bias, an activation: images (B, H, W, C) -> (B, h, w, features).

    With SAME padding h is H / stride, rounded up; with VALID it is (H - kernel) / stride + 1, rounded down. The places
    of a kernel are `dilation` pixels apart (Yu and Koltun, 2016). Of several groups, each sees its share of the
    channels and gives its share of the features (Krizhevsky et al., 2012). Raises UserError for anything but images,
    for images smaller than the kernel, and where groups don't divide channels and features.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    dilation: Size = 1
    groups: Annotated[int, Range(1)] = 1
    initial_bias: Scalar = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, dilation = pair(self.kernel), pair(self.dilation)
        check_images("a convolution", x, reach(window, dilation), self.padding)
        if x.shape[-1] % self.groups or self.features % self.groups:
            raise UserError(
                f"{self.groups} groups don't divide {x.shape[-1]} channels and {self.features} features evenly"
            )
        return _convolved(self, x, self.features, self.groups, nn.initializers.constant(self.initial_bias))


class DepthwiseConv(nn.Module):
    """A convolution of each channel by itself: images (B, H, W, C) -> (B, h, w, C * multiplier).

    Each channel gives `multiplier` features, next to one another. Everything else is as in `Conv`, of which it is
    the case of as many groups as channels (Sifre, 2014).
    """

    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    dilation: Size = 1
    multiplier: Annotated[int, Range(1)] = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, dilation = pair(self.kernel), pair(self.dilation)
        check_images("a depthwise convolution", x, reach(window, dilation), self.padding)
        channels = x.shape[-1]
        return _convolved(self, x, channels * self.multiplier, channels, nn.initializers.zeros)


class SeparableConv(nn.Module):
    """A depthwise convolution, then one by 1 x 1 with bias and activation: (B, H, W, C) -> (B, h, w, features).

    Nothing stands between the two (Chollet, 2017); where a paper has normalization there, `DepthwiseConv` and `Conv`
    are chosen one by one.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    dilation: Size = 1
    multiplier: Annotated[int, Range(1)] = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        depthwise = DepthwiseConv(
            self.kernel,
            self.stride,
            self.padding,
            use_bias=False,
            initializer=self.initializer,
            dilation=self.dilation,
            multiplier=self.multiplier,
            name="depthwise",
        )
        pointwise = Conv(
            self.features,
            1,
            activation=self.activation,
            use_bias=self.use_bias,
            initializer=self.initializer,
            name="pointwise",
        )
        return pointwise(depthwise(x, train=train), train=train)


def _convolved(layer: Conv | DepthwiseConv, x: jax.Array, features: int, groups: int, bias: Any) -> jax.Array:
    """The convolution of a layer with its parameters, its bias that starts as `bias` draws it, and its activation."""
    shape = (*pair(layer.kernel), x.shape[-1] // groups, features)
    kernel = layer.param("kernel", grouped(layer.initializer, groups), shape, jnp.float32)
    y = convolve(x, kernel.astype(x.dtype), pair(layer.stride), layer.padding, pair(layer.dilation), groups)
    if layer.use_bias:
        y = y + across(layer.param("bias", bias, (features,), jnp.float32), y)
    return activate(layer.activation, y)
