"""Encodes numbers in float32 on the host, and normalizes them on the device or on the host.

float32 keeps 24 bits and has a range of 1e-38 to 1e38. Near 1.6e9 its spacing is 128, so that one second can't be told
from the next. The host therefore subtracts a number near the offset of the normalizer, in float64, before the cast. If
the scale of the normalizer is far from 1, the host also multiplies by a power of 2. Both are rounded coarsely: the
folds of a cross-validation, whose offsets and scales differ a little, mostly share one encoding. The device does the
rest with constants of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.normalizer import is_constant
from components.feature.number.pipeline import Pipeline
from components.feature.statistic import OffsetScale
from components.types import Padded

FLOAT64_MAX_EXPONENT = 1023
SHIFT_BITS = 4  # a shift is a multiple of at least 2^4 scales, so that offsets below 8 scales need no shift
UNIT_BITS = 64  # units are powers of 2^64, so that scales between 2^-32 and 2^32 need no unit


class NumberEncoding(NamedTuple):
    """How numbers x are encoded in float32: (x - shift) / 2^exponent. One per element of the last axis.

    Attributes:
        shift: float64.
        exponent: int32.
    """

    shift: np.ndarray
    exponent: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Encodes numbers in float64. `values` has the shape of `shift`, or more axes in front of it."""
        if self.shift.any():
            values = values - self.shift
        if self.exponent.any():
            with np.errstate(over="ignore"):
                values = np.ldexp(values, -self.exponent)
        return values

    @property
    def is_identity(self) -> bool:
        """Whether numbers stay as they are."""
        return not (self.shift.any() or self.exponent.any())

    def of_rows(self, classes: np.ndarray) -> NumberEncoding:
        """The encoding of each row, (rows, D), if there is one for each class. `classes` are their positions."""
        return NumberEncoding(self.shift[classes], self.exponent[classes])


def choose_encoding(offset: np.ndarray, divisor: np.ndarray) -> NumberEncoding:
    """Chooses the encoding for a normalizer (x - offset) / divisor. All divisors are above 0.

    Encoded numbers are at most 32 divisors from the offset, so that rounding to float32 changes a normalized number by
    at most 4e-6.
    """
    _, bits = np.frexp(divisor)  # the divisor is at least 2^(bits - 1), and below 2^bits
    even_bits = bits + bits % 2  # coarser than `bits`, so that similar divisors have the same spacing
    spacing = np.ldexp(1.0, np.minimum(even_bits + SHIFT_BITS, FLOAT64_MAX_EXPONENT))
    exponent = UNIT_BITS * np.round(bits / UNIT_BITS)
    return NumberEncoding(spacing * np.round(offset / spacing), exponent.astype(np.int32))


def get_encoding(host: Mapping[str, np.ndarray], classes: np.ndarray | None = None) -> NumberEncoding:
    """The encoding among the constants of a column, (D,); or with classes that of each row, (rows, D)."""
    encoding = NumberEncoding(host["shift"], host["exponent"])
    return encoding if classes is None else encoding.of_rows(classes)


def find_divisor(fitted: OffsetScale, if_constant: float = 1.0) -> np.ndarray:
    """The divisor of numbers: their scale, or another number if they are constant, as in TensorFlow Transform."""
    return np.where(is_constant(fitted), if_constant, fitted.scale)


def to_float32(values: np.ndarray) -> np.ndarray:
    """Converts numbers to float32. Those beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def normalize(values: Any, constants: Mapping[str, Any], pipeline: Pipeline, xp: Any, classes: Any = None) -> Any:
    """Replaces missing numbers, and applies a pipeline from its fitted normalizer on.

    Args:
        values: encoded numbers (B, …, D), NaN if missing.
        constants: `offset`, `divisor`, and optionally `missing`, the replacement of missing numbers. All are in the
            unit of the encoded numbers, (D,), or (1 + classes, D).
        pipeline: the normalizers.
        xp: the library of the arrays: NumPy, or `jax.numpy`, which computes in float32.
        classes: the row of the constants for each example, (B,). None: they have one row.
    """
    own = {name: xp.asarray(constants[name]) for name in ("offset", "divisor", "missing") if name in constants}
    if classes is not None:
        own = {name: constant[classes] for name, constant in own.items()}
    if "missing" in own:
        values = xp.where(xp.isnan(values), align(own["missing"], values), values)
    return pipeline.apply_fitted(values, align(own["offset"], values), align(own["divisor"], values), xp)


def normalize_encoded(
    encoded: Mapping[str, Any], constants: Mapping[str, Any], *, pipeline: Pipeline, indicate: bool
) -> Any:
    """Normalizes encoded numbers on the device, in float32.

    Args:
        encoded: `values` (B, D), or Padded (B, T, D), also nested, and optionally `class` (B,), the row of the
            constants.
        constants: as in `normalize`.
        pipeline: the normalizers.
        indicate: whether to append an element for each number: 1 if the number was NaN, else 0.
    """
    values = encoded["values"]
    if isinstance(values, Padded):
        normalized = normalize_encoded({"values": values.values}, constants, pipeline=pipeline, indicate=indicate)
        is_nested = isinstance(normalized, Padded)
        return Padded(normalized if is_nested else jnp.where(values.mask[..., None], normalized, 0), values.mask)
    normalized = normalize(values, constants, pipeline, jnp, encoded.get("class"))
    if indicate:
        normalized = jnp.concatenate([normalized, jnp.isnan(values).astype(jnp.float32)], axis=-1)
    return normalized


def scale(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    """(values - offset) / divisor in float32, of `values` (B, …, D) of any type."""
    values = jnp.asarray(encoded["values"], jnp.float32)
    offset, divisor = (align(jnp.asarray(constants[name]), values) for name in ("offset", "divisor"))
    return (values - offset) / divisor


def align(constant: Any, values: Any) -> Any:
    """Reshapes a constant per element (D,), or per example and element (B, D), so that it broadcasts to (B, …, D)."""
    shape = constant.shape
    return constant.reshape(shape[:-1] + (1,) * (values.ndim - len(shape)) + shape[-1:])
