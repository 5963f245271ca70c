"""Sizes of windows, padding, and checks of images, for several layers."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import jax
from jax import lax

from components.types import Range, UserError

Size: TypeAlias = Annotated[int, Range(1)] | tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]]
"""(height, width), or one number for both."""

PadSize: TypeAlias = Annotated[int, Range(0)]
"""Number of rows or columns of padding."""

Padding: TypeAlias = Literal["SAME", "VALID"] | PadSize | tuple[tuple[PadSize, PadSize], tuple[PadSize, PadSize]]
"""SAME: padding for ceil(height / stride) windows from top to bottom, and likewise by width. VALID: no padding.

A number: pixels on each side, as in PyTorch. ((top, bottom), (left, right)): pixels on each side.
"""

Pair: TypeAlias = tuple[int, int]
"""(height, width)."""

Pads: TypeAlias = tuple[Pair, Pair]
"""((top, bottom), (left, right)), in pixels."""


def as_pair(size: Size) -> Pair:
    """Returns (height, width)."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def dilate(window: Pair, dilation: Pair) -> Pair:
    """Returns the size in pixels of a window whose elements are `dilation` pixels apart."""
    height, width = ((size - 1) * step + 1 for size, step in zip(window, dilation, strict=True))
    return height, width


def compute_pads(image: Pair, window: Pair, stride: Pair, padding: Padding) -> Pads:
    """Returns the padding of images. SAME adds an odd pixel at the bottom or right, as in TensorFlow."""
    if isinstance(padding, str):
        vertical, horizontal = lax.padtype_to_pads(image, window, stride, padding)
    else:
        vertical, horizontal = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    return (vertical[0], vertical[1]), (horizontal[0], horizontal[1])


def count_windows(image: Pair, window: Pair, stride: Pair, pads: Pads) -> Pair:
    """Returns the number of windows, by height and width, on padded images."""
    sides = zip(image, window, stride, pads, strict=True)
    height, width = ((size + sum(pad) - span) // step + 1 for size, span, step, pad in sides)
    return height, width


def broadcast_like(vector: jax.Array, x: jax.Array) -> jax.Array:
    """Reshapes a vector (C,) to (1, ..., 1, C) in the dtype of x, so that it broadcasts against x (..., C)."""
    return vector.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def check_images(layer: str, x: jax.Array, window: Pair = (1, 1), padding: Padding = "SAME") -> None:
    """Raises UserError unless x is a batch of images (B, H, W, C) at least as large as the window of the layer."""
    if x.ndim != 4:
        raise UserError(f"{layer} needs images (B, H, W, C), got {x.shape}")
    height, width = x.shape[1:3]
    vertical, horizontal = compute_pads((height, width), window, (1, 1), padding)
    if min(height, width) < 1 or height + sum(vertical) < window[0] or width + sum(horizontal) < window[1]:
        padded = "" if isinstance(padding, str) else f", padded by {vertical} and {horizontal}"
        raise UserError(f"{layer} of {window[0]} x {window[1]} does not fit into images of {height} x {width}{padded}")
