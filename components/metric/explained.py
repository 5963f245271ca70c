"""Metrics of how well predictions follow real-valued targets. They need all rows of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import require_logits, require_real, row_weights
from components.metric.regression import PLAIN, compute_errors
from components.types import Batch, Output, ScaledErrors, TargetSpec, UserError, bind_fields


@dataclass(frozen=True)
class R2:
    """Coefficient of determination: 1 - sum of squared errors / sum of squared deviations of the target from its mean.

    It is the mean over the outputs. An output that is the same in all examples of the split has the value 0, or 1 if
    each prediction is right. It needs all rows, because float32 sums lose the deviations of a target far from 0.

    References:
        Draper and Smith, 1998: Applied regression analysis.
    """

    errors: ScaledErrors = field(default=PLAIN, init=False)  # of the target
    target_kinds = ("numbers",)
    higher_is_better = True
    collects = True
    _name = "r2"
    _rows = "error", "distance"  # what `measure` returns, beside the weight

    def bind(self, target: TargetSpec) -> Self:
        """Returns a copy that undoes the scaling of the target; raises UserError for images or classes."""
        if require_real(self._name, target).is_image:
            raise UserError(
                f"{self._name} keeps each number of the target, too many for images {target.shape}. Choose rmse."
            )
        return bind_fields(self, errors=target.scaled_errors)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the error (B, outputs), the distance from what is encoded as 0 (B, outputs), and the weight (B,).

        For a target of several positions, the weight is (B, outputs), since each of them may be missing by itself.

        The unit of each output is its own. It doesn't matter, as the result is a mean of ratios.
        """
        error = compute_errors(self._name, self.errors, output, batch)
        target = batch.target.astype(jnp.float32)
        distance = self.errors.difference(target, jnp.zeros_like(target))
        return {"error": error, "distance": distance, "weight": _number_weights(batch)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a number up to 1, or NaN if it is undefined."""
        weights = sums["weight"]
        if weights.ndim == 1:
            weights = np.broadcast_to(weights[:, None], sums[self._rows[0]].shape)
        values = []
        for *numbers, weight in zip(*(sums[name].T for name in self._rows), weights.T, strict=True):
            values.append(self.compute(*(np.asarray(each[weight > 0], np.float64) for each in (*numbers, weight))))
        return float(np.mean(values))

    def compute(self, error: np.ndarray, distance: np.ndarray, weight: np.ndarray) -> float:
        """The value of one output, from its errors, distances and weights, float64 (N,); NaN for fewer than two."""
        if len(weight) < 2:
            return math.nan
        distance = distance - distance[0]  # exactly 0 if all are equal
        residual = weight @ error**2
        if not distance.any():
            return float(residual == 0)
        return float(1 - residual / (weight @ (distance - np.average(distance, weights=weight)) ** 2))

    def explain_undefined(self, target: np.ndarray) -> str | None:
        """Returns what is wrong with the target of a split if the result is NaN whatever the predictions are."""
        return "fewer than two numbers" if len(target) < 2 else None


@dataclass(frozen=True)
class Spearman(R2):
    """Spearman's rank correlation of predictions and target, the mean over the outputs.

    Equal numbers have the mean of their ranks. An output with equal predictions in all examples has the value 0. NaN
    if the target is the same in all examples.

    References:
        Spearman, 1904: The proof and measurement of association between two things.
    """

    _name = "spearman"
    _rows = "prediction", "target"

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the prediction and the target as they are encoded, (B, outputs), and the weight as in `R2`."""
        error = compute_errors(self._name, self.errors, output, batch)
        predictions = require_logits(self._name, output).astype(error.dtype)
        return {"prediction": predictions, "target": batch.target, "weight": _number_weights(batch)}

    def compute(self, prediction: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """The value of one output, from its predictions, targets and weights, float64 (N,)."""
        if np.isnan(prediction).any() or len(np.unique(target)) < 2:
            return math.nan
        predicted, true = (_rank(each, weight) for each in (prediction, target))
        predicted, true = (each - np.average(each, weights=weight) for each in (predicted, true))
        size = math.sqrt((weight @ predicted**2) * (weight @ true**2))
        return float((weight * predicted) @ true / size) if size > 0 else 0.0

    def explain_undefined(self, target: np.ndarray) -> str | None:
        """Returns what is wrong with the target of a split if the result is NaN whatever the predictions are."""
        if (target == target[:1]).all(0).any():
            return "fewer than two numbers" if len(target) < 2 else "the same number in every row"
        return None


def _number_weights(batch: Batch) -> jax.Array:
    """The weights of the examples, (B,); of a target of several positions, those of its numbers, (B, outputs)."""
    weight = row_weights(batch)
    return weight if weight.ndim == 1 else jnp.repeat(weight, batch.target.shape[1] // weight.shape[1], axis=1)


def _rank(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The ranks of numbers up to a constant, each of which counts as often as its weight."""
    _, position = np.unique(values, return_inverse=True)
    total = np.bincount(position, weight)
    return (np.cumsum(total) - total / 2)[position]
