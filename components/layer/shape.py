"""Shapes: what several layers ask of them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import jax

from components.types import Range, UserError

Size: TypeAlias = Annotated[int, Range(1)] | tuple[int, int]
"""Height and width, or one number for both."""

Padding: TypeAlias = Literal["SAME", "VALID"]
"""SAME: a place for every stride, with padding where it sticks out; VALID: only places inside the image."""


def pair(size: Size) -> tuple[int, int]:
    """Height and width."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def across(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A number a channel, (C,), made ready to be combined with x (..., C): in its dtype, (1, ..., 1, C)."""
    return vector.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def check_images(layer: str, x: jax.Array, window: tuple[int, int] = (1, 1), padding: Padding = "SAME") -> None:
    """Raises UserError unless x is a batch of images (B, H, W, C) that the window of the layer fits into."""
    if x.ndim != 4:
        raise UserError(f"{layer} takes images (B, H, W, C), got {x.shape}")
    height, width = x.shape[1:3]
    if height < 1 or width < 1 or (padding == "VALID" and (height < window[0] or width < window[1])):
        raise UserError(f"{layer} of {window[0]} x {window[1]} does not fit into images of {height} x {width}")
