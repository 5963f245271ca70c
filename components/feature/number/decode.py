"""Converts normalized predictions to the unit of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.number.pipeline import Pipeline
from components.types import Constants


def decode(predictions: Any, constants: Constants, *, pipeline: Pipeline, factor: float) -> Any:
    """Undoes a pipeline and a factor. NumPy arrays are converted in float64, others in float32.

    Args:
        predictions: normalized numbers, (B, D).
        constants: the constants of a `Numeric`.
        pipeline: the normalizers.
        factor: the factor of the numbers before they were normalized.
    """
    if isinstance(predictions, np.ndarray):
        host, device = constants.host, constants.device
        offset, divisor = (
            np.ldexp(np.asarray(device[name], np.float64), host["exponent"]) for name in ("offset", "divisor")
        )
        return pipeline.undo(predictions.astype(np.float64), offset + host["shift"], divisor, np) / factor
    return pipeline.undo(predictions, *_get_data_constants(constants.device), jnp) / factor


def decode_errors(
    predictions: jax.Array, targets: jax.Array, constants: Constants, *, pipeline: Pipeline, factor: float
) -> jax.Array:
    """The differences of normalized numbers, (B, D), in the unit of the data: precise also far from 0."""
    offset, divisor = _get_data_constants(constants.device)
    return pipeline.undo_difference(predictions - targets, targets, offset, divisor, jnp) / factor


def _get_data_constants(device: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    """The offset and the divisor of numbers before they are encoded."""
    offset, divisor = (device.get(f"data_{name}", device[name]) for name in ("offset", "divisor"))
    return jnp.reshape(offset, (1, -1)), jnp.reshape(divisor, (1, -1))
