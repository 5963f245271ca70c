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
from components.feature.statistic.classes import RowShape
from components.types import Block, Constants, DataError, Range, Statistic, TargetSpec, UserError, Values

WHITE = 255
Positive: TypeAlias = Annotated[float, Range(0, math.inf, "()")]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image, uint8 (H, W, C) from 0, black, to 255, white. The device converts it to float32.

    Attributes:
        key: the raw column.
        size: the height and width of resized images. They are resized once, before they are cached, with Pillow's
            bilinear filter, which averages over all covered pixels. None: images keep their size.
        normalize: `unit` divides by 255. `standardize` gives each channel mean 0 and standard deviation 1 over the
            training split; a constant channel is shifted and divided by 255. None: neither.
        mean: is subtracted after `normalize`: one number, or one for each channel, in the order of `order`.
        std: divides the result: one number, or one for each channel.
        order: the order of the channels: `bgr` reverses it, for networks that were trained in Caffe.
    """

    key: str
    size: tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]] | None = None
    normalize: Literal["unit", "standardize"] | None = "unit"
    mean: tuple[float, ...] | float | None = None
    std: tuple[Positive, ...] | Positive | None = None
    order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        if self.normalize == "standardize" and (self.mean is not None or self.std is not None):
            raise UserError(
                "`mean` and `std` can't be set if `normalize` is standardize; set `normalize` to unit or null"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        key = self.key if self.size is None else _ReadPixels(self.key, self.size)
        return {"channels": Moments(key)} if self.normalize == "standardize" else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        fitted = results.get("channels", OffsetScale(np.zeros(1), np.zeros(1)))
        unit = 1 if self.normalize is None else WHITE
        device = {"offset": fitted.offset, "divisor": scaling.find_divisor(fitted, if_constant=unit)}
        if self.mean is not None:
            device["offset"] = _scale_to_bytes(self.mean, unit)
        if self.std is not None:
            device["divisor"] = _scale_to_bytes(self.std, unit)
        return Constants(device=device)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: uint8 (rows, H, W, C)."""
        return {"values": _read_images(block, self.key, self.size)}

    def host_output(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> np.ndarray:
        """The scaled image, float64 (rows, H, W, C)."""
        images = _arrange_channels(_read_images(block, self.key, self.size), constants.device, self.order)
        return (images - np.asarray(constants.device["offset"])) / np.asarray(constants.device["divisor"])

    def convert_rows(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Converts images of floats or integers to uint8. Floats are from 0 to 1, or from 0 to 255."""
        if values.dtype.kind not in "iuf" or values.dtype == np.uint8 or not values.size:
            return values, ""
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= WHITE):  # also if some are NaN
            raise DataError(
                f"column `{self.key}` has pixels from {low:g} to {high:g}; pixels are numbers from 0 to {WHITE}, or "
                "floats from 0 to 1"
            )
        if values.dtype.kind != "f":
            return values.astype(np.uint8), ""
        is_whole = bool((values == np.floor(values)).all())
        if 0 < high < 2 and (is_whole or high > 1):
            raise DataError(
                f"column `{self.key}` has floats up to {high:g}, which may be from 0 to 1 or from 0 to {WHITE}; "
                "convert them to uint8, from 0 to 255"
            )
        if high > 1:
            rounded = "" if is_whole else ", and rounded"
            return np.round(values).astype(np.uint8), f"column `{self.key}`: floats are read as 0 to {WHITE}{rounded}"
        return np.round(values * WHITE).astype(np.uint8), f"column `{self.key}`: floats are read as 0 to 1"

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B, H, W, C), float32. Raises UserError if a parameter doesn't fit the number of channels."""
        return partial(_scale, order=self.order)


@dataclass(frozen=True, kw_only=True)
class ImageTarget(Image):
    """An image to predict, as an autoencoder does: float32 (H, W, C), scaled as in `Image`.

    Metrics are in the unit of the scaled image. Attributes are those of `Image`.
    """

    def statistics(self) -> Mapping[str, Statistic]:
        return {**super().statistics(), "shape": RowShape(self.key)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        height, width, *channels = results["shape"]
        shape = (*(self.size or (height, width)), *(channels or (1,)))
        return super().fit(results, parents)._replace(static={"shape": shape})

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Images need no check."""
        return ()

    def bind(self, constants: Constants) -> TargetSpec:
        return TargetSpec("real", tuple(constants.static["shape"]), None, lambda images: images)


def _scale_to_bytes(numbers: tuple[float, ...] | float, unit: float) -> np.ndarray:
    """Converts one number per channel, or one for all channels, to the unit of bytes."""
    return np.atleast_1d(np.asarray(numbers, np.float64) * unit).astype(np.float32)


def _scale(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, order: str) -> jax.Array:
    return scaling.scale({"values": _arrange_channels(encoded["values"], constants, order)}, constants)


def _arrange_channels(images: Any, constants: Mapping[str, Any], order: str) -> Any:
    """The images with their channels in order. Raises UserError if a parameter doesn't fit the number of channels."""
    channels = images.shape[-1]
    if order == "bgr" and channels != 3:
        raise UserError(f"`order` (=bgr) needs images with 3 channels, got {channels}")
    for name, field in (("offset", "mean"), ("divisor", "std")):
        if len(constants[name]) not in (1, channels):
            raise UserError(f"`{field}` has {len(constants[name])} numbers, but the images have {channels} channels")
    return images[..., ::-1] if order == "bgr" else images


@dataclass(frozen=True)
class _ReadPixels:
    """The key of a statistic: the pixels of resized images, float64 (pixels, channels)."""

    key: str
    size: tuple[int, int]

    def __call__(self, block: Block) -> np.ndarray:
        images = _read_images(block, self.key, self.size)
        return images.reshape(-1, images.shape[-1]).astype(np.float64)


def _read_images(block: Block, key: str, size: tuple[int, int] | None) -> np.ndarray:
    images = raw.read_column(block, key)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"column `{key}` of {block.origin} is {images.dtype} {images.shape}; "
            f"images must be uint8, 0 to {WHITE}, (rows, height, width, channels)"
        )
    return images if size in (None, images.shape[1:3]) else _resize(images, *size)


def _resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes each channel separately, because Pillow would treat the last of four channels as opacity."""
    import PIL.Image  # takes 50 ms, and most runs don't need it

    result = np.empty((len(images), height, width, images.shape[-1]), np.uint8)
    for image, resized in zip(images, result, strict=True):
        for channel in range(images.shape[-1]):
            plane = PIL.Image.fromarray(image[..., channel])
            resized[..., channel] = np.asarray(plane.resize((width, height), PIL.Image.Resampling.BILINEAR))
    return result
