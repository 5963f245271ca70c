"""Layers of feature columns over lists: one level of lists at a time, the innermost one first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from components.feature.base.values import NO_ID
from components.types import Padded


def apply_to_steps(function: Callable[[Mapping[str, Any]], Any], encoded: Mapping[str, Any]) -> Any:
    """Applies a function of the ids of rows; of nested sequences, to each step, which has several ids itself.

    Args:
        function: (arrays of rows) -> an array (rows, …) or Padded.
        encoded: `ids` and optionally `weights`, as the column encodes them.

    Returns:
        What `function` returns; for nested sequences Padded with it as values, (B, T, …).
    """
    if not is_nested(encoded["ids"]):
        return function(encoded)
    mask = encoded["ids"].mask
    steps = {name: _merge(array.values) for name, array in encoded.items()}
    if not isinstance(steps["ids"], Padded):
        is_step = jnp.reshape(mask, (-1,) + (1,) * (steps["ids"].ndim - 1))
        steps["ids"] = jnp.where(is_step, steps["ids"], NO_ID)
    result = apply_to_steps(function, steps)
    return Padded(jax.tree.map(lambda leaf: leaf.reshape(*mask.shape, *leaf.shape[1:]), result), mask)


def is_nested(array: Any) -> bool:
    """Whether an array is Padded, and its steps have several values themselves: sequences or vectors."""
    return isinstance(array, Padded) and (isinstance(array.values, Padded) or array.values.ndim > 2)


def _merge(array: Any) -> Any:
    """Steps (B, T, …), or Padded with them, as rows (B * T, …)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), array)
