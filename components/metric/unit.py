"""Metrics of real-valued targets that depend on the unit of the data, and are not proportional to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import count_examples, require_real, sum_elements
from components.metric.regression import PLAIN, compute_errors, mean_outputs
from components.types import Batch, Output, ScaledErrors, TargetSpec, UserError, bind_fields

RESOLUTION = 2.0**-21  # of a normalized number in float32, after a few operations


@dataclass(frozen=True)
class LogCosh:
    """Mean of log(cosh(error)) over examples and outputs, with the error in the unit of the target.

    It is near error^2 / 2 for small errors, and near |error| - log 2 for large ones.
    """

    errors: ScaledErrors = field(default=PLAIN, init=False)  # of the target
    decode: Callable[[Any], Any] = field(default=jnp.asarray, init=False)  # of the target
    target_kinds = ("numbers", "images")
    higher_is_better = False
    collects = False
    _name = "log_cosh"

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy that undoes the scaling of the target; raises UserError for a target with classes."""
        spec = require_real(self._name, target)
        return bind_fields(self, errors=spec.scaled_errors, decode=spec.decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their values."""
        size = jnp.abs(self._errors(output, batch))
        # Near 0, the second formula would lose all digits. Far from 0, the first one would overflow.
        small = jnp.log1p(2 * jnp.square(jnp.sinh(jnp.minimum(size, 1) / 2)))
        return self._sum(jnp.where(size < 1, small, size + jnp.log1p(jnp.exp(-2 * size)) - math.log(2)), batch)

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the mean."""
        return float(sums["value"] / sums["examples"])

    def _errors(self, output: Output, batch: Batch) -> jax.Array:
        """The errors in the unit of the data, (B, …, outputs)."""
        errors = compute_errors(self._name, self.errors, output, batch)
        if self.errors.exponent is not None:
            errors = jnp.ldexp(errors, jnp.broadcast_to(self.errors.exponent, errors.shape))
        return errors * self.errors.factor

    def _sum(self, values: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        return {"value": sum_elements(mean_outputs(values, batch), batch), "examples": count_examples(batch)}


@dataclass(frozen=True)
class MAPE(LogCosh):
    """Mean absolute percentage error, |error| / |target| over examples and outputs, as a share: 0.1 is 10 %.

    NaN if a target is 0, as far as float32 can tell; choose mae then.

    References:
        de Myttenaere et al., 2016: Mean absolute percentage error for regression models.
    """

    _name = "mape"

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy for the target; raises UserError for one with classes, or of numbers beyond float32."""
        bound = super().bind(target)
        sizes = [jnp.abs(bound.decode(jnp.full((1, target.outputs), each, jnp.float32))) for each in (0.0, 1.0)]
        size = jnp.maximum(*sizes)  # near the center of the target; without values while the program is traced
        if not isinstance(size, jax.core.Tracer) and not (jnp.isfinite(size) & (size > 0)).all():
            raise UserError(
                f"{self._name} needs numbers that float32 can hold, from 1e-38 to 1e38, and those of the target are "
                "beyond. Set `scale` of the target, which multiplies them first, or choose mae."
            )
        return bound

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, the sum of their values, and the number with a target of 0."""
        target = self._decode_targets(batch)
        values = jnp.abs(self._errors(output, batch)) / jnp.where(target == 0, 1, jnp.abs(target))
        return self._sum(values, batch) | {"undefined": self._count(target == 0, batch)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error, 0 or more; NaN if it is undefined."""
        return math.nan if sums["undefined"] > 0 else super().result(sums)

    def explain_undefined(self, target: np.ndarray) -> str | None:
        """Returns what is wrong with the target of a split if the result is NaN whatever the predictions are."""
        return "numbers that are 0" if self._is_near_0(target).any() else None

    def _decode_targets(self, batch: Batch) -> jax.Array:
        """The target in the unit of the data: exactly 0 where float32 can't tell it from 0."""
        encoded = batch.target.astype(jnp.float32)
        below, above = (jnp.sign(self.decode(encoded * factor)) for factor in (1 - RESOLUTION, 1 + RESOLUTION))
        return jnp.where(below * above > 0, self.decode(encoded), 0)

    def _is_near_0(self, target: np.ndarray) -> np.ndarray:
        """The same for targets that are decoded, (N, outputs), if they can be 0: a logarithm's never are."""
        lowest = self.decode(jnp.full((1, target.shape[-1]), -1e6, jnp.float32))
        near = np.abs(target) <= RESOLUTION * np.abs(target).max(0, initial=0)
        return np.asarray(near & (np.asarray(lowest) < 0))

    def _count(self, is_wrong: jax.Array, batch: Batch) -> jax.Array:
        """The number of elements with such a number."""
        return sum_elements(mean_outputs(is_wrong.astype(jnp.float32), batch) > 0, batch)


@dataclass(frozen=True)
class PoissonDeviance(MAPE):
    """Mean deviance of a Poisson distribution: 2 * (y * log(y / p) - y + p) for the target y and the prediction p.

    Infinite if a prediction is not above 0; a target that is normalized by a logarithm has none of these. NaN if a
    target is below 0.

    References:
        McCullagh and Nelder, 1989: Generalized linear models.
    """

    _name = "poisson_deviance"

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, the sum of their values, and the number of targets below 0."""
        target = self._decode_targets(batch)
        predictions = target + self._errors(output, batch)
        is_possible = (predictions > 0) & (target >= 0)
        ratio = jnp.where(is_possible & (target > 0), target, 1) / jnp.where(is_possible & (target > 0), predictions, 1)
        values = 2 * (target * jnp.log(ratio) - target + predictions)
        values = jnp.where(is_possible | jnp.isnan(predictions), jnp.maximum(values, 0), jnp.inf)
        return self._sum(values, batch) | {"undefined": self._count(target < 0, batch)}

    def explain_undefined(self, target: np.ndarray) -> str | None:
        """Returns what is wrong with the target of a split if the result is NaN whatever the predictions are."""
        return "numbers below 0" if ((target < 0) & ~self._is_near_0(target)).any() else None
