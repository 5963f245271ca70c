"""Convolution."""

from __future__ import annotations

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.activation import ActivationName, activate
from components.layer.initializer import InitializerName, initializer
from components.layer.shape import Padding, Size, across, check_images, pair
from components.types import Range


class Conv(nn.Module):
    """A convolution, a bias that starts at zero, an activation: images (B, H, W, C) -> (B, h, w, features).

    With SAME padding h is H / stride, rounded up; with VALID it is (H - kernel) / stride + 1, rounded down.
    Raises UserError for anything but images, and for images smaller than a VALID kernel.
    """

    features: Annotated[int, Range(1)]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: InitializerName = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window = pair(self.kernel)
        check_images("a convolution", x, window, self.padding)
        shape = (*window, x.shape[-1], self.features)
        kernel = self.param("kernel", initializer(self.initializer), shape, jnp.float32)
        y = convolve(x, kernel.astype(x.dtype), pair(self.stride), self.padding)
        if self.use_bias:
            y = y + across(self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32), y)
        return activate(self.activation, y)


def convolve(x: jax.Array, kernel: jax.Array, stride: tuple[int, int], padding: Padding) -> jax.Array:
    """(B, H, W, C), (height, width, C, features) -> (B, h, w, features), padded as TensorFlow pads."""
    if kernel.shape[:2] == (
        1,
        1,
    ):  # XLA's convolution by 1 x 1 is up to 13 times slower on the CPU than the product
        return x[:, :: stride[0], :: stride[1]] @ kernel[0, 0]
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
