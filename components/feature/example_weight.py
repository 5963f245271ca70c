"""The weights of examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base import raw
from components.types import Block, Constants, DataError, Ragged, Statistic, Values


@dataclass(frozen=True, kw_only=True)
class ExampleWeight:
    """The weight of an example in the training objective, float32: 0 or more.

    Attributes:
        key: the raw column of numbers.
        normalize: whether the weights are divided by their mean over the training split.
    """

    key: str
    normalize: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "float"}

    def statistics(self) -> Mapping[str, Statistic]:
        return {"total": _Total(self.key)} | ({"rows": _Rows(self.key)} if self.normalize else {})

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Raises DataError if all weights of the training split are 0."""
        if results["total"] == 0:
            raise DataError(f"column `{self.key}`: all weights of the training split are 0; one must be above 0")
        if not self.normalize:
            return Constants()
        return Constants(host={"mean": np.asarray(results["total"] / results["rows"])})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, 1)."""
        weights = _read_weights(block, self.key)
        weights = weights / constants.host["mean"] if self.normalize else weights
        return {"values": weights.astype(np.float32)[:, None]}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns float32 (B, 1)."""
        return _get_values


@dataclass(frozen=True)
class _Total:
    """The sum of the weights, in float64."""

    key: str

    def summarize(self, block: Block) -> float:
        return float(_read_weights(block, self.key).sum(dtype=np.float64))

    def merge(self, state: float, other: float) -> float:
        return state + other

    def result(self, state: float) -> float:
        return state


@dataclass(frozen=True)
class _Rows:
    """The number of rows."""

    key: str

    def summarize(self, block: Block) -> int:
        return len(_read_weights(block, self.key))

    def merge(self, state: int, other: int) -> int:
        return state + other

    def result(self, state: int) -> int:
        return state


def _read_weights(block: Block, key: str) -> np.ndarray:
    """Reads the weights, (rows,). Raises DataError for a negative one, or for a row that is no number."""
    if isinstance(block.columns.get(key), Ragged):
        raise DataError(f"column `{key}` of {block.origin} has lists in its rows; one weight is needed")
    weights = raw.read_numbers(block, key, largest=raw.FLOAT32_MAX)
    if weights.ndim != 1:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {weights.shape[1:]}; one weight is needed")
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        fault = f"is {raw.format_value(weights[row])}; a weight is 0 or more"
        raise raw.make_value_error(block, key, row, fault, raw.CORRECT, raw.REMOVE_ROW)
    return weights


def _get_values(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["values"])
