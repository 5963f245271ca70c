"""The predictions of a run's best weights for a split, kept in its folder for figures and for `mode=look`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runner import npz

FILE = "answers.npz"


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


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The probabilities (N, classes) of logits (N, classes), or (N, 1) for the second of two classes."""
    zeros = np.zeros((len(logits), 1), logits.dtype)
    scores = logits if logits.shape[1] > 1 else np.concatenate([zeros, logits], axis=1)
    powers = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def make_recorded_predictions(
    split: str,
    classes: tuple[str, ...] | None,
    row: np.ndarray,
    target: np.ndarray,
    logits: np.ndarray,
    loss: np.ndarray,
) -> RecordedPredictions:
    """Predictions from logits (N, outputs), which are the predicted values where the target is real-valued.

    A model without logits, (N, 0), predicts the first class, with equal probabilities.
    """
    if classes is None:
        return RecordedPredictions(
            split=split, classes=None, row=row, target=target, prediction=logits, probability=None, loss=loss
        )
    shares = probabilities(logits)
    prediction = shares.argmax(1).astype(np.int32)
    probability = shares[np.arange(len(shares)), prediction]
    return RecordedPredictions(
        split=split,
        classes=classes,
        row=row,
        target=target,
        prediction=prediction,
        probability=probability,
        loss=loss,
    )


def save_predictions(folder: Path, kept: RecordedPredictions) -> None:
    """Writes predictions into a run's folder."""
    arrays = {name: value for name, value in vars(kept).items() if isinstance(value, np.ndarray)}
    npz.write(folder / FILE, arrays, {"split": kept.split, "classes": kept.classes})


def load_predictions(folder: Path) -> RecordedPredictions | None:
    """Reads the predictions in a run's folder; None where it has none. Raises UserError where they are damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    meta, arrays, _ = npz.read(path)
    with npz.report_as_damaged(path, "file of answers"):
        classes = meta["classes"] and tuple(map(str, meta["classes"]))
        found = RecordedPredictions(
            split=meta["split"], classes=classes, probability=arrays.pop("probability", None), **arrays
        )
        if len({len(array) for array in vars(found).values() if isinstance(array, np.ndarray)}) != 1:
            raise ValueError("its arrays differ in length")
        return found
