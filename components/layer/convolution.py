"""Convolutions: dense, grouped, depthwise, separable, and with batch normalization."""

from __future__ import annotations

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationName, activate
from components.layer.initializer import Initializer, grouped
from components.layer.lowering.convolve import convolve
from components.layer.normalization import BatchNorm, Epsilon, Momentum
from components.layer.shape import Padding, Size, across, check_images, pair, reach
from components.types import Range, Scalar, UserError


class Conv(nn.Module):
    """Convolution, bias, activation: images (B, H, W, C) -> (B, h, w, features).

    With padding SAME, h is H / stride, rounded up; with VALID, h is (H - kernel) / stride + 1, rounded down.

    Attributes:
        features: channels of the output.
        kernel: height and width of the window, or one number for both.
        stride: pixels between two windows.
        padding: SAME, VALID, pixels on each side, or ((top, bottom), (left, right)).
        activation: name of the activation function; None: no activation.
        use_bias: whether each feature has a bias.
        initializer: distribution of the kernel.
        dilation: pixels between two places of the kernel (Yu and Koltun, 2016).
        groups: each group sees its share of the channels and computes its share of the features (Krizhevsky et al.,
            2012).
        initial_bias: value that biases start at.

    Raises:
        UserError: the input is not a batch of images, the kernel is larger than the image, or the groups do not divide
            channels and features.
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
        return _apply(self, x, self.features, self.groups, nn.initializers.constant(self.initial_bias))


class DepthwiseConv(nn.Module):
    """Convolution of each channel by itself: images (B, H, W, C) -> (B, h, w, C * multiplier).

    The `multiplier` features of a channel are neighbors. It computes what `Conv` computes with as many groups as
    channels. Attributes and errors are those of `Conv`.

    Attributes:
        multiplier: features for each channel.

    References:
        Sifre, 2014: Rigid-motion scattering for image classification.
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
        return _apply(self, x, channels * self.multiplier, channels, nn.initializers.zeros)


class SeparableConv(nn.Module):
    """Depthwise convolution, then convolution by 1 x 1 with bias and activation: (B, H, W, C) -> (B, h, w, features).

    Nothing stands between the two. Where a paper has normalization there, use `DepthwiseConv` and `Conv`. Attributes
    and errors are those of `DepthwiseConv`.

    References:
        Chollet, 2017: Xception: deep learning with depthwise separable convolutions.
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


class ConvNorm(nn.Module):
    """Convolution, batch normalization, activation: images (B, H, W, C) -> (B, h, w, features).

    Attributes are those of `Conv` and `BatchNorm`. With as many groups as channels the convolution is depthwise.

    References:
        Ioffe and Szegedy, 2015: Batch normalization.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = "relu"
    use_bias: bool = False
    initializer: Initializer = "he_normal"
    dilation: Size = 1
    groups: Annotated[int, Range(1)] = 1
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3
    use_scale: bool = True
    initial_scale: Scalar = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = Conv(
            self.features,
            self.kernel,
            self.stride,
            self.padding,
            use_bias=self.use_bias,
            initializer=self.initializer,
            dilation=self.dilation,
            groups=self.groups,
            name="conv",
        )
        norm = BatchNorm(self.momentum, self.epsilon, self.use_scale, self.initial_scale, name="norm")
        return activate(self.activation, norm(conv(x, train=train), train=train))


def _apply(layer: Conv | DepthwiseConv, x: jax.Array, features: int, groups: int, initial_bias: Any) -> jax.Array:
    """Applies the convolution of a layer with its parameters, then bias and activation."""
    shape = (*pair(layer.kernel), x.shape[-1] // groups, features)
    kernel = layer.param("kernel", grouped(layer.initializer, groups), shape, jnp.float32)
    y = convolve(x, kernel.astype(x.dtype), pair(layer.stride), layer.padding, pair(layer.dilation), groups)
    if layer.use_bias:
        y = y + across(layer.param("bias", initial_bias, (features,), jnp.float32), y)
    return activate(layer.activation, y)
