"""Sequences side by side."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax.numpy as jnp

from components.types import Padded, UserError, padded_shape


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


def _pad(sequence: Padded, length: int) -> Padded:
    padding = length - sequence.mask.shape[1]
    values = jnp.pad(sequence.values, ((0, 0), (0, padding), (0, 0)))
    return Padded(values, jnp.pad(sequence.mask, ((0, 0), (0, padding))))
