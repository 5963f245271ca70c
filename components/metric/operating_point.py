"""Metrics at the best threshold that meets a condition, such as the precision at a recall of at least 0.9.

All scores of the split are thresholds, so they are exact also where scores are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from components.metric.ranking import AveragePrecision
from components.types import Range


@dataclass(frozen=True, kw_only=True)
class PrecisionAtRecall(AveragePrecision):
    """Highest precision of the thresholds with at least a given recall.

    Of more than two classes, each is ranked against all others by its probability. NaN without a positive.

    Attributes:
        recall: lowest recall.
        average: as in `AveragePrecision`.
        positive: as in `AveragePrecision`.
    """

    recall: Annotated[float, Range(0, 1)]
    _name = "precision_at_recall"

    def compute(self, true_positives: np.ndarray, false_positives: np.ndarray) -> float:
        """The value of one column, from the weights of positives and negatives at or above each score."""
        precision, recall, _ = _rates(true_positives, false_positives)
        return _find_best(precision, recall, self.recall)


@dataclass(frozen=True, kw_only=True)
class RecallAtPrecision(AveragePrecision):
    """Highest recall of the thresholds with at least a given precision; 0 if there is none.

    Of more than two classes, each is ranked against all others by its probability. NaN without a positive.

    Attributes:
        precision: lowest precision.
        average: as in `AveragePrecision`.
        positive: as in `AveragePrecision`.
    """

    precision: Annotated[float, Range(0, 1)]
    _name = "recall_at_precision"

    def compute(self, true_positives: np.ndarray, false_positives: np.ndarray) -> float:
        """The value of one column, from the weights of positives and negatives at or above each score."""
        precision, recall, _ = _rates(true_positives, false_positives)
        return _find_best(recall, precision, self.precision)


@dataclass(frozen=True, kw_only=True)
class SensitivityAtSpecificity(AveragePrecision):
    """Highest sensitivity, or recall, of the thresholds with at least a given specificity.

    Of more than two classes, each is ranked against all others by its probability. NaN without a positive or a
    negative.

    Attributes:
        specificity: lowest specificity.
        average: as in `AveragePrecision`.
        positive: as in `AveragePrecision`.
    """

    specificity: Annotated[float, Range(0, 1)]
    _name = "sensitivity_at_specificity"

    def compute(self, true_positives: np.ndarray, false_positives: np.ndarray) -> float:
        """The value of one column, from the weights of positives and negatives at or above each score."""
        _, sensitivity, specificity = _rates(true_positives, false_positives)
        return _find_best(sensitivity, specificity, self.specificity)


@dataclass(frozen=True, kw_only=True)
class SpecificityAtSensitivity(AveragePrecision):
    """Highest specificity of the thresholds with at least a given sensitivity, or recall.

    Of more than two classes, each is ranked against all others by its probability. NaN without a positive or a
    negative.

    Attributes:
        sensitivity: lowest sensitivity.
        average: as in `AveragePrecision`.
        positive: as in `AveragePrecision`.
    """

    sensitivity: Annotated[float, Range(0, 1)]
    _name = "specificity_at_sensitivity"

    def compute(self, true_positives: np.ndarray, false_positives: np.ndarray) -> float:
        """The value of one column, from the weights of positives and negatives at or above each score."""
        _, sensitivity, specificity = _rates(true_positives, false_positives)
        return _find_best(specificity, sensitivity, self.sensitivity)


def _rates(true_positives: np.ndarray, false_positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and specificity at each threshold, the first of which is above all scores.

    Nothing is predicted there, so the precision is 0. Without positives the recall is NaN, and without negatives the
    specificity.
    """
    positives, negatives = (np.append(0.0, each) for each in (true_positives, false_positives))
    predicted = positives + negatives
    precision = np.divide(positives, predicted, out=np.zeros_like(predicted), where=predicted > 0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return precision, positives / positives[-1], (negatives[-1] - negatives) / negatives[-1]


def _find_best(values: np.ndarray, conditions: np.ndarray, least: float) -> float:
    """The highest value where a condition is met; 0 if it is nowhere met, and NaN where one of the two is undefined."""
    if np.isnan(values).any() or np.isnan(conditions).any():
        return math.nan
    return float(values[conditions >= least].max(initial=0.0))
