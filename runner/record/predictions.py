"""The predictions with a run's best weights for a split, saved in its folder for figures and for `mode=look`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runner import npz

PREDICTIONS_FILE = "answers.npz"


@dataclass(frozen=True, kw_only=True)
class RecordedPredictions:
    """The predictions of a model for a split, with targets and losses.

    Attributes:
        split: the name of the split.
        classes: the names of the classes; None: the target is real-valued.
        row: the rows' numbers in the data, int64 (N,).
        target: the true classes, int32 (N,), or values, float32 (N, outputs) in the target's own unit.
        prediction: the predicted classes or values, with the same dtype and shape.
        probability: the probability of the predicted class, float32 (N,); None: the target is real-valued.
        loss: the loss of each example, float32 (N,).
    """

    split: str
    classes: tuple[str, ...] | None
    row: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray | None
    loss: np.ndarray

    @classmethod
    def from_logits(
        cls,
        split: str,
        classes: tuple[str, ...] | None,
        row: np.ndarray,
        target: np.ndarray,
        logits: np.ndarray,
        loss: np.ndarray,
    ) -> RecordedPredictions:
        """Converts logits (N, outputs) to predictions; for a real-valued target, the logits are the predictions.

        A model without logits, (N, 0), predicts the first class, with equal probabilities.
        """
        prediction, probability = logits, None
        if classes is not None:
            probabilities = compute_probabilities(logits)
            prediction = probabilities.argmax(1).astype(np.int32)
            probability = probabilities[np.arange(len(probabilities)), prediction]
        return cls(
            split=split,
            classes=classes,
            row=row,
            target=target,
            prediction=prediction,
            probability=probability,
            loss=loss,
        )


def compute_probabilities(logits: np.ndarray) -> np.ndarray:
    """The probabilities, float32 (N, classes), of logits (N, classes), or (N, 1) for the second of two classes."""
    if logits.shape[1] <= 1:
        logits = np.concatenate([np.zeros((len(logits), 1), logits.dtype), logits], axis=1)
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def save_predictions(folder: Path, predictions: RecordedPredictions) -> None:
    """Writes predictions into a run's folder."""
    arrays = {name: value for name, value in vars(predictions).items() if isinstance(value, np.ndarray)}
    npz.write(folder / PREDICTIONS_FILE, arrays, {"split": predictions.split, "classes": predictions.classes})


def load_predictions(folder: Path) -> RecordedPredictions | None:
    """Reads the predictions in a run's folder; None: it has none. Raises UserError where they are damaged."""
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        return None
    meta, arrays, _ = npz.read(path)
    with npz.report_as_damaged(path, "file of predictions"):
        classes = meta["classes"] and tuple(map(str, meta["classes"]))
        predictions = RecordedPredictions(
            split=meta["split"], classes=classes, probability=arrays.pop("probability", None), **arrays
        )
        lengths = {len(array) for array in vars(predictions).values() if isinstance(array, np.ndarray)}
        if len(lengths) != 1:
            raise ValueError("its arrays differ in length")
        return predictions
