"""Numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np

from components.feature import raw, scaling
from components.feature.statistic import Extremes, Moments, Spread
from components.types import Block, BoundTarget, Constants, DataError, Range, Statistic, Values


@dataclass(frozen=True, kw_only=True)
class Numeric:
    """Raw columns of finite numbers, or vectors of them, as one float32 vector (D,): a feature or a target.

    Attributes:
        key: the raw column, or several, in order.
        normalize: `z_score` gives each element mean 0 and (population) standard deviation 1 over the training
            split, `min_max` the range 0 to 1; both only shift what is constant there. None: neither.
        scale: what the numbers are multiplied by, before they are normalized.
    """

    key: str | tuple[str, ...]
    normalize: Literal["z_score", "min_max"] | None = None
    scale: Annotated[float, Range(0, bounds="()")] = 1.0

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def statistics(self) -> Mapping[str, Statistic]:
        statistic = Moments if self.normalize == "z_score" else Extremes
        return {key: statistic(key) for key in self.keys}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        offset = np.concatenate([results[key].offset for key in self.keys])
        width = np.concatenate([results[key].width for key in self.keys])
        if self.normalize is None:
            offset, width = np.zeros_like(offset), np.zeros_like(width)
        device = scaling.constants(Spread(offset, width), unit=1 / self.scale)
        return Constants(device=device, static={"outputs": len(offset)})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, D), as in the raw columns."""
        vectors = [self._vectors(block, key) for key in self.keys]
        return {"values": np.concatenate(vectors, axis=1, dtype=np.float32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B, D), float32."""
        return scaling.scale

    def review(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Any numbers will do."""
        return ()

    def bind(self, constants: Constants) -> BoundTarget:
        decode = functools.partial(scaling.unscale, constants=constants.device)
        return BoundTarget(constants.static["outputs"], None, decode)

    def _vectors(self, block: Block, key: str) -> np.ndarray:
        values = raw.numbers(block, key)
        if values.ndim > 2:
            shape = values.shape[1:]
            raise DataError(f"column `{key}` of {block.origin} has rows of shape {shape}, not vectors")
        return values.reshape(len(values), -1)
