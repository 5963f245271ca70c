"""Metrics of real-valued targets, in the unit of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import count_examples, require_logits, require_real, sum_elements
from components.types import Batch, Output, Range, ScaledErrors, TargetSpec, UserError, bind_fields

PLAIN = ScaledErrors(jnp.subtract)
LOWEST_EXPONENT = -300  # of a unit, in the largest one: float32 has no smaller number


@dataclass(frozen=True)
class MAE:
    """Mean absolute error over examples and outputs, in the unit of the target."""

    errors: ScaledErrors = field(default=PLAIN, init=False)  # of the target
    target_kinds = ("numbers", "images")
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> MAE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return bind_fields(self, errors=require_real("mae", target).scaled_errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sums of their absolute errors, by size."""
        return _sum_powers(compute_errors("mae", self.errors, output, batch), self.errors, 1, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return _convert(_total(sums, 1) / float(sums["examples"]), self.errors)


@dataclass(frozen=True)
class RMSE:
    """Root mean squared error over examples and outputs, in the unit of the target."""

    errors: ScaledErrors = field(default=PLAIN, init=False)  # of the target
    target_kinds = ("numbers", "images")
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> RMSE:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return bind_fields(self, errors=require_real("rmse", target).scaled_errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sums of their squared errors, by size."""
        return _sum_powers(compute_errors("rmse", self.errors, output, batch), self.errors, 2, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more."""
        return _convert(math.sqrt(_total(sums, 2) / float(sums["examples"])), self.errors)


@dataclass(frozen=True, kw_only=True)
class QuantileLoss:
    """Mean quantile loss, or pinball loss, over examples and outputs, in the unit of the target.

    quantile * error where the prediction is too low, and (1 - quantile) * error where it is too high.

    Attributes:
        quantile: the quantile of the target that the predictions are meant to be, in (0, 1). With 0.5, it is half the
            mean absolute error.

    References:
        Koenker and Bassett, 1978: Regression quantiles.
    """

    quantile: Annotated[float, Range(0, 1, "()")]
    errors: ScaledErrors = field(default=PLAIN, init=False)  # of the target
    target_kinds = ("numbers", "images")
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> QuantileLoss:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        return bind_fields(self, errors=require_real("quantile_loss", target).scaled_errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sums of their losses, by size."""
        errors = compute_errors("quantile_loss", self.errors, output, batch)
        losses = errors * jnp.where(errors > 0, 1 - self.quantile, self.quantile)
        return _sum_powers(losses, self.errors, 1, batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a loss, 0 or more."""
        return _convert(_total(sums, 1) / float(sums["examples"]), self.errors)


def compute_errors(metric: str, errors: ScaledErrors, output: Output, batch: Batch) -> jax.Array:
    """Returns the errors (B, …, outputs). For a real-valued target, the logits are the scaled predictions."""
    predictions, target = require_logits(metric, output), batch.target
    if predictions.shape != target.shape or not jnp.issubdtype(target.dtype, jnp.floating):
        raise UserError(
            f"{metric} needs a target of floats {predictions.shape}, the shape of the predictions, got {target.dtype} "
            f"{target.shape}."
        )
    return errors.difference(predictions.astype(jnp.float32), target.astype(jnp.float32))


SCALES = {"error": 0, "large_error": -96, "small_error": 96}
"""The exponents of the powers of two that scale errors before they are squared or added, by the name of their sum."""


def _sum_powers(errors: jax.Array, unit: ScaledErrors, power: int, batch: Batch) -> Mapping[str, jax.Array]:
    """Sums the powers of errors (B, …, outputs) in float32, which can't hold the square of 1e30.

    The errors of all outputs get the largest unit of an output. `_convert` converts the result to the unit of the data.

    Like `dnrm2` of LAPACK, it sums ordinary, large and small errors apart, scaled so that no power overflows or
    underflows (Blue, 1978: A portable Fortran program to find the Euclidean norm of a vector). `_total` adds the three.
    """
    size = jnp.abs(errors)
    if unit.exponent is not None and len(unit.exponent) > 1:
        relative = jnp.maximum(unit.exponent - jnp.max(unit.exponent), LOWEST_EXPONENT)
        size = jnp.ldexp(size, jnp.broadcast_to(relative, size.shape))
    is_large, is_small = size >= 2.0**50, size < 2.0**-50
    chosen = {"error": ~is_large & ~is_small, "large_error": is_large, "small_error": is_small}
    sums = {}
    for name, exponent in SCALES.items():
        scaled = jnp.where(chosen[name], size * 2.0**exponent, 0)
        sums[name] = sum_elements(mean_outputs(scaled**power, batch), batch)
    return {**sums, "examples": count_examples(batch)}


def _total(sums: Mapping[str, np.ndarray], power: int) -> float:
    """The sum of the powers, from the sums of `_sum_powers`. Checkpoints of earlier versions have `error` only."""
    exponents = {name: exponent for name, exponent in SCALES.items() if name in sums}
    return sum(float(sums[name]) * 2.0 ** (-power * exponent) for name, exponent in exponents.items())


def _convert(value: float, unit: ScaledErrors) -> float:
    """Converts an error from the largest unit of an output to the unit of the data."""
    if unit.exponent is None:
        return value * unit.factor
    with np.errstate(over="ignore"):
        return float(np.ldexp(np.float64(value), int(np.max(unit.exponent))) * unit.factor)


def mean_outputs(values: jax.Array, batch: Batch) -> jax.Array:
    """The means over the outputs of each element, in the shape of the mask: (B,), or (B, positions)."""
    if batch.mask.ndim > 1:
        values = values.reshape(*batch.mask.shape, -1)
    return values.mean(tuple(range(batch.mask.ndim, values.ndim)))
