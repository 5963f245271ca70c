"""How convolutions are computed: XLA's own, and on the CPU what is faster, by fixed rules on shapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from components.layer.lowering.depthwise import depthwise
from components.layer.shape import Padding, Pads, Pair, pads, reach

BLOCK = 32  # channels that a product on the CPU needs to run at full speed
BLOCKS = 16  # convolutions that a grouped one becomes at most: each more is to be compiled


def convolve(
    x: jax.Array, kernel: jax.Array, stride: Pair, padding: Padding, dilation: Pair = (1, 1), groups: int = 1
) -> jax.Array:
    """(B, H, W, C), (height, width, C / groups, features) -> (B, h, w, features)."""
    window, image = (kernel.shape[0], kernel.shape[1]), (x.shape[1], x.shape[2])
    around = pads(image, reach(window, dilation), stride, padding)
    if groups == 1 and window == (1, 1):
        return _product(x, kernel, stride, around)
    if groups > 1 and jax.default_backend() == "cpu":
        if kernel.shape[2] == 1:
            return depthwise(_repeated(x, kernel.shape[3] // groups), kernel[:, :, 0], stride, around, dilation)
        return _in_blocks(x, kernel, stride, around, dilation, groups)
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, stride, around, rhs_dilation=dilation, dimension_numbers=numbers, feature_group_count=groups
    )


def _product(x: jax.Array, kernel: jax.Array, stride: Pair, around: Pads) -> jax.Array:
    """A convolution by 1 x 1: on the CPU XLA's own is up to 13 times slower than the product."""
    if around != ((0, 0), (0, 0)):
        x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    return x[:, :: stride[0], :: stride[1]] @ kernel[0, 0]


def _repeated(x: jax.Array, times: int) -> jax.Array:
    """Each channel `times` times, next to one another."""
    if times == 1:
        return x
    return jnp.broadcast_to(x[..., None], (*x.shape, times)).reshape(*x.shape[:-1], -1)


def _in_blocks(x: jax.Array, kernel: jax.Array, stride: Pair, around: Pads, dilation: Pair, groups: int) -> jax.Array:
    """A few dense convolutions, each of several groups: zeros stand where a feature doesn't see a channel.

    XLA computes groups on the CPU without its matrix products, hundreds of times slower for the kernel's gradient.
    """
    blocks = _blocks(groups, kernel.shape[2])
    height, width, channels, _ = kernel.shape
    within = groups // blocks
    split = kernel.reshape(height, width, channels, blocks, within, -1)
    dense = jnp.einsum("hwcbgf,gk->bhwkcgf", split, jnp.eye(within, dtype=kernel.dtype))
    kernels = dense.reshape(blocks, height, width, within * channels, -1)
    images = jnp.split(x, blocks, axis=-1)
    outputs = [convolve(image, kernels[n], stride, around, dilation) for n, image in enumerate(images)]
    return jnp.concatenate(outputs, axis=-1)


def _blocks(groups: int, channels: int) -> int:
    """How many: as many as divide the groups evenly and leave each block its `BLOCK` channels."""
    most = min(BLOCKS, max(1, groups * channels // BLOCK))
    return next(count for count in range(most, 0, -1) if groups % count == 0)
