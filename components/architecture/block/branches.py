"""Parallel branches of convolutions, written as tables, and the modules that compute them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.layer import AveragePool, ConvNorm, MaxPool, SqueezeExcite
from components.layer.shape import Padding, Size


class Step(NamedTuple):
    """A convolution with its normalization and activation.

    Attributes:
        features: channels of the output, before the network's `width`.
        kernel: height and width of the window, or one number for both.
        stride: pixels between two windows.
        padding: SAME or VALID.
    """

    features: int
    kernel: Size
    stride: int = 1
    padding: Padding = "SAME"


Pool: TypeAlias = Literal["max", "mean", "mean_padded"]
"""max: maximum of 3 x 3 with stride 2, without padding. mean: mean of 3 x 3 with stride 1, without the padding.
mean_padded: the same, where the padding counts as zeros."""

Layer: TypeAlias = "Step | Pool | Branches"
"""A convolution, pooling, or branches inside a branch."""

Layers: TypeAlias = tuple[Layer, ...]
"""Layers one after another."""

Branches: TypeAlias = tuple[Layers, ...]
"""Branches on the same input, with their channels concatenated."""

MakeConv: TypeAlias = Callable[[Step, str], nn.Module]
"""(step, name) -> the layer."""


class Series(nn.Module):
    """Layers one after another: images (B, H, W, C) -> (B, h, w, features).

    Convolutions have the names `conv_0`, `conv_1`, …, branches inside the series `fork_0`, `fork_1`, ….

    Attributes:
        layers: the layers, in order.
        conv: makes each convolution.
    """

    layers: Layers
    conv: MakeConv

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        convolutions = forks = 0
        for layer in self.layers:
            if isinstance(layer, Step):
                x = self.conv(layer, f"conv_{convolutions}")(x, train=train)
                convolutions += 1
            elif isinstance(layer, str):
                x = _pool(layer)(x, train=train)
            else:
                x = Parallel(layer, self.conv, name=f"fork_{forks}")(x, train=train)
                forks += 1
        return x


class Parallel(nn.Module):
    """Branches on the same input, concatenated: images (B, H, W, C) -> (B, h, w, features of all branches).

    Attributes:
        branches: the branches, with the names `branch_0`, `branch_1`, ….
        conv: makes each convolution.
        reduction: channels for each unit of squeeze and excitation on the output; None: no squeeze and excitation.
    """

    branches: Branches
    conv: MakeConv
    reduction: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = apply_branches(self.branches, self.conv, x, train=train)
        return (
            y if self.reduction is None else SqueezeExcite(reduction=self.reduction, name="excitation")(y, train=train)
        )


def apply_branches(branches: Branches, conv: MakeConv, x: jax.Array, *, train: bool) -> jax.Array:
    """Computes what `Parallel` computes, in the compact method of another module."""
    maps = [Series(layers, conv, name=f"branch_{n}")(x, train=train) for n, layers in enumerate(branches)]
    return jnp.concatenate(maps, axis=-1)


def make_conv_norm(network: ConvNet, **fields: Any) -> MakeConv:
    """Returns a function that makes convolutions with batch normalization and ReLU, as wide as the network."""

    def conv(step: Step, name: str) -> ConvNorm:
        return ConvNorm(network.channels(step.features), *step[1:], name=name, **fields)

    return conv


def _pool(kind: Pool) -> MaxPool | AveragePool:
    if kind == "max":
        return MaxPool(3, 2)
    return AveragePool(3, 1, "SAME", count_include_pad=kind == "mean_padded")
