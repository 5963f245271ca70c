"""Conversion and checks of the inputs of architectures."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import MultiHot, Padded, UserError, padded_shape


def as_array(architecture: nn.Module, x: Any) -> jax.Array:
    """Returns an input in the dtype of the architecture.

    Raises:
        UserError: the input is a column of variable length.
    """
    if isinstance(x, Padded):
        name = type(architecture).__name__
        raise UserError(
            f"{name} needs examples of equal shape, got a column of variable length: {padded_shape(x)}. Choose "
            "architecture=sequential, with GlobalAveragePool as the first layer, or text_cnn."
        )
    return jnp.asarray(x).astype(architecture.dtype)


def as_array_or_sequence(architecture: nn.Module, x: Any) -> jax.Array | Padded:
    """Returns an input in the dtype of the architecture. Sequences stay Padded."""
    if not isinstance(x, Padded):
        return as_array(architecture, x)
    return Padded(as_array_or_sequence(architecture, x.values), x.mask)


def as_vectors(architecture: nn.Module, x: Any) -> jax.Array | MultiHot:
    """Returns an input as vectors: (B, ...) -> (B, D). Sparse vectors stay in float32, so that counts stay exact.

    Raises:
        UserError: the input is a column of variable length.
    """
    if isinstance(x, MultiHot):
        return x
    x = as_array(architecture, x)
    return x.reshape(len(x), -1)


def as_images(architecture: nn.Module, x: Any, min_side: int = 1) -> jax.Array:
    """Returns an input as images (B, H, W, C).

    Raises:
        UserError: the input has another rank, or a side is shorter than `min_side` pixels.
    """
    x, name = as_array(architecture, x), type(architecture).__name__
    if x.ndim != 4:
        raise UserError(f"{name} needs images (B, H, W, C), got {x.shape}. For vectors, choose mlp.")
    height, width = x.shape[1:3]
    if min(height, width) < min_side:
        raise UserError(
            f"{name} needs images of at least {min_side} x {min_side}, got {height} x {width}. Enlarge them by the "
            "parameter `size` of their feature column, or choose another architecture."
        )
    return x


def check_side_for_auxiliary(architecture: nn.Module, x: jax.Array, min_side: int) -> None:
    """Checks that images (B, H, W, C) are large enough for the auxiliary classifiers of an architecture.

    Raises:
        UserError: a side is shorter than `min_side` pixels.
    """
    height, width = x.shape[1:3]
    if min(height, width) < min_side:
        raise UserError(
            f"auxiliary classifiers of {type(architecture).__name__} need images of at least {min_side} x {min_side} "
            f"in training, got {height} x {width}. Set auxiliary to null."
        )
