"""Images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np

from components.feature import raw, scaling
from components.feature.statistic import Moments, Spread
from components.types import Block, Constants, DataError, Range, Statistic, Values

WHITE = 255


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
    """

    key: str
    size: tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]] | None = None
    normalize: Literal["unit", "standardize"] | None = "unit"

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        key = self.key if self.size is None else _Pixels(self.key, self.size)
        return {"channels": Moments(key)} if self.normalize == "standardize" else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        spread = results.get("channels", Spread(np.zeros(1), np.zeros(1)))
        return Constants(device=scaling.constants(spread, unit=1 if self.normalize is None else WHITE))

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: uint8 (rows, H, W, C)."""
        return {"values": _images(block, self.key, self.size)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B, H, W, C), float32."""
        return scaling.scale


@dataclass(frozen=True)
class _Pixels:
    """The pixels of resized images, float64 (pixels, channels): what their statistics are about."""

    key: str
    size: tuple[int, int]

    def __call__(self, block: Block) -> np.ndarray:
        images = _images(block, self.key, self.size)
        return images.reshape(-1, images.shape[-1]).astype(np.float64)


def _images(block: Block, key: str, size: tuple[int, int] | None) -> np.ndarray:
    images = raw.column(block, key)
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
