"""Images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from components.feature import raw, scaling
from components.feature.statistic import Moments, Spread
from components.types import Block, Constants, DataError, Statistic, Values

WHITE = 255


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: uint8 (H, W, C) from 0, black, to 255, white, stays so until the device makes float32 of it.

    Attributes:
        key: the raw column.
        normalize: `unit` divides by 255; `standardize` gives each channel mean 0 and standard deviation 1
            over the training split (a constant one is shifted, and divided by 255). None: neither.
    """

    key: str
    normalize: Literal["unit", "standardize"] | None = "unit"

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {"channels": Moments(self.key)} if self.normalize == "standardize" else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        spread = results.get("channels", Spread(np.zeros(1), np.zeros(1)))
        return Constants(device=scaling.constants(spread, unit=1 if self.normalize is None else WHITE))

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: uint8 (rows, H, W, C)."""
        images = raw.column(block, self.key)
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(
                f"column `{self.key}` of {block.origin} is {images.dtype} {images.shape}; "
                f"images are uint8, 0 to {WHITE}, (rows, height, width, channels)"
            )
        return {"values": images}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B, H, W, C), float32."""
        return scaling.scale
