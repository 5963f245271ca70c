"""Converts normalized predictions to the unit of the data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.number.pipeline import Pipeline
from components.types import Constants, ScaledErrors, UserError

FLOAT32_RANGE = (1e-30, 1e30)  # numbers whose errors, also small ones, are in the range of float32


def decode(predictions: Any, constants: Constants, *, pipeline: Pipeline, factor: float) -> Any:
    """Undoes a pipeline and a factor. NumPy arrays are converted in float64, others in float32.

    Args:
        predictions: normalized numbers, (B, D).
        constants: the constants of a `Numeric`.
        pipeline: the normalizers.
        factor: the factor of the numbers before they were normalized.
    """
    if isinstance(predictions, np.ndarray):
        return pipeline.undo(predictions.astype(np.float64), *_get_host_constants(constants), np) / factor
    return pipeline.undo(predictions, *_get_data_constants(constants.device), jnp) / factor


def encode(numbers: np.ndarray, constants: Constants, *, pipeline: Pipeline, factor: float) -> np.ndarray:
    """Normalizes numbers, the inverse of `decode` in float64. The other arguments are those of `decode`."""
    before_fit = pipeline.apply_before_fit(numbers.astype(np.float64) * factor, np)
    encoded: np.ndarray = pipeline.apply_fitted(before_fit, *_get_host_constants(constants), np)
    return encoded


def decode_errors(
    predictions: jax.Array, targets: jax.Array, constants: Constants, *, pipeline: Pipeline, factor: float
) -> jax.Array:
    """The differences of normalized numbers, (B, D), in the unit of the data: precise also far from 0."""
    offset, divisor = _get_data_constants(constants.device)
    return pipeline.undo_difference(predictions - targets, targets, offset, divisor, jnp) / factor


def scale_errors(constants: Constants, *, pipeline: Pipeline, factor: float) -> ScaledErrors:
    """The differences of normalized numbers, in a unit near the divisor. The arguments are those of `decode`."""
    exponent = constants.device.get("data_exponent")
    if pipeline.steps_before_fit or (exponent is None and "data_divisor" in constants.device):
        # Before the fitted normalizer, a step such as a logarithm has another unit.
        difference = functools.partial(decode_errors, constants=constants, pipeline=pipeline, factor=1.0)
        return ScaledErrors(difference, factor=1 / factor)

    def difference_in_unit(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        offset, divisor = (jnp.reshape(constants.device[name], (1, -1)) for name in ("offset", "divisor"))
        return pipeline.undo_difference(predictions - targets, targets, offset, divisor, jnp)

    return ScaledErrors(difference_in_unit, exponent, 1 / factor)


def check_target_range(constants: Constants, *, pipeline: Pipeline, factor: float) -> None:
    """Raises UserError for a target whose errors float32 can't hold. The arguments are those of `decode`.

    Numbers without a step before the fitted normalizer may have any size; see `scale_errors`.
    """
    if not pipeline.steps_before_fit or not isinstance(constants.device["offset"], np.ndarray):  # or is traced
        return
    center, above = (decode(np.full((1, 1), value), constants, pipeline=pipeline, factor=1.0) for value in (0.0, 1.0))
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(center), np.abs(above))
    wrong = ~((size > FLOAT32_RANGE[0]) & (size < FLOAT32_RANGE[1]))
    if wrong.any():
        found = size[wrong][0]
        raise UserError(
            f"the numbers of the target are about {found / factor:.0e}, and float32 can't hold their errors. "
            f"Set `scale` to about {factor / found:.0e}, which multiplies them first."
        )


def _get_data_constants(device: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    """The offset and the divisor of numbers before they are encoded."""
    offset, divisor = (device.get(f"data_{name}", device[name]) for name in ("offset", "divisor"))
    return jnp.reshape(offset, (1, -1)), jnp.reshape(divisor, (1, -1))


def _get_host_constants(constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """The same in float64."""
    host, device = constants.host, constants.device
    offset, divisor = (
        np.ldexp(np.asarray(device[name], np.float64), host["exponent"]) for name in ("offset", "divisor")
    )
    return offset + host["shift"], divisor
