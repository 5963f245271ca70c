"""What a model predicts, an example a row, in the form that tables take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runner.record.predictions import probabilities


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of a run's best weights.

    Attributes:
        classes: the classes, in the type that the data has them in; None: the target is real-valued.
        row: the rows' numbers in the data, int64 (N,); of new rows from 0.
        target: what is right, in the form of `prediction`; None where it is not known.
        prediction: classes (N,): text, integers or booleans; or float32 (N,) or (N, outputs), in its own unit.
        probabilities: float32 (N, classes); None where the target is real-valued.
    """

    classes: tuple[str | int | bool, ...] | None
    row: np.ndarray
    target: np.ndarray | None
    prediction: np.ndarray
    probabilities: np.ndarray | None

    def columns(self) -> dict[str, np.ndarray]:
        """The columns of a table, each (N,): several outputs are numbered, probabilities named by their class."""
        found = {"row": self.row}
        if self.target is not None:
            found |= _columns("target", self.target)
        found |= _columns("prediction", self.prediction)
        if self.classes is not None and self.probabilities is not None:
            names = (f"probability_{name}" for name in self.classes)
            found |= dict(zip(names, self.probabilities.T, strict=True))
        return found


def make_predictions(
    classes: tuple[str | int | bool, ...] | None, row: np.ndarray, logits: np.ndarray, target: np.ndarray | None = None
) -> Predictions:
    """Predictions from logits (N, outputs), which of a real-valued target are numbers in its own unit.

    `target` holds numbers of classes, int32 (N,), or float32 (N, outputs).
    """
    if classes is None:
        right = None if target is None else _lone(target)
        return Predictions(classes=None, row=row, target=right, prediction=_lone(logits), probabilities=None)
    shares = probabilities(logits)
    names = np.array(classes)
    right = None if target is None else names[target]
    return Predictions(classes=classes, row=row, target=right, prediction=names[shares.argmax(1)], probabilities=shares)


def _lone(values: np.ndarray) -> np.ndarray:
    """(N, outputs); of a single output (N,)."""
    return values[:, 0] if values.shape[1] == 1 else values


def _columns(name: str, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if values.ndim == 1:
        yield name, values
    else:
        yield from ((f"{name}_{number}", column) for number, column in enumerate(values.T))
