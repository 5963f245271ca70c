"""The predictions with a run's best weights for a split, saved in its folder for figures and for `mode=look`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner import npz
from runner.data.encode import TARGET

PREDICTIONS_FILE = "answers.npz"


@dataclass(frozen=True, kw_only=True)
class RecordedPredictions:
    """The predictions of a model for a split and one target, with targets and losses.

    Attributes:
        target_name: the name of the target; `target` if the run has one.
        split: the name of the split.
        classes: the names of the classes; None: the target is real-valued.
        row: the rows' numbers in the data, int64 (N,).
        target: the true classes, int32 (N,), labels of 0 and 1, int32 (N, classes), or values, float64 (N, outputs) in
            the target's own unit.
        prediction: the predicted classes, labels or values, with the same dtype and shape.
        probability: the probability of the predicted class, float64 (N,), or of each predicted 0 or 1, float64
            (N, classes); None: the target is real-valued. float32 would round those of confident predictions to 1,
            and the area under the ROC curve depends on their order.
        loss: the loss of each example, float32 (N,).
    """

    target_name: str = TARGET
    split: str
    classes: tuple[str, ...] | None
    row: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray | None
    loss: np.ndarray

    @property
    def is_multilabel(self) -> bool:
        """Whether each row has any number of the classes."""
        return self.classes is not None and self.target.ndim == 2

    @property
    def is_wrong(self) -> np.ndarray:
        """Whether the predicted class, or any of the predicted labels, is wrong, bool (N,)."""
        differs = self.target != self.prediction
        return differs.any(1) if self.is_multilabel else differs

    @property
    def majority(self) -> tuple[str, float] | None:
        """The most common true class and its share of the rows. None: the target has no rows, or not one class each."""
        if self.classes is None or self.is_multilabel or not len(self.target):
            return None
        counts = np.bincount(self.target, minlength=len(self.classes))
        return self.classes[counts.argmax()], float(counts.max() / counts.sum())

    @classmethod
    def from_logits(
        cls,
        split: str,
        classes: tuple[str, ...] | None,
        row: np.ndarray,
        target: np.ndarray,
        logits: np.ndarray,
        loss: np.ndarray,
        target_name: str = TARGET,
    ) -> RecordedPredictions:
        """Converts logits (N, outputs) to predictions; for a real-valued target, the logits are the predictions.

        A model without logits, (N, 0), predicts the first class, with equal probabilities, or no labels. Rows without a
        target are left out.
        """
        is_known = ~np.isnan(target) if classes is None else target >= 0
        if target.ndim == 2:
            is_known = is_known.all(1)
        if not is_known.all():
            row, target, logits, loss = row[is_known], target[is_known], logits[is_known], loss[is_known]
        prediction, probability = logits, None
        if classes is not None and target.ndim == 2:
            logits = logits if logits.shape[1] else np.zeros(target.shape, np.float32)
            prediction = predict_labels(logits).astype(np.int32)
            probabilities = compute_label_probabilities(logits, np.float64)
            probability = np.where(prediction == 1, probabilities, 1 - probabilities)
        elif classes is not None:
            probabilities = compute_probabilities(logits, np.float64)
            prediction = probabilities.argmax(1).astype(np.int32)
            probability = probabilities[np.arange(len(probabilities)), prediction]
        return cls(
            target_name=target_name,
            split=split,
            classes=classes,
            row=row,
            target=target,
            prediction=prediction,
            probability=probability,
            loss=loss,
        )


def compute_probabilities(logits: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """The probabilities (N, …, classes) of logits (N, …, classes), or (N, …, 1) for the second of two.

    Logits that are not finite, as of a diverged network, give NaN.
    """
    if logits.shape[-1] <= 1:
        logits = np.concatenate([np.zeros((*logits.shape[:-1], 1), logits.dtype), logits], axis=-1)
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
        return (powers / powers.sum(-1, keepdims=True)).astype(dtype)


def predict_labels(logits: np.ndarray) -> np.ndarray:
    """Whether each label is predicted, bool (N, classes): whether its probability is above one half."""
    return logits > 0


def compute_label_probabilities(logits: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """The probability of each label (N, classes) of logits (N, classes)."""
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64))).astype(dtype)


def save_predictions(folder: Path, predictions: Sequence[RecordedPredictions]) -> None:
    """Writes the predictions for each target into a run's folder."""
    arrays: dict[str, np.ndarray] = {}
    for each in predictions:
        prefix = "" if each.target_name == TARGET else f"{each.target_name}/"
        arrays |= {f"{prefix}{name}": value for name, value in vars(each).items() if isinstance(value, np.ndarray)}
    classes = {each.target_name: each.classes for each in predictions}
    own = {"classes": classes[TARGET]} if list(classes) == [TARGET] else {"targets": classes}
    metadata = {"split": predictions[0].split, **own}
    npz.write(folder / PREDICTIONS_FILE, arrays, metadata)


def load_predictions(folder: Path) -> list[RecordedPredictions]:
    """Reads the predictions for each target in a run's folder. Raises UserError for a damaged file."""
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        return []
    meta, arrays, _ = npz.read(path)
    with npz.report_as_damaged(path, "file of predictions"):
        targets = meta["targets"] if "targets" in meta else {TARGET: meta["classes"]}
        return [_select_target(name, classes, meta["split"], arrays) for name, classes in targets.items()]


def _select_target(
    name: str, classes: Sequence[Any] | None, split: str, arrays: Mapping[str, np.ndarray]
) -> RecordedPredictions:
    """The predictions for a target, from the arrays of all targets."""
    prefix = "" if name == TARGET else f"{name}/"
    own = {key.removeprefix(prefix): value for key, value in arrays.items() if key.rpartition("/")[0] == prefix[:-1]}
    predictions = RecordedPredictions(
        target_name=name,
        split=split,
        classes=None if classes is None else tuple(map(str, classes)),
        probability=own.pop("probability", None),
        **own,
    )
    if len({len(array) for array in vars(predictions).values() if isinstance(array, np.ndarray)}) != 1:
        raise ValueError("its arrays differ in length")
    return predictions
