"""Whether a value is missing, as a feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import Stateless
from components.feature.text.string_ops import split_dictionary
from components.types import Block, Constants, DataError, Ragged, Strings, Values, row_count


@dataclass(frozen=True, kw_only=True)
class MissingIndicator(Stateless):
    """1 if a value is missing, else 0: one float32 element. The column may have any type.

    It corresponds to scikit-learn's `MissingIndicator`. NaN, NaT, None and "" are missing values; an
    empty list isn't.

    Attributes:
        key: the raw column, which is read even if a feature column has the same name.
    """

    key: str

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, 1)."""
        return {"values": self.host_output(block, parents, constants).astype(np.float32)}

    def host_output(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> np.ndarray:
        """1 or 0, float64 (rows, 1)."""
        if self.key not in block.columns:
            raise DataError(f"`{self.key}` is no raw column of {block.origin}, as a MissingIndicator needs")
        is_missing = _find_missing(block, self.key)
        if self.key in block.valid:
            is_missing = is_missing | ~block.valid[self.key]
        return is_missing.astype(np.float64)[:, None]

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns float32 (B, 1)."""
        return _get_values


def _find_missing(block: Block, key: str) -> np.ndarray:
    """Which values are missing by what they are, bool (rows,)."""
    values = block.columns[key]
    if isinstance(values, Strings):
        strings, string_of_row = split_dictionary(values)
        is_empty = np.diff(strings.offsets) == 0
        if string_of_row is None:
            return is_empty
        return is_empty[string_of_row] if len(is_empty) else np.ones(values.rows, bool)
    if isinstance(values, Ragged):
        return np.zeros(row_count(values), bool)
    if values.ndim != 1:
        raise DataError(f"column `{key}` of {block.origin} must have one value in each row for a MissingIndicator")
    if values.dtype.hasobject or values.dtype.kind in "US":
        return np.array([value is None or value in ("", b"") or value != value for value in values.tolist()], bool)
    return values != values  # NaN and NaT


def _get_values(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["values"])
