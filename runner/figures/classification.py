"""Figures of predicted classes or labels: confusion, metrics of each class, confidence, calibration, ROC and PR."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.figures.canvas import (
    describe_not_finite,
    escape_tex,
    label_ticks,
    make_panels,
    save_figure,
    set_readable_ticks,
    shorten,
    title_subject,
)
from runner.files import write_atomically
from runner.record.predictions import RecordedPredictions

# With more classes, the confusion matrix has only colours, the class sizes are lines without labels, and the metrics
# are drawn only for the classes with the lowest F1.
MAX_LABELED = 30
MAX_WITH_SHARES = 15  # classes of a confusion matrix whose cells have room for a share beside the count
MAX_MATRIX = 1000  # classes of a confusion matrix
BINS = 20
HEADING = ("class", "rows", "predicted", "precision", "recall", "f1")


class ClassMetrics(NamedTuple):
    """Metrics of each class, (classes,) each; NaN where a metric is not defined.

    Attributes:
        rows: the number of rows of the class.
        predicted: the number of rows that are predicted to be of the class.
        precision: the share of the predicted rows that are of the class.
        recall: the share of the class's rows that are predicted to be of the class.
        f1: the harmonic mean of precision and recall.
    """

    rows: np.ndarray
    predicted: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def draw_classification(predictions: RecordedPredictions, folder: Path, suffix: str) -> list[Path]:
    """Draws predicted classes: confusion matrix, metrics of each class (also as a table), predictions and calibration.

    For two classes, draws the ROC curve and the curve of precision and recall, too.

    Args:
        predictions: the predictions.
        folder: the folder of the new files.
        suffix: the end of their names, before the extension.

    Returns:
        The new files.
    """
    metrics = measure_classes(predictions)
    paths = [
        _write_class_metrics(predictions, metrics, folder / f"per_class{suffix}.csv"),
        save_figure(_draw_class_metrics(predictions, metrics), folder / f"per_class{suffix}.png"),
        save_figure(_draw_predictions(predictions, metrics), folder / f"predictions{suffix}.png"),
        save_figure(_draw_calibration(predictions), folder / f"calibration{suffix}.png"),
    ]
    if (scores := score_second_class(predictions)) is not None:
        paths.append(save_figure(_draw_roc(predictions, scores), folder / f"roc{suffix}.png"))
        paths.append(save_figure(_draw_precision_recall(predictions, scores), folder / f"precision_recall{suffix}.png"))
    if len(_class_names(predictions)) <= MAX_MATRIX and not predictions.is_multilabel:
        paths.append(save_figure(_draw_confusion_matrix(predictions), folder / f"confusion{suffix}.png"))
    return paths


def confusion_matrix(predictions: RecordedPredictions) -> np.ndarray:
    """The number of rows by target (first axis) and prediction, int64 (classes, classes)."""
    count = len(_class_names(predictions))
    pairs = predictions.target.astype(np.int64) * count + predictions.prediction
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def measure_classes(predictions: RecordedPredictions) -> ClassMetrics:
    """The metrics of each class. A class without rows has no recall; a class without predictions has no precision."""
    target, prediction = predictions.target, predictions.prediction
    if predictions.is_multilabel:
        rows, predicted, correct = target.sum(0), prediction.sum(0), (target & prediction).sum(0)
    else:
        hits = target[target == prediction]
        count = len(_class_names(predictions))
        rows, predicted, correct = (np.bincount(ids, minlength=count) for ids in (target, prediction, hits))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return ClassMetrics(rows, predicted, correct / predicted, correct / rows, 2 * correct / (rows + predicted))


def score_second_class(predictions: RecordedPredictions) -> np.ndarray | None:
    """The probability of the second of two classes (N,); None: there are not two, or one of them has no row."""
    if predictions.is_multilabel or len(_class_names(predictions)) != 2 or len(np.unique(predictions.target)) < 2:
        return None
    assert predictions.probability is not None
    scores = np.where(predictions.prediction == 1, predictions.probability, 1 - predictions.probability)
    return scores if np.isfinite(scores).all() else None


def _class_names(predictions: RecordedPredictions) -> tuple[str, ...]:
    assert predictions.classes is not None
    return predictions.classes


def _write_class_metrics(predictions: RecordedPredictions, metrics: ClassMetrics, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(HEADING)
    for name, rows, predicted, *shares in zip(_class_names(predictions), *metrics, strict=True):
        table.writerow([name, rows, predicted, *("" if np.isnan(share) else f"{share:.6f}" for share in shares)])
    write_atomically(path, text.getvalue())
    return path


def _draw_confusion_matrix(predictions: RecordedPredictions) -> Figure:
    counts, names = confusion_matrix(predictions), _class_names(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2 + 0.4 * len(names), 4, 14))
    figure, [axis] = make_panels(1, width=side + 1, height=side)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axis, label="share of the class's rows", shrink=0.8)
    axis.set(title=f"{_subject(predictions)}: confusion of {counts.sum():,} rows", xlabel="predicted", ylabel="target")
    if len(names) <= MAX_LABELED:
        label_ticks(axis, names)
        label_ticks(axis, names, vertical=True)
        _write_cells(axis, counts, shares)
    return figure


def _write_cells(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes each count except 0 into its cell, with its share if there is room."""
    has_room = len(counts) <= MAX_WITH_SHARES
    for row, column in np.argwhere(counts).tolist():
        count, share = counts[row, column], shares[row, column]
        text = f"{count}\n{share:.0%}" if has_room else f"{count}"
        color = "white" if share > 0.5 else "black"  # on a dark or a light cell
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=color, in_layout=False)


