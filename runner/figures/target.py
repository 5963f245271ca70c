"""How a target is spread over the splits."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from runner.figures import canvas

NAMED = 60  # classes that are named
MOST = 9  # outputs with a panel of their own
BINS = 40


def draw_balance(counts: Mapping[str, np.ndarray], names: Sequence[str], folder: Path) -> list[Path]:
    """Draws each class's share of every split; `class_balance.csv` holds the counts, (classes,) by split."""
    places = np.arange(len(names))
    named = len(names) <= NAMED
    figure, [axis] = canvas.panels(1, width=7, height=1.5 + 0.25 * len(names) if named else 4)
    for index, (split, rows) in enumerate(counts.items()):
        shares = rows / max(rows.sum(), 1)
        if named:
            height = 0.8 / len(counts)
            axis.barh(places + height * (index - (len(counts) - 1) / 2), shares, height, label=split)
        else:
            axis.step(places, shares, where="mid", label=split)
    if named:
        canvas.name_ticks(axis, names, vertical=True)
    axis.set(**{"title": "share of each class", "ylabel" if not named else "xlabel": "share of the split's rows"})
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return [_write(counts, names, folder / "class_balance.csv"), canvas.save(figure, folder / "class_balance.png")]


def draw_spread(values: Mapping[str, np.ndarray], folder: Path) -> list[Path]:
    """Draws histograms of numbers (rows, outputs) by split, a panel an output."""
    outputs = next(iter(values.values())).shape[1]
    figure, axes = canvas.panels(min(outputs, MOST))
    for output, axis in enumerate(axes):
        columns = {split: canvas.finite(rows[:, output])[0] for split, rows in values.items()}
        edges = np.histogram_bin_edges(np.concatenate(list(columns.values())), BINS)
        for split, column in columns.items():
            weights = np.full(len(column), 1 / max(len(column), 1))
            axis.hist(column, edges.tolist(), weights=weights, label=split, histtype="step", linewidth=1.5)
        axis.set(xlabel="target" if outputs == 1 else f"target {output}", ylabel="share of the split's rows")
        axis.legend()
    return [canvas.save(figure, folder / "target.png")]


def _write(counts: Mapping[str, np.ndarray], names: Sequence[str], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["class", *counts])
        table.writerows(zip(names, *(rows.tolist() for rows in counts.values()), strict=True))
    return path
