"""Pooling over windows, over whole images, and over channels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.lowering.pooling import maximum, pool, sum_windows
from components.layer.shape import Padding, Pads, Pair, Size, as_pair, check_images, compute_pads
from components.types import Padded, Range, UserError


class MaxPool(nn.Module):
    """Max-pooling, the maximum of each window for each channel: images (B, H, W, C) -> (B, h, w, C).

    A window with a NaN has the maximum NaN. Among equal maxima, the first one in row order gets the gradient, as in
    TensorFlow.

    Attributes:
        window: (height, width) in pixels, or one number for both.
        stride: distance between two windows in pixels. None: the size of the window.
        padding: SAME, VALID, the pixels on each side, or ((top, bottom), (left, right)).
        ceil_mode: whether h and w are rounded up, as in PyTorch. Then the last window may end beyond the padding, if it
            starts on the image or on the padding before the image.

    Raises:
        UserError: the input is not a batch of images, the window is larger than the padded image, or the padding is not
            smaller than the window.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride, pads, ceil_pads = _compute_geometry(self, x)
        return pool(x, maximum, lax.max, -jnp.inf, window, stride, _add_pads(pads, ceil_pads))


class AveragePool(nn.Module):
    """Average pooling, the mean of each window for each channel: images (B, H, W, C) -> (B, h, w, C).

    Sums are float32, whatever the precision of the images. All other attributes and the errors are those of `MaxPool`.

    Attributes:
        count_include_pad: whether means include the padding as zeros. Rows and columns that `ceil_mode` adds never
            count.
    """

    window: Size
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, stride, pads, ceil_pads = _compute_geometry(self, x)
        all_pads = _add_pads(pads, ceil_pads)
        y = x.astype(jnp.float32)
        ones = jnp.ones_like(y[:1, :, :, :1])  # the sum of a window of ones is its number of pixels
        if self.count_include_pad:
            padded = jnp.pad(ones, ((0, 0), *pads, (0, 0)), constant_values=1)
            count = sum_windows(padded, window, stride, ceil_pads)
        else:
            count = sum_windows(ones, window, stride, all_pads)
        return (sum_windows(y, window, stride, all_pads) / count).astype(x.dtype)


class GlobalAveragePool(nn.Module):
    """Global average pooling, the mean of each channel over the image: (B, H, W, C) -> (B, C).

    Of sequences of equal length, (B, T, D) -> (B, D), it is the mean over the steps. Of Padded (B, T, D) -> (B, D), it
    is the mean over the steps without padding; zero without steps. Of nested sequences, the innermost ones are
    averaged: (B, T, S, D) -> Padded (B, T, D).
    """

    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        del train
        if isinstance(x, Padded):
            return _reduce_steps(x, _average)
        return x.mean(_pooled_axes("global average pooling", x))


class GlobalMaxPool(nn.Module):
    """Global max-pooling, the maximum of each channel over the image: (B, H, W, C) -> (B, C).

    Of sequences it is the maximum over the steps, without padding; zero without steps. The shapes are those of
    `GlobalAveragePool`. Equal maxima share the gradient, as in TensorFlow.
    """

    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        del train
        if isinstance(x, Padded):
            return _reduce_steps(x, _maximize)
        return x.max(_pooled_axes("global max-pooling", x))


class DepthwiseMaxPool(nn.Module):
    """Max-pooling over neighboring channels: (..., C) -> (..., C / window).

    A window with a NaN has the maximum NaN. Among equal maxima, the first one gets the gradient.

    Attributes:
        window: number of channels of a window.

    Raises:
        UserError: the window does not divide the channels.
    """

    window: Annotated[int, Range(1)]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        if x.shape[-1] % self.window:
            raise UserError(
                f"depthwise pooling needs a window that divides {x.shape[-1]} channels, got a window of {self.window}"
            )
        return functools.reduce(maximum, [x[..., n :: self.window] for n in range(self.window)])


def _pooled_axes(layer: str, x: jax.Array) -> tuple[int, ...]:
    """The axes of images (B, H, W, C) or sequences (B, T, D) that are pooled."""
    if x.ndim not in (3, 4):
        raise UserError(f"{layer} needs images (B, H, W, C) or sequences (B, T, D), got {x.shape}")
    return tuple(range(1, x.ndim - 1))


def _reduce_steps(x: Padded, reduce: Callable[[jax.Array, jax.Array, int], jax.Array]) -> jax.Array | Padded:
    """Reduces the innermost sequences.

    Args:
        x: the sequences.
        reduce: (values, mask, axis of the steps) -> the result. The mask broadcasts against the values.
    """
    if isinstance(x.values, Padded):
        return Padded(_reduce_steps(x.values, reduce), x.mask)
    values = jnp.asarray(x.values)
    mask = jnp.reshape(x.mask, x.mask.shape + (1,) * (values.ndim - x.mask.ndim))
    return reduce(values, mask, x.mask.ndim - 1)


def _average(values: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    total = jnp.where(mask, values, 0).astype(jnp.float32).sum(axis)
    count = jnp.maximum(mask.astype(jnp.float32).sum(axis), 1)
    return (total / count).astype(values.dtype)


def _maximize(values: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    largest = jnp.where(mask, values, -jnp.inf).max(axis, initial=-jnp.inf)
    return jnp.where(mask.any(axis), largest, 0)


def _compute_geometry(layer: MaxPool | AveragePool, x: jax.Array) -> tuple[Pair, Pair, Pads, Pads]:
    """Returns the window, the stride, the padding of the image, and the padding that `ceil_mode` adds after it."""
    window = as_pair(layer.window)
    check_images("a pooling window", x, window, layer.padding)
    stride = window if layer.stride is None else as_pair(layer.stride)
    image = (x.shape[1], x.shape[2])
    pads = compute_pads(image, window, stride, layer.padding)
    if any(max(pad) >= size for pad, size in zip(pads, window, strict=True)):
        raise UserError(f"a pooling window of {window[0]} x {window[1]} needs a smaller padding than {pads}")
    if not layer.ceil_mode:
        return window, stride, pads, ((0, 0), (0, 0))
    rows, columns = (_count_ceil_pixels(*side) for side in zip(image, pads, window, stride, strict=True))
    return window, stride, pads, ((0, rows), (0, columns))


def _count_ceil_pixels(size: int, pad: Pair, window: int, stride: int) -> int:
    """Returns the rows or columns that the last window needs beyond the padding in ceiling mode.

    There are none if this window would start after the image.
    """
    extra = -(size + sum(pad) - window) % stride
    start = size + sum(pad) + extra - window
    return extra if start < size + pad[0] else 0


def _add_pads(pads: Pads, ceil_pads: Pads) -> Pads:
    (top, bottom), (left, right) = pads
    return (top, bottom + ceil_pads[0][1]), (left, right + ceil_pads[1][1])
