"""Checks of the inputs of architectures."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import MultiHot, Padded, UserError


def as_array(architecture: nn.Module, x: Any) -> jax.Array:
    """Returns an input in the dtype that the network computes in.

    Raises:
        UserError: the input is a column of variable length.
    """
    if isinstance(x, Padded):
        name = type(architecture).__name__
        raise UserError(f"{name} takes arrays of one shape, its input is a column of any length: {x.values.shape}")
    return jnp.asarray(x).astype(architecture.dtype)


def as_vectors(architecture: nn.Module, x: Any) -> jax.Array | MultiHot:
    """Returns an input as vectors: (B, ...) -> (B, D). Sparse vectors stay in float32, so that counts stay exact.

    Raises:
        UserError: the input is a column of variable length.
    """
    if isinstance(x, MultiHot):
        return x
    x = as_array(architecture, x)
    return x.reshape(len(x), -1)


def as_images(architecture: nn.Module, x: Any, smallest: int = 1) -> jax.Array:
    """Returns an input as images (B, H, W, C).

    Raises:
        UserError: the input has another rank, or a side is shorter than `smallest` pixels.
    """
    x, name = as_array(architecture, x), type(architecture).__name__
    if x.ndim != 4:
        raise UserError(
            f"{name} takes images (B, H, W, C), its input is {x.shape}: choose architecture=mlp for vectors"
        )
    height, width = x.shape[1:3]
    if min(height, width) < smallest:
        raise UserError(f"{name} takes images of at least {smallest} x {smallest}, these are {height} x {width}")
    return x


def check_auxiliary(x: jax.Array, smallest: int, subject: str) -> None:
    """Checks that images are large enough for auxiliary classifiers.

    Args:
        x: images (B, H, W, C).
        smallest: pixels a side that the classifiers need.
        subject: subject and verb of the message, such as `classifiers of GoogLeNet train`.

    Raises:
        UserError: a side is shorter than `smallest` pixels.
    """
    height, width = x.shape[1:3]
    if min(height, width) < smallest:
        raise UserError(
            f"the auxiliary {subject} on images of at least {smallest} x {smallest}, "
            f"these are {height} x {width}: set auxiliary to null"
        )
