"""Layers of feature columns over lists: one level of lists at a time, the innermost one first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from components.feature.base.values import NO_ID
from components.types import Padded, UserError, padded_shape


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


def join_sequences(sequences: Sequence[Padded]) -> Padded:
    """Concatenates sequences (B, T, D) along D. Shorter ones are padded with zeros to the longest.

    Raises:
        UserError: a sequence has another rank, or is nested.
    """
    for sequence in sequences:
        if isinstance(sequence.values, Padded) or sequence.values.ndim != 3:
            raise UserError(
                f"a sequence has the shape {padded_shape(sequence)}. Sequences that share an input must be (B, T, D). "
                "Give the column its own input."
            )
    longest = max(sequence.mask.shape[1] for sequence in sequences)
    padded = [_pad(sequence, longest) for sequence in sequences]
    values = [jnp.where(sequence.mask[..., None], sequence.values, 0) for sequence in padded]
    mask = functools.reduce(jnp.logical_or, [sequence.mask for sequence in padded])
    return Padded(jnp.concatenate(values, axis=2), mask)


def _merge(array: Any) -> Any:
    """Steps (B, T, …), or Padded with them, as rows (B * T, …)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), array)


def _pad(sequence: Padded, length: int) -> Padded:
    padding = length - sequence.mask.shape[1]
    values = jnp.pad(sequence.values, ((0, 0), (0, padding), (0, 0)))
    return Padded(values, jnp.pad(sequence.mask, ((0, 0), (0, padding))))
