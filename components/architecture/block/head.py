"""The layer that computes the logits, and the base class of convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.inputs import as_vectors
from components.layer import Dense, Initializer, Normal
from components.types import MultiHot, Output, Range


def compute_logits(
    outputs: int, x: jax.Array | MultiHot, *, train: bool, initializer: Initializer = "glorot_uniform"
) -> jax.Array:
    """Computes logits by a dense layer named `head`: (B, D) -> (B, outputs) in float32.

    Without outputs, as without a target, there is no such layer. Call it in the compact method of a module, which then
    owns the parameters.
    """
    if outputs == 0:
        return jnp.zeros(((x.ids if isinstance(x, MultiHot) else x).shape[0], 0), jnp.float32)
    return Dense(outputs, initializer=initializer, name="head")(x, train=train).astype(jnp.float32)


def compute_wide_logits(network: nn.Module, outputs: int, wide: jax.Array | MultiHot, *, train: bool) -> jax.Array:
    """Computes the logits of the linear model of Wide & Deep, a layer named `wide`: (B, ...) -> (B, outputs), float32.

    It has no bias, and its kernel is initially zero. Call it in the compact method of the network.
    """
    linear = Dense(outputs, use_bias=False, initializer=Normal(0.0), name="wide")
    return linear(as_vectors(network, wide), train=train).astype(jnp.float32)


class ConvNet(nn.Module):
    """Base class of convolutional networks: images (B, H, W, C) -> (B, outputs).

    Attributes:
        outputs: number of logits.
        width: factor for the channels or units of every layer, above 0.
        head: whether the network computes logits. If not, it returns only `features`, the output of each stage.
        dtype: dtype of the computation.
    """

    outputs: int
    width: Annotated[float, Range(0, math.inf, "()")] = 1.0
    head: bool = True
    dtype: Any = jnp.float32

    def scale_width(self, count: float) -> int:
        """Returns a number of channels or units times `width`, rounded half up, at least 1."""
        return max(1, math.floor(count * self.width + 0.5))

    def make_output(
        self,
        x: jax.Array,
        features: Mapping[str, jax.Array],
        *,
        train: bool,
        auxiliary: tuple[tuple[Any, jax.Array], ...] = (),
        initializer: Initializer = "glorot_uniform",
    ) -> Output:
        """Computes the logits, and returns them with all other outputs. Call it in the compact method of the network.

        Args:
            x: input of the head, (B, D).
            features: output of each stage by name, in order.
            train: whether this is a training step.
            auxiliary: (weight of the loss, logits) of each auxiliary classifier.
            initializer: distribution of the kernel of the head.
        """
        if not self.head:
            return Output(None, features=features)
        logits = compute_logits(self.outputs, x, train=train, initializer=initializer)
        return Output(logits, auxiliary=auxiliary, features=features)