def _draw_class_metrics(predictions: RecordedPredictions, metrics: ClassMetrics) -> Figure:
    """Draws F1 as bars, precision and recall as marks; of many classes only those with the lowest F1."""
    names, title = _class_names(predictions), f"{_subject(predictions)}: each class"
    shown = np.arange(len(names))
    if len(names) > MAX_LABELED:
        shown = np.argsort(metrics.f1, kind="stable")[:MAX_LABELED]  # NaN comes last
        title += f", the worst {MAX_LABELED} of {len(names):,}"
    figure, [axis] = make_panels(1, width=6, height=1.5 + 0.25 * len(shown))
    positions = range(len(shown))
    axis.barh(positions, np.nan_to_num(metrics.f1[shown]), color="lightsteelblue", label="F1")
    axis.plot(metrics.precision[shown], positions, ">", color="tab:blue", label="precision")
    axis.plot(metrics.recall[shown], positions, "<", color="tab:orange", label="recall")
    label_ticks(axis, [f"{shorten(names[index], 16)} ({metrics.rows[index]:,})" for index in shown], vertical=True)
    axis.set(title=title, xlim=(0, 1.02))
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_predictions(predictions: RecordedPredictions, metrics: ClassMetrics) -> Figure:
    """Draws the number of rows of each class, and the confidence of predictions."""
    figure, [class_sizes, confidence] = make_panels(2)
    _draw_class_sizes(class_sizes, _class_names(predictions), metrics)
    probability, is_correct, note = _confidence(predictions)
    groups, colors = [probability[is_correct], probability[~is_correct]], ["tab:blue", "tab:red"]
    confidence.hist(groups, BINS, range=(0, 1), stacked=True, color=colors, label=["correct", "wrong"])
    counted = "labels" if predictions.is_multilabel else "rows"
    confidence.set(title="confidence", xlabel="probability of the prediction", ylabel=counted)
    confidence.legend()
    set_readable_ticks(confidence)
    figure.suptitle(f"{_subject(predictions)}: predictions of {len(predictions.row):,} rows{note}")
    return figure


def _confidence(predictions: RecordedPredictions) -> tuple[np.ndarray, np.ndarray, str]:
    """The finite probabilities of predictions, whether these are correct, and a note on the others for a title."""
    assert predictions.probability is not None
    finite = np.isfinite(predictions.probability)
    is_correct = (predictions.target == predictions.prediction)[finite]
    return predictions.probability[finite], is_correct, describe_not_finite(~finite)


