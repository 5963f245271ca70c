"""Parallel branches of convolutions: tables that specify them, and modules that compute them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.layer import AveragePool, ConvNorm, MaxPool, SqueezeExcite
from components.layer.shape import Padding, Size


class ConvSpec(NamedTuple):
    """Specification of a convolution.

    Attributes:
        features: number of channels of the output, before the network's `width`.
        kernel: (height, width) of the window, or one number for both.
        stride: distance between two windows in pixels.
        padding: SAME or VALID.
    """

    features: int
    kernel: Size
    stride: int = 1
    padding: Padding = "SAME"


PoolKind: TypeAlias = Literal["max", "mean", "mean_padded"]
"""max: max-pooling of 3 x 3 with stride 2, without padding. mean: average pooling of 3 x 3 with stride 1 and padding,
which the means exclude. mean_padded: the same, but the means include the padding as zeros."""

LayerSpec: TypeAlias = "ConvSpec | PoolKind | ParallelSpec"
"""A convolution, a pooling, or branches inside a branch."""

SeriesSpec: TypeAlias = tuple[LayerSpec, ...]
"""Layers one after another."""

ParallelSpec: TypeAlias = tuple[SeriesSpec, ...]
"""Branches on the same input, with concatenated channels."""

MakeConv: TypeAlias = Callable[[ConvSpec, str], nn.Module]
"""(specification, name) -> the convolution with its normalization and activation."""


class Series(nn.Module):
    """Layers one after another: images (B, H, W, C) -> (B, h, w, features).

    The convolutions are named `conv_0`, `conv_1`, …, the `Parallel` modules are named `fork_0`, `fork_1`, ….

    Attributes:
        layers: specifications of the layers, in order.
        make_conv: makes each convolution.
    """

    layers: SeriesSpec
    make_conv: MakeConv

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        convolutions = forks = 0
        for layer in self.layers:
            if isinstance(layer, ConvSpec):
                x = self.make_conv(layer, f"conv_{convolutions}")(x, train=train)
                convolutions += 1
            elif isinstance(layer, str):
                x = _make_pool(layer)(x, train=train)
            else:
                x = Parallel(layer, self.make_conv, name=f"fork_{forks}")(x, train=train)
                forks += 1
        return x


class Parallel(nn.Module):
    """Branches on the same input, concatenated: images (B, H, W, C) -> (B, h, w, features of all branches).

    Attributes:
        branches: specifications of the branches, which are named `branch_0`, `branch_1`, ….
        make_conv: makes each convolution.
        reduction: reduction ratio of squeeze and excitation on the output. None: no squeeze and excitation.
    """

    branches: ParallelSpec
    make_conv: MakeConv
    reduction: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = apply_branches(self.branches, self.make_conv, x, train=train)
        if self.reduction is None:
            return y
        return SqueezeExcite(reduction=self.reduction, name="excitation")(y, train=train)


def apply_branches(branches: ParallelSpec, make_conv: MakeConv, x: jax.Array, *, train: bool) -> jax.Array:
    """Applies branches and concatenates their outputs. Call it in the compact method of a module."""
    outputs = [Series(layers, make_conv, name=f"branch_{n}")(x, train=train) for n, layers in enumerate(branches)]
    return jnp.concatenate(outputs, axis=-1)


def create_conv_factory(network: ConvNet, **fields: Any) -> MakeConv:
    """Returns a function that makes convolutions with batch normalization and ReLU, scaled by the network's `width`."""

    def make_conv(spec: ConvSpec, name: str) -> ConvNorm:
        features = network.scale_width(spec.features)
        return ConvNorm(features, spec.kernel, spec.stride, spec.padding, name=name, **fields)

    return make_conv


def _make_pool(kind: PoolKind) -> MaxPool | AveragePool:
    if kind == "max":
        return MaxPool(3, 2)
    return AveragePool(3, 1, "SAME", count_include_pad=kind == "mean_padded")
