"""The device half of numbers: shifted and divided, by constants that are arguments of the compiled step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.number.pipeline import Pipeline
from components.feature.statistic import OffsetScale
from components.types import Padded

STEPS = 1 << 8  # as many as bfloat16 tells numbers apart by: blurred by less, they are as good to learn from


def make_constants(fitted: OffsetScale, unit: float) -> dict[str, np.ndarray]:
    """What is subtracted and divided by, float32, an element of the last axis each.

    Numbers that float32 can't tell apart are constant, and dividing would only blow up rounding: they are
    shifted, as in TensorFlow Transform, and divided by `unit`.
    """
    float32 = np.finfo(np.float32)
    divisor = np.where(fitted.width > float32.tiny + float32.eps * np.abs(fitted.offset), fitted.width, unit)
    return {"offset": fitted.offset.astype(np.float32), "divisor": divisor.astype(np.float32)}


def is_blurred(fitted: OffsetScale) -> np.ndarray:
    """Where numbers lie so far from 0 that float32 has fewer than STEPS steps across their width."""
    return fitted.width < STEPS * np.finfo(np.float32).eps * np.abs(fitted.offset)


def scale(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    """`values` (B, …, D) of any type -> float32, (values - offset) / divisor."""
    values = jnp.asarray(encoded["values"], jnp.float32)
    return (values - align(constants["offset"], values)) / align(constants["divisor"], values)


def normalize(
    encoded: Mapping[str, Any], constants: Mapping[str, Any], *, pipeline: Pipeline, factor: float, indicate: bool
) -> Any:
    """`values` (B, D), or Padded (B, T, D), times the factor and through the chain: float32.

    Where there is a constant `missing`, it takes the place of NaN, which an element more indicates if wished; where
    there is an encoded `class` (B,), the constants of the chain have a row for each.
    """
    sequence = isinstance(encoded["values"], Padded)
    values = encoded["values"].values if sequence else encoded["values"]
    gaps = jnp.isnan(values)
    if "missing" in constants:
        values = jnp.where(gaps, align(constants["missing"], values), values)
    offset, divisor = constants["offset"], constants["divisor"]
    if "class" in encoded:
        offset, divisor = (jnp.asarray(one)[encoded["class"]] for one in (offset, divisor))
    values = pipeline(values if factor == 1 else values * factor, align(offset, values), align(divisor, values), jnp)
    if indicate:
        values = jnp.concatenate([values, gaps.astype(jnp.float32)], axis=-1)
    if not sequence:
        return values
    mask = encoded["values"].mask
    return Padded(jnp.where(mask[..., None], values, 0), mask)


def align(constant: Any, values: jax.Array) -> jax.Array:
    """A constant of each element (D,), or of each example and element (B, D), as one beside `values` (B, …, D)."""
    shape = jnp.shape(constant)
    return jnp.reshape(constant, (*shape[:-1], *(1,) * (values.ndim - len(shape)), shape[-1]))
