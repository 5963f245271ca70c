"""The device half of numbers: shifted and divided, by constants that are arguments of the compiled step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.statistic import Spread


def constants(spread: Spread, unit: float) -> dict[str, np.ndarray]:
    """What `scale` subtracts and divides by, float32, an element of the last axis each.

    Numbers that float32 can't tell apart are constant, and dividing would only blow up rounding: they are
    shifted, as in TensorFlow Transform, and divided by `unit`.
    """
    float32 = np.finfo(np.float32)
    divisor = np.where(spread.width > float32.tiny + float32.eps * np.abs(spread.offset), spread.width, unit)
    return {"offset": spread.offset.astype(np.float32), "divisor": divisor.astype(np.float32)}


def scale(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    """`values` (B, …, D) of any type -> float32, (values - offset) / divisor."""
    values = jnp.asarray(encoded["values"], jnp.float32)
    return (values - _along(constants["offset"], values)) / _along(constants["divisor"], values)


def unscale(values: jax.Array, constants: Mapping[str, Any]) -> jax.Array:
    """The inverse of `scale`."""
    return values * _along(constants["divisor"], values) + _along(constants["offset"], values)


def _along(constant: Any, values: jax.Array) -> jax.Array:
    return jnp.reshape(constant, (1,) * (values.ndim - 1) + (-1,))
