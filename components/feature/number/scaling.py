"""Scales numbers on the device. The constants are arguments of the compiled step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.number.pipeline import Pipeline
from components.feature.statistic import OffsetScale
from components.types import Padded

# Distinct values across the scale that are enough to learn from. bfloat16 has fewer between two powers of 2.
MIN_VALUES = 1 << 8


def make_constants(fitted: OffsetScale, divisor_if_constant: float) -> dict[str, np.ndarray]:
    """Makes `offset` and `divisor`, float32, with one number per element of the last axis.

    Numbers whose differences are below the precision of float32 are treated as constant. Dividing by such a scale would
    only magnify rounding errors.

    Args:
        fitted: the fitted offset and scale.
        divisor_if_constant: the divisor of constant numbers, as in TensorFlow Transform.
    """
    float32 = np.finfo(np.float32)
    divisor = np.where(
        fitted.scale > float32.tiny + float32.eps * np.abs(fitted.offset), fitted.scale, divisor_if_constant
    )
    return {"offset": fitted.offset.astype(np.float32), "divisor": divisor.astype(np.float32)}


def exceeds_float32_precision(fitted: OffsetScale) -> np.ndarray:
    """Where numbers are so far from 0 that float32 has fewer than MIN_VALUES values across their scale."""
    return fitted.scale < MIN_VALUES * np.finfo(np.float32).eps * np.abs(fitted.offset)


def scale(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    """(values - offset) / divisor in float32, of `values` (B, …, D) of any type."""
    values = jnp.asarray(encoded["values"], jnp.float32)
    return (values - align(constants["offset"], values)) / align(constants["divisor"], values)


def normalize(
    encoded: Mapping[str, Any], constants: Mapping[str, Any], *, pipeline: Pipeline, factor: float, indicate: bool
) -> Any:
    """Multiplies numbers by a factor and applies a pipeline to them, in float32.

    Args:
        encoded: `values` (B, D), or Padded (B, T, D), and optionally `class` (B,).
        constants: `offset` and `divisor`, with a row for each class if there is `class`; and optionally `missing`, the
            replacement of NaN.
        pipeline: the normalizers.
        factor: multiplies the numbers first.
        indicate: whether to append an element for each number: 1 if the number was NaN, else 0.
    """
    sequence = isinstance(encoded["values"], Padded)
    values = encoded["values"].values if sequence else encoded["values"]
    is_missing = jnp.isnan(values)
    if "missing" in constants:
        values = jnp.where(is_missing, align(constants["missing"], values), values)
    offset, divisor = constants["offset"], constants["divisor"]
    if "class" in encoded:
        offset, divisor = (jnp.asarray(constant)[encoded["class"]] for constant in (offset, divisor))
    values = pipeline(values if factor == 1 else values * factor, align(offset, values), align(divisor, values), jnp)
    if indicate:
        values = jnp.concatenate([values, is_missing.astype(jnp.float32)], axis=-1)
    if not sequence:
        return values
    mask = encoded["values"].mask
    return Padded(jnp.where(mask[..., None], values, 0), mask)


def align(constant: Any, values: jax.Array) -> jax.Array:
    """Reshapes a constant per element (D,), or per example and element (B, D), so that it broadcasts to (B, …, D)."""
    shape = jnp.shape(constant)
    return jnp.reshape(constant, shape[:-1] + (1,) * (values.ndim - len(shape)) + shape[-1:])
