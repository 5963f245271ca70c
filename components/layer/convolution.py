"""Convolution layers: dense, grouped, depthwise, separable, and with batch normalization."""

from __future__ import annotations

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationFunction, activate
from components.layer.initializer import Initializer, get_grouped_initializer
from components.layer.lowering.convolve import convolve
from components.layer.normalization import BatchNorm, Epsilon, Momentum
from components.layer.shape import Padding, Size, as_pair, broadcast_like, check_images, dilate
from components.types import Range, Scalar, UserError


class Conv(nn.Module):
    """Convolution with bias and activation: images (B, H, W, C) -> (B, h, w, features).

    h is H / stride rounded up for the padding SAME, and (H - kernel) / stride + 1 rounded down for VALID.

    Attributes:
        features: number of channels of the output.
        kernel: (height, width) of the window in pixels, or one number for both.
        stride: distance between two windows in pixels.
        padding: SAME, VALID, the pixels on each side, or ((top, bottom), (left, right)).
        activation: activation function, by name or as a function; None: no activation.
        use_bias: whether each feature has a bias.
        initializer: distribution of the kernel.
        dilation: distance between two elements of the kernel in pixels (Yu and Koltun, 2016).
        groups: number of groups. Each group computes its share of the features from its share of the channels
            (Krizhevsky et al., 2012).
        initial_bias: initial value of the biases.

    Raises:
        UserError: the input is not a batch of images, the kernel is larger than the padded image, or `groups` does not
            divide channels and features.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationFunction | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    dilation: Size = 1
    groups: Annotated[int, Range(1)] = 1
    initial_bias: Scalar = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window = dilate(as_pair(self.kernel), as_pair(self.dilation))
        check_images("a convolution", x, window, self.padding)
        if x.shape[-1] % self.groups or self.features % self.groups:
            raise UserError(
                f"a convolution needs groups that divide channels and features, got {self.groups} groups for "
                f"{x.shape[-1]} channels and {self.features} features"
            )
        return _apply_layer(self, x, self.features, self.groups, nn.initializers.constant(self.initial_bias))


class DepthwiseConv(nn.Module):
    """Depthwise convolution, of each channel with its own kernels: images (B, H, W, C) -> (B, h, w, C * multiplier).

    The output has the `multiplier` features of the first channel, then those of the second, and so on. A `Conv` with
    one group per channel computes the same. All other attributes and the errors are those of `Conv`.

    Attributes:
        multiplier: number of features of each channel.

    References:
        Sifre, 2014: Rigid-motion scattering for image classification.
    """

    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationFunction | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"
    dilation: Size = 1
    multiplier: Annotated[int, Range(1)] = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window = dilate(as_pair(self.kernel), as_pair(self.dilation))
        check_images("a depthwise convolution", x, window, self.padding)
        channels = x.shape[-1]
        return _apply_layer(self, x, channels * self.multiplier, channels, nn.initializers.zeros)


class SeparableConv(nn.Module):
    """Depthwise convolution, then a 1 x 1 convolution with bias and activation: (B, H, W, C) -> (B, h, w, features).

    There is no normalization and no activation between the two convolutions. To add them, write `DepthwiseConv` and
    `Conv` as separate layers. Attributes and errors are those of `Conv` and `DepthwiseConv`.

    References:
        Chollet, 2017: Xception: deep learning with depthwise separable convolutions.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationFunction | None = None
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
    """Convolution with batch normalization and activation: images (B, H, W, C) -> (B, h, w, features).

    Attributes and errors are those of `Conv` and `BatchNorm`. With one group per channel, the convolution is depthwise.

    References:
        Ioffe and Szegedy, 2015: Batch normalization.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationFunction | None = "relu"
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


def _apply_layer(layer: Conv | DepthwiseConv, x: jax.Array, features: int, groups: int, initial_bias: Any) -> jax.Array:
    """Creates the parameters of a layer, and applies convolution, bias and activation."""
    shape = (*as_pair(layer.kernel), x.shape[-1] // groups, features)
    kernel = layer.param("kernel", get_grouped_initializer(layer.initializer, groups), shape, jnp.float32)
    y = convolve(x, kernel.astype(x.dtype), as_pair(layer.stride), layer.padding, as_pair(layer.dilation), groups)
    if layer.use_bias:
        y = y + broadcast_like(layer.param("bias", initial_bias, (features,), jnp.float32), y)
    return activate(layer.activation, y)
