"""Convolution by XLA, or by faster code on the CPU; fixed rules on shapes choose."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from components.layer.lowering.depthwise import depthwise
from components.layer.lowering.product import multiply
from components.layer.shape import Padding, Pads, Pair, compute_pads, dilate

BLOCK_CHANNELS = 32  # channels that a matrix product on the CPU needs for full speed
MAX_BLOCKS = 16  # dense convolutions that may replace a grouped convolution; each takes time to compile


def convolve(
    x: jax.Array, kernel: jax.Array, stride: Pair, padding: Padding, dilation: Pair = (1, 1), groups: int = 1
) -> jax.Array:
    """Convolves images with a kernel.

    Args:
        x: images (B, H, W, C).
        kernel: (height, width, C / groups, features).
        stride: distance between two windows in pixels.
        padding: as in `Conv`.
        dilation: distance between two elements of the kernel in pixels.
        groups: number of groups. Each group computes its share of the features from its share of the channels.

    Returns:
        (B, h, w, features).
    """
    window, image = (kernel.shape[0], kernel.shape[1]), (x.shape[1], x.shape[2])
    pads = compute_pads(image, dilate(window, dilation), stride, padding)
    on_cpu = jax.default_backend() == "cpu"
    # XLA's compiler for GPUs aborts when it fuses a slice with strides into a matrix product (openxla/xla#47381).
    if groups == 1 and window == (1, 1) and (on_cpu or stride == (1, 1)):
        return _convolve_1x1(x, kernel, stride, pads)
    if groups > 1 and on_cpu:
        if kernel.shape[2] == 1:
            x = _repeat_channels(x, kernel.shape[3] // groups)
            return depthwise(x, kernel[:, :, 0], stride, pads, dilation)
        return _convolve_in_blocks(x, kernel, stride, pads, dilation, groups)
    return lax.conv_general_dilated(
        x,
        kernel,
        stride,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _convolve_1x1(x: jax.Array, kernel: jax.Array, stride: Pair, pads: Pads) -> jax.Array:
    """Computes a 1 x 1 convolution as a matrix product: up to 13 times as fast as XLA's convolution on the CPU."""
    if pads != ((0, 0), (0, 0)):
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    return multiply(x[:, :: stride[0], :: stride[1]], kernel[0, 0])


def _repeat_channels(x: jax.Array, times: int) -> jax.Array:
    """Repeats each channel `times` times. The copies of a channel are neighbors."""
    if times == 1:
        return x
    return jnp.broadcast_to(x[..., None], (*x.shape, times)).reshape(*x.shape[:-1], -1)


def _convolve_in_blocks(
    x: jax.Array, kernel: jax.Array, stride: Pair, pads: Pads, dilation: Pair, groups: int
) -> jax.Array:
    """Computes a grouped convolution as a few dense convolutions, each for a block of several groups.

    The dense kernels are zero between features and channels of different groups. On the CPU, XLA computes grouped
    convolutions without matrix products: the gradient of the kernel takes hundreds of times as long.
    """
    blocks = _count_blocks(groups, kernel.shape[2])
    height, width, channels, _ = kernel.shape
    block_groups = groups // blocks
    grouped = kernel.reshape(height, width, channels, blocks, block_groups, -1)
    # h, w: pixel of the kernel; c: channel of a group; b: block; g, k: group of a block; f: feature of a group.
    # The identity matrix (g, k) puts the kernel of group g on the diagonal of its block.
    dense = jnp.einsum("hwcbgf,gk->bhwkcgf", grouped, jnp.eye(block_groups, dtype=kernel.dtype))
    kernels = dense.reshape(blocks, height, width, block_groups * channels, -1)
    images = jnp.split(x, blocks, axis=-1)
    outputs = [convolve(image, kernels[n], stride, pads, dilation) for n, image in enumerate(images)]
    return jnp.concatenate(outputs, axis=-1)


def _count_blocks(groups: int, channels: int) -> int:
    """Returns the largest number of blocks that divides the groups and gives each block `BLOCK_CHANNELS` channels."""
    limit = min(MAX_BLOCKS, max(1, groups * channels // BLOCK_CHANNELS))
    return next(count for count in range(limit, 0, -1) if groups % count == 0)