def _draw_class_sizes(axis: Axes, names: tuple[str, ...], metrics: ClassMetrics) -> None:
    """Draws the number of rows of each class beside the number of its predictions."""
    positions = np.arange(len(names))
    if len(names) <= MAX_LABELED:
        axis.bar(positions - 0.2, metrics.rows, 0.4, label="target", color="tab:gray")
        axis.bar(positions + 0.2, metrics.predicted, 0.4, label="predicted", color="tab:blue")
        label_ticks(axis, names)
    else:
        axis.step(positions, metrics.rows, where="mid", label="target", color="tab:gray")
        axis.step(positions, metrics.predicted, where="mid", label="predicted", color="tab:blue", linewidth=0.8)
    axis.set(title="rows of each class", ylabel="rows")
    axis.legend()
    set_readable_ticks(axis)


def draw_calibrations(predictions: Mapping[str, RecordedPredictions], path: Path) -> Path:
    """Draws the calibration of several predictions for the same rows, by their labels in the legend."""
    figure = _draw_calibration(*predictions.values())
    figure.axes[0].legend(["calibrated", *predictions])
    return save_figure(figure, path)


def _draw_calibration(*predictions: RecordedPredictions) -> Figure:
    """Draws the accuracy at each probability. A calibrated model is on the diagonal."""
    _, _, note = _confidence(predictions[0])
    figure, axis = _make_square(f"{_subject(predictions[0])}: calibration{note}")
    axis.plot([0, 1], [0, 1], "--", color="tab:gray", linewidth=1)
    for each in predictions:
        axis.plot(*_measure_calibration(each), "o-", markersize=4)
    axis.set(xlabel="probability of the prediction", ylabel="accuracy")
    return figure


def _measure_calibration(predictions: RecordedPredictions) -> tuple[np.ndarray, np.ndarray]:
    """The mean probability of the predictions, and their accuracy, in each bin that has some."""
    probability, is_correct, _ = _confidence(predictions)
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    filled = rows > 0
    mean_probability, accuracy = (
        np.bincount(bins, values, BINS)[filled] / rows[filled] for values in (probability, is_correct)
    )
    return mean_probability, accuracy


def _draw_roc(predictions: RecordedPredictions, scores: np.ndarray) -> Figure:
    from sklearn.metrics import roc_auc_score, roc_curve  # imports SciPy, which few figures need

    false_positive_rate, true_positive_rate, _ = roc_curve(predictions.target, scores)
    area = roc_auc_score(predictions.target, scores)
    figure, axis = _make_square(f"{_subject(predictions)}: ROC curve, area {area:.4g}")
    axis.plot([0, 1], [0, 1], "--", color="tab:gray", linewidth=1)
    axis.plot(false_positive_rate, true_positive_rate)
    positive = escape_tex(shorten(_class_names(predictions)[1]))
    axis.set(xlabel="false positive rate", ylabel=f"true positive rate of {positive}")
    return figure


def _draw_precision_recall(predictions: RecordedPredictions, scores: np.ndarray) -> Figure:
    """Draws precision and recall at each threshold. The dashed line is the precision of random predictions."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(predictions.target, scores)
    average = average_precision_score(predictions.target, scores)
    figure, axis = _make_square(f"{_subject(predictions)}: precision and recall, average {average:.4g}")
    axis.axhline(float(np.mean(predictions.target)), linestyle="--", color="tab:gray", linewidth=1)
    axis.plot(recall, precision, drawstyle="steps-post")
    positive = escape_tex(shorten(_class_names(predictions)[1]))
    axis.set(xlabel=f"recall of {positive}", ylabel=f"precision of {positive}")
    return figure


def _subject(predictions: RecordedPredictions) -> str:
    return title_subject(predictions.split, predictions.target_name)


def _make_square(title: str) -> tuple[Figure, Axes]:
    """A figure with one panel, whose axes go from 0 to 1."""
    figure, [axis] = make_panels(1, width=4.5, height=4.5)
    axis.set(title=title, xlim=(0, 1.02), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    return figure, axis
