"""Figures of predicted values: predicted against true, residuals, and the distributions of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.figures.canvas import (
    describe_not_finite,
    keep_finite,
    make_panels,
    save_figure,
    set_readable_ticks,
    title_subject,
)
from runner.record.predictions import RecordedPredictions

MAX_OUTPUTS = 9  # outputs with a panel
MAX_POINTS = 5000  # more rows are drawn as a density, because points would hide each other
BINS = 40


def draw_regression(predictions: RecordedPredictions, folder: Path, suffix: str) -> list[Path]:
    """Draws predictions against targets, residuals and histograms, with a panel for each output.

    Args:
        predictions: the predictions.
        folder: the folder of the new files.
        suffix: the end of their names, before the extension.

    Returns:
        The new files; none if the predictions don't have the shape of the targets.
    """
    if predictions.target.shape != predictions.prediction.shape or not predictions.target[0].size:
        return []
    panels = {
        "predicted_true": ("predicted against true", _draw_predicted_true),
        "residuals": ("residuals", _draw_residuals),
        "predictions": ("predictions", _draw_histograms),
    }
    return [
        save_figure(_draw_panels(predictions, title, draw_panel), folder / f"{name}{suffix}.png")
        for name, (title, draw_panel) in panels.items()
    ]


def _draw_panels(
    predictions: RecordedPredictions, title: str, draw_panel: Callable[[Axes, np.ndarray, np.ndarray], None]
) -> Figure:
    """A figure with a panel for each output; `draw_panel` takes its axes, and finite targets and predictions (N,)."""
    rows = len(predictions.row)
    all_targets, all_predictions = predictions.target.reshape(rows, -1), predictions.prediction.reshape(rows, -1)
    outputs = all_targets.shape[1]
    figure, axes = make_panels(min(outputs, MAX_OUTPUTS))
    for output, axis in enumerate(axes):
        target, prediction = all_targets[:, output], all_predictions[:, output]
        draw_panel(axis, *keep_finite(target, prediction))
        set_readable_ticks(axis)
        note = describe_not_finite(~(np.isfinite(target) & np.isfinite(prediction)))
        axis.set_title(f"output {output}{note}" if outputs > 1 else note.removeprefix("; "))
    more = f", the first {MAX_OUTPUTS} of {outputs:,} outputs" if outputs > MAX_OUTPUTS else ""
    subject = title_subject(predictions.split, predictions.target_name)
    figure.suptitle(f"{subject}: {title} of {rows:,} rows{more}")
    return figure


def _draw_predicted_true(axis: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    """Draws the rows. A correct prediction is on the diagonal."""
    _draw_points(axis, target, prediction)
    if len(target):
        ends = [min(target.min(), prediction.min()), max(target.max(), prediction.max())]
        axis.plot(ends, ends, "--", color="tab:gray", linewidth=1)
    axis.set(xlabel="true", ylabel="predicted")


def _draw_residuals(axis: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    _draw_points(axis, prediction, target - prediction)
    axis.axhline(0, color="tab:gray", linewidth=1)
    axis.set(xlabel="predicted", ylabel="true - predicted")


def _draw_points(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) > MAX_POINTS:
        axis.hexbin(x, y, gridsize=50, bins="log", cmap="Blues", mincnt=1)
    else:
        axis.plot(x, y, ".", markersize=4, alpha=0.5)
    axis.grid(alpha=0.3)


def _draw_histograms(axis: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    edges = np.histogram_bin_edges(np.concatenate([target, prediction]), BINS)
    axis.hist(target, edges.tolist(), label="true", color="tab:gray", alpha=0.6)
    axis.hist(prediction, edges.tolist(), label="predicted", color="tab:blue", histtype="step", linewidth=1.5)
    axis.set(ylabel="rows")
    axis.legend()
