"""Temperature scaling: one number divides all logits, so that probabilities are as frequent as they say.

References:
    Guo et al., 2017: On calibration of modern neural networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.types import UserError
from runner.program.model import CALIBRATION
from runner.program.objective import ExampleOutputs
from runner.training.evaluator import Evaluator

SPLIT = "valid"  # whose rows the temperature is fitted on
BOUNDS = (0.01, 100.0)  # of temperatures; one at a bound has no finite optimum
PIECE = 4096  # rows that are computed at once in float64


def fit_temperatures(evaluator: Evaluator, outputs: ExampleOutputs) -> dict[str, float]:
    """The temperature of each target of classes, by its name.

    Args:
        evaluator: evaluates the run.
        outputs: the outputs for the validation split with temperature 1.

    Raises:
        UserError: no row of the split has a class.
    """
    targets = evaluator.compute_targets(SPLIT, outputs.batch)
    found = {}
    for name in sorted(evaluator.parts.model.calibrated):
        is_known = targets[name].reshape(len(targets[name]), -1).min(1) >= 0
        if not is_known.any():
            raise UserError(f"calibrate: no row of the {SPLIT} split has a class. Set calibrate=null.")
        found[name] = fit_temperature(outputs.logits[name][is_known], targets[name][is_known])
    return found


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The temperature T with the lowest mean cross-entropy of logits / T, between `BOUNDS`.

    The cross-entropy is convex in 1 / T, so its slope has one zero at most.

    Args:
        logits: (N, classes); (N, 1): those of the second of two classes, or with labels of each one.
        target: class ids, int (N,), or labels of 0 and 1, int (N, classes).
    """
    if target.ndim > 1 or logits.shape[-1] == 1:
        # Each label is one of two classes, whose logits are 0 and that of the label.
        target, logits = target.reshape(-1), np.stack([np.zeros(logits.size, logits.dtype), logits.reshape(-1)], 1)

    def slope(log_temperature: float) -> float:
        return _slope(logits, target, float(np.exp(-log_temperature)))

    low, high = np.log(BOUNDS)
    if slope(low) >= 0:  # even the largest factor of the logits is too small: they separate the classes
        return BOUNDS[0]
    if slope(high) <= 0:
        return BOUNDS[1]
    from scipy.optimize import brentq  # the import takes 0.8 s, and few runs calibrate

    return float(np.exp(brentq(slope, low, high, xtol=1e-7)))


def _slope(logits: np.ndarray, target: np.ndarray, factor: float) -> float:
    """The negative slope of the mean cross-entropy of logits * factor in the factor: it grows with the temperature."""
    total = 0.0
    for start in range(0, len(logits), PIECE):
        piece = logits[start : start + PIECE].astype(np.float64)
        piece -= piece.max(1, keepdims=True)
        weights = np.exp(piece * factor)
        expected = (weights * piece).sum(1) / weights.sum(1)
        total += float((np.take_along_axis(piece, target[start : start + PIECE, None], 1)[:, 0] - expected).sum())
    return total / len(logits)


def set_temperatures(model_state: Mapping[str, Any], temperatures: Mapping[str, float]) -> dict[str, Any]:
    """The model's state with other temperatures. The others, and a state without any, stay as they are."""
    known = model_state.get(CALIBRATION, {})
    new = {name: np.float32(value) for name, value in temperatures.items() if name in known}
    return {**model_state, CALIBRATION: {**known, **new}} if known else dict(model_state)
