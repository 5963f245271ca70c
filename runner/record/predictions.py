"""What a run's best weights say of the examples of a split, kept in its folder for figures and for later looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runner import npz

FILE = "answers.npz"


@dataclass(frozen=True, kw_only=True)
class RecordedPredictions:
    """The answers of a model, an example a row.

    Attributes:
        split: whose rows they are.
        classes: the names of the classes; None: the target is real-valued.
        row: the rows' numbers in the data, int64 (N,).
        target: what is right: int32 (N,) of classes, float32 (N, outputs) in the target's own unit.
        prediction: what the model says, in the same form.
        probability: float32 (N,), of the class that it says; None where the target is real-valued.
        loss: float32 (N,).
    """

    split: str
    classes: tuple[str, ...] | None
    row: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray | None
    loss: np.ndarray


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logits (N, classes), or a lone one (N, 1) of the second of two classes, as probabilities (N, classes)."""
    nothing = np.zeros((len(logits), 1), logits.dtype)
    scores = logits if logits.shape[1] > 1 else np.concatenate([nothing, logits], axis=1)
    powers = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def make_recorded(
    split: str,
    classes: tuple[str, ...] | None,
    row: np.ndarray,
    target: np.ndarray,
    logits: np.ndarray,
    loss: np.ndarray,
) -> RecordedPredictions:
    """Answers from logits (N, outputs); of a real-valued target they are the predictions.

    A model without logits, (N, 0), says the first class, as likely as any.
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
    """Writes them into a run's folder."""
    arrays = {name: value for name, value in vars(kept).items() if isinstance(value, np.ndarray)}
    npz.write(folder / FILE, arrays, {"split": kept.split, "classes": kept.classes})


def load_predictions(folder: Path) -> RecordedPredictions | None:
    """Those of a run's folder; None where it has none. Raises UserError where they are damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    meta, arrays, _ = npz.read(path)
    with npz.unpacked(path, "file of answers"):
        classes = meta["classes"] and tuple(map(str, meta["classes"]))
        found = RecordedPredictions(
            split=meta["split"], classes=classes, probability=arrays.pop("probability", None), **arrays
        )
        if len({len(array) for array in vars(found).values() if isinstance(array, np.ndarray)}) != 1:
            raise ValueError("its arrays are not of one length")
        return found
