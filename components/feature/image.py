"""Images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import jax
import numpy as np

from components.feature.base import raw
from components.feature.number import scaling
from components.feature.statistic import Moments, OffsetScale
from components.types import Block, Constants, DataError, Range, Statistic, UserError, Values

WHITE = 255
Positive: TypeAlias = Annotated[float, Range(0, math.inf, "()")]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: uint8 (H, W, C) from 0, black, to 255, white, stays so until the device makes float32 of it.

    Attributes:
        key: the raw column.
        size: the height and width that images are resized to, once, before they are kept: bilinear over the area
            that a pixel covers (the triangle filter, so that nothing is aliased), each pass rounded to bytes, by
            Pillow. None: as they are.
        normalize: `unit` divides by 255; `standardize` gives each channel mean 0 and standard deviation 1
            over the training split (a constant one is shifted, and divided by 255). None: neither.
        mean: what is subtracted after that, one number or one for each channel, in their order after `order`.
        deviation: what the rest is divided by, likewise.
        order: `bgr` turns the three channels round, as networks want them that were trained in Caffe.
    """

    key: str
    size: tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]] | None = None
    normalize: Literal["unit", "standardize"] | None = "unit"
    mean: tuple[float, ...] | float | None = None
    deviation: tuple[Positive, ...] | Positive | None = None
    order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        if self.normalize == "standardize" and (self.mean is not None or self.deviation is not None):
            raise UserError("`mean` and `deviation` are learned where normalize=standardize; choose unit, or null")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        key = self.key if self.size is None else _Pixels(self.key, self.size)
        return {"channels": Moments(key)} if self.normalize == "standardize" else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        offset_scale = results.get("channels", OffsetScale(np.zeros(1), np.zeros(1)))
        unit = 1 if self.normalize is None else WHITE
        device = scaling.make_constants(offset_scale, unit)
        if self.mean is not None:
            device["offset"] = _each(self.mean, unit)
        if self.deviation is not None:
            device["divisor"] = _each(self.deviation, unit)
        return Constants(device=device)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: uint8 (rows, H, W, C)."""
        return {"values": _images(block, self.key, self.size)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B, H, W, C), float32; raises UserError where the fields are for other channels."""
        return partial(_scaled, order=self.order)


def _each(numbers: tuple[float, ...] | float, unit: float) -> np.ndarray:
    """A number a channel, or one for all, in the unit of the bytes."""
    return np.atleast_1d(np.asarray(numbers, np.float64) * unit).astype(np.float32)


def _scaled(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, order: str) -> jax.Array:
    images = encoded["values"]
    channels = images.shape[-1]
    if order == "bgr" and channels != 3:
        raise UserError(f"order=bgr is for images of 3 channels, these have {channels}")
    for name, field in (("offset", "mean"), ("divisor", "deviation")):
        if len(constants[name]) not in (1, channels):
            raise UserError(f"`{field}` has {len(constants[name])} numbers, the images have {channels} channels")
    return scaling.scale({"values": images[..., ::-1] if order == "bgr" else images}, constants)


@dataclass(frozen=True)
class _Pixels:
    """The pixels of resized images, float64 (pixels, channels): what their statistics are about."""

    key: str
    size: tuple[int, int]

    def __call__(self, block: Block) -> np.ndarray:
        images = _images(block, self.key, self.size)
        return images.reshape(-1, images.shape[-1]).astype(np.float64)


def _images(block: Block, key: str, size: tuple[int, int] | None) -> np.ndarray:
    images = raw.read_column(block, key)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"column `{key}` of {block.origin} is {images.dtype} {images.shape}; "
            f"images are uint8, 0 to {WHITE}, (rows, height, width, channels)"
        )
    return images if size in (None, images.shape[1:3]) else _resized(images, *size)


def _resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Channel by channel: Pillow would multiply the colors of four by the last."""
    import PIL.Image  # 50 ms, of which most runs have no need

    result = np.empty((len(images), height, width, images.shape[-1]), np.uint8)
    for image, small in zip(images, result, strict=True):
        for channel in range(images.shape[-1]):
            plane = PIL.Image.fromarray(image[..., channel])
            small[..., channel] = np.asarray(plane.resize((width, height), PIL.Image.Resampling.BILINEAR))
    return result
