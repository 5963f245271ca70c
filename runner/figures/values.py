"""Figures of a model that predicts numbers: what is left of the target, and how both are spread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.figures import canvas
from runner.record.predictions import RecordedPredictions

MOST = 9  # outputs with a panel of their own
CLOUD = 5000  # rows beyond which points would hide each other
BINS = 40


def draw(answers: RecordedPredictions, folder: Path, suffix: str) -> list[Path]:
    """Draws residuals and histograms, one panel an output; nothing where the answers aren't in the target's form."""
    if answers.target.shape != answers.prediction.shape or not answers.target[0].size:
        return []
    return [
        canvas.save(_draw(answers, "residuals", _draw_residuals), folder / f"residuals{suffix}.png"),
        canvas.save(_draw(answers, "predictions", _draw_spread), folder / f"predictions{suffix}.png"),
    ]


def _draw(answers: RecordedPredictions, what: str, panel: Callable[[Axes, np.ndarray, np.ndarray], None]) -> Figure:
    rows = len(answers.row)
    targets, predictions = answers.target.reshape(rows, -1), answers.prediction.reshape(rows, -1)
    outputs = targets.shape[1]
    figure, axes = canvas.panels(min(outputs, MOST))
    for output, axis in enumerate(axes):
        target, prediction = canvas.finite(targets[:, output], predictions[:, output])
        panel(axis, target, prediction)
        bad = canvas.unknown(~(np.isfinite(targets[:, output]) & np.isfinite(predictions[:, output])))
        axis.set_title((f"output {output}" if outputs > 1 else what) + bad)
    more = f", the first {MOST} of {outputs:,} outputs" if outputs > MOST else ""
    figure.suptitle(f"{answers.split}: {what} of {rows:,} rows{more}")
    return figure


def _draw_residuals(axis: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    if len(target) > CLOUD:
        axis.hexbin(prediction, target - prediction, gridsize=50, bins="log", cmap="Blues", mincnt=1)
    else:
        axis.plot(prediction, target - prediction, ".", markersize=4, alpha=0.5)
    axis.axhline(0, color="tab:gray", linewidth=1)
    axis.set(xlabel="prediction", ylabel="target - prediction")
    axis.grid(alpha=0.3)


def _draw_spread(axis: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    edges = np.histogram_bin_edges(np.concatenate([target, prediction]), BINS)
    axis.hist(target, edges.tolist(), label="target", color="tab:gray", alpha=0.6)
    axis.hist(prediction, edges.tolist(), label="prediction", color="tab:blue", histtype="step", linewidth=1.5)
    axis.set(ylabel="rows")
    axis.legend()
