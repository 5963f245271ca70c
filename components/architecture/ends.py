"""What architectures share: what comes in, checked, and the logits that go out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer import Dense, Spread
from components.types import MultiHot, Output, Padded, Range, UserError


def as_array(architecture: nn.Module, x: Any) -> jax.Array:
    """An input in the dtype that the network computes in; raises UserError for columns of any length."""
    if isinstance(x, Padded):
        name = type(architecture).__name__
        raise UserError(f"{name} takes arrays of one shape, its input is a column of any length: {x.values.shape}")
    return jnp.asarray(x).astype(architecture.dtype)


def as_vectors(architecture: nn.Module, x: Any) -> jax.Array | MultiHot:
    """The same flattened, (B, ...) -> (B, D); sparse vectors stay as they are, lest counts be rounded."""
    if isinstance(x, MultiHot):
        return x
    x = as_array(architecture, x)
    return x.reshape(len(x), -1)


def as_images(architecture: nn.Module, x: Any, smallest: int = 1) -> jax.Array:
    """Images (B, H, W, C) as an array; raises UserError for other ranks, and below `smallest` pixels a side."""
    x, name = as_array(architecture, x), type(architecture).__name__
    if x.ndim != 4:
        raise UserError(
            f"{name} takes images (B, H, W, C), its input is {x.shape}: choose architecture=mlp for vectors"
        )
    height, width = x.shape[1:3]
    if min(height, width) < smallest:
        raise UserError(f"{name} takes images of at least {smallest} x {smallest}, these are {height} x {width}")
    return x


def check_auxiliary(x: jax.Array, smallest: int, who: str) -> None:
    """Raises UserError where images are too small for auxiliary classifiers; `who` names them, with its verb."""
    height, width = x.shape[1:3]
    if min(height, width) < smallest:
        raise UserError(
            f"the auxiliary {who} on images of at least {smallest} x {smallest}, "
            f"these are {height} x {width}: set auxiliary to null"
        )


def logits(outputs: int, x: jax.Array | MultiHot, *, train: bool, initializer: Spread = "glorot_uniform") -> jax.Array:
    """The last layer, named `head`, inside a compact module: (B, D) -> (B, outputs) in float32."""
    return Dense(outputs, initializer=initializer, name="head")(x, train=train).astype(jnp.float32)


class ConvNet(nn.Module):
    """What the convolutional networks share: images (B, H, W, C) -> (B, outputs).

    `width` multiplies the channels of every layer. Without `head` there are no logits: `features` say what each
    stage gives, in their order.
    """

    outputs: int
    width: Annotated[float, Range(0, math.inf, "()")] = 1.0
    head: bool = True
    dtype: Any = jnp.float32

    def channels(self, count: float) -> int:
        """So many, times the width: rounded half up, at least 1."""
        return max(1, math.floor(count * self.width + 0.5))

    def answer(
        self,
        x: jax.Array,
        features: Mapping[str, jax.Array],
        *,
        train: bool,
        auxiliary: tuple[tuple[Any, jax.Array], ...] = (),
        initializer: Spread = "glorot_uniform",
    ) -> Output:
        """What the network answers, from vectors (B, D); called inside its compact method."""
        if not self.head:
            return Output(None, features=features)
        return Output(logits(self.outputs, x, train=train, initializer=initializer), {}, auxiliary, features)
