"""Figures of a model that tells classes apart: its confusions, each class, how sure it is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.figures import canvas
from runner.record.predictions import RecordedPredictions

NAMED = 30  # classes that a figure names; of more it shows colours, lines, or those that fare worst
ROOMY = 15  # classes whose cells hold a share beside the count
MOST = 1000  # classes of a confusion matrix
BINS = 20
HEADING = ("class", "rows", "predicted", "precision", "recall", "f1")


class PerClass(NamedTuple):
    """Figures of each class, (classes,); NaN where nothing tells."""

    rows: np.ndarray  # how many are of the class
    predicted: np.ndarray  # how many are said to be
    precision: np.ndarray  # the share of those that are
    recall: np.ndarray  # the share of its rows that are said to be
    f1: np.ndarray  # their harmonic mean


def draw(answers: RecordedPredictions, folder: Path, suffix: str) -> list[Path]:
    """Draws the confusion matrix, each class's figures (also as a table) and the predictions."""
    figures = per_class(answers)
    drawn = [
        _write(answers, figures, folder / f"per_class{suffix}.csv"),
        canvas.save(_draw_classes(answers, figures), folder / f"per_class{suffix}.png"),
        canvas.save(_draw_predictions(answers, figures), folder / f"predictions{suffix}.png"),
    ]
    if len(_names(answers)) <= MOST:
        drawn.append(canvas.save(_draw_confusion(answers), folder / f"confusion{suffix}.png"))
    return drawn


def confusion(answers: RecordedPredictions) -> np.ndarray:
    """How often each class (first axis) was said to be each class, int64 (classes, classes)."""
    count = len(_names(answers))
    pairs = answers.target.astype(np.int64) * count + answers.prediction
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def per_class(answers: RecordedPredictions) -> PerClass:
    """The figures of each class; one that doesn't occur has no recall, one that is never said no precision."""
    count = len(_names(answers))
    rows, predicted, right = (
        np.bincount(classes, minlength=count)
        for classes in (answers.target, answers.prediction, answers.target[answers.target == answers.prediction])
    )
    with np.errstate(invalid="ignore"):
        return PerClass(rows, predicted, right / predicted, right / rows, 2 * right / (rows + predicted))


def _names(answers: RecordedPredictions) -> tuple[str, ...]:
    assert answers.classes is not None
    return answers.classes


def _write(answers: RecordedPredictions, figures: PerClass, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(HEADING)
        for name, rows, predicted, *shares in zip(_names(answers), *figures, strict=True):
            table.writerow([name, rows, predicted, *("" if np.isnan(share) else f"{share:.6f}" for share in shares)])
    return path


def _draw_confusion(answers: RecordedPredictions) -> Figure:
    counts, names = confusion(answers), _names(answers)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2 + 0.4 * len(names), 4, 14))
    figure, [axis] = canvas.panels(1, width=side + 1, height=side)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axis, label="share of the class's rows", shrink=0.8)
    axis.set(title=f"{answers.split}: confusion of {counts.sum():,} rows", xlabel="predicted", ylabel="is")
    if len(names) <= NAMED:
        canvas.name_ticks(axis, names)
        canvas.name_ticks(axis, names, vertical=True)
        _write_cells(axis, counts, shares)
    return figure


def _write_cells(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes the counts that aren't 0 into their cells, and where there is room their shares."""
    roomy = len(counts) <= ROOMY
    for row, column in np.argwhere(counts).tolist():
        count, share = counts[row, column], shares[row, column]
        text = f"{count}\n{share:.0%}" if roomy else f"{count}"
        color = "white" if share > 0.5 else "black"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=color, in_layout=False)


def _draw_classes(answers: RecordedPredictions, figures: PerClass) -> Figure:
    """F1 as bars, precision and recall as marks; of many classes those that fare worst."""
    names, title = _names(answers), f"{answers.split}: each class"
    shown = np.arange(len(names))
    if len(names) > NAMED:
        shown = np.argsort(figures.f1, kind="stable")[:NAMED]  # NaN comes last
        title += f", the worst {NAMED} of {len(names):,}"
    figure, [axis] = canvas.panels(1, width=6, height=1.5 + 0.25 * len(shown))
    places = range(len(shown))
    axis.barh(places, np.nan_to_num(figures.f1[shown]), color="lightsteelblue", label="F1")
    axis.plot(figures.precision[shown], places, ">", color="tab:blue", label="precision")
    axis.plot(figures.recall[shown], places, "<", color="tab:orange", label="recall")
    canvas.name_ticks(axis, [f"{canvas.short(names[one], 16)} ({figures.rows[one]:,})" for one in shown], vertical=True)
    axis.set(title=title, xlim=(0, 1.02))
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_predictions(answers: RecordedPredictions, figures: PerClass) -> Figure:
    figure, [frequency, sureness, truth] = canvas.panels(3)
    _draw_frequency(frequency, _names(answers), figures)
    assert answers.probability is not None
    known = np.isfinite(answers.probability)
    probability, right = answers.probability[known], (answers.target == answers.prediction)[known]
    groups, colors = [probability[right], probability[~right]], ["tab:blue", "tab:red"]
    sureness.hist(groups, BINS, range=(0, 1), stacked=True, color=colors, label=["right", "wrong"])
    sureness.set(title="how sure it is", xlabel="probability of what is said", ylabel="rows")
    sureness.legend()
    _draw_truth(truth, probability, right)
    figure.suptitle(f"{answers.split}: predictions of {len(known):,} rows" + canvas.unknown(~known))
    return figure


def _draw_frequency(axis: Axes, names: tuple[str, ...], figures: PerClass) -> None:
    """How often each class is said, beside how often it is right to say it."""
    places = np.arange(len(names))
    if len(names) <= NAMED:
        axis.bar(places - 0.2, figures.rows, 0.4, label="is", color="tab:gray")
        axis.bar(places + 0.2, figures.predicted, 0.4, label="predicted", color="tab:blue")
        canvas.name_ticks(axis, names)
    else:
        axis.step(places, figures.rows, where="mid", label="is", color="tab:gray")
        axis.step(places, figures.predicted, where="mid", label="predicted", color="tab:blue", linewidth=0.8)
    axis.set(title="how often each class", ylabel="rows")
    axis.legend()


def _draw_truth(axis: Axes, probability: np.ndarray, right: np.ndarray) -> None:
    """How often it is right when it is so sure: on the diagonal of a calibrated model."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    filled = rows > 0
    sure = np.bincount(bins, probability, BINS)[filled] / rows[filled]
    share = np.bincount(bins, right, BINS)[filled] / rows[filled]
    axis.plot([0, 1], [0, 1], "--", color="tab:gray", linewidth=1)
    axis.plot(sure, share, "o-", markersize=4)
    axis.set(title="how often it is right", xlabel="probability of what is said", ylabel="share that is right")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
