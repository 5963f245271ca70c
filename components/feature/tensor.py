"""Arrays of numbers as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from components.feature.base import raw
from components.feature.base.column import Stateless
from components.types import Block, Constants, Values

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Tensor(Stateless):
    """Numbers of any shape as they are, float32 (…), such as the features of another network.

    Single numbers are vectors of one element. Missing and infinite numbers are errors.

    Attributes:
        key: the raw column, with an array of numbers in each row. All have the same shape.
    """

    key: str

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, …)."""
        return {"values": self.host_output(block, parents, constants).astype(np.float32)}

    def host_output(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> np.ndarray:
        """The numbers, float64 (rows, …)."""
        values = raw.read_numbers(block, self.key, largest=LARGEST)
        return values[:, None] if values.ndim == 1 else values

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns float32 (B, …)."""
        return _get_values


def _get_values(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    values: jax.Array = encoded["values"]
    return values
