"""Convolutions side by side, as the Inception networks have them: their tables, and what computes these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import ConvNet
from components.layer import AveragePool, ConvNorm, MaxPool
from components.layer.shape import Padding, Size


class Step(NamedTuple):
    """A convolution with what follows it."""

    features: int
    kernel: Size
    stride: int = 1
    padding: Padding = "SAME"


Layer: TypeAlias = "Step | Literal['max', 'mean'] | Branches"
"""A convolution; the largest of 3 x 3 places with a stride of 2, unpadded, or the mean of 3 x 3, without the padding;
or branches that part and meet again."""

Layers: TypeAlias = tuple[Layer, ...]
"""One after another."""

Branches: TypeAlias = tuple[Layers, ...]
"""Side by side: each sees the same maps, their channels are put next to one another."""

Make: TypeAlias = Callable[[Step, str], nn.Module]
"""(step, name) -> the layer."""


class Series(nn.Module):
    """Layers one after another: (B, H, W, C) -> (B, h, w, features).

    Convolutions are called `conv_0`, `conv_1`, …, branches among them `fork_0`, ….
    """

    layers: Layers
    conv: Make

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
    """Branches side by side, called `branch_0`, `branch_1`, …: (B, H, W, C) -> (B, h, w, features of all)."""

    branches: Branches
    conv: Make

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return side_by_side(self.branches, self.conv, x, train=train)


def side_by_side(branches: Branches, conv: Make, x: jax.Array, *, train: bool) -> jax.Array:
    """The same inside the compact method of another module."""
    maps = [Series(layers, conv, name=f"branch_{n}")(x, train=train) for n, layers in enumerate(branches)]
    return jnp.concatenate(maps, axis=-1)


def normalized(network: ConvNet, **settings: Any) -> Make:
    """Makes convolutions with normalization and ReLU, as wide as the network asks, with these fields of `ConvNorm`."""

    def conv(step: Step, name: str) -> ConvNorm:
        return ConvNorm(network.channels(step.features), *step[1:], name=name, **settings)

    return conv


def _pool(kind: Literal["max", "mean"]) -> MaxPool | AveragePool:
    return MaxPool(3, 2) if kind == "max" else AveragePool(3, 1, "SAME")
