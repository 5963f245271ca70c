"""Figures of metrics of slices: a row of panels for each column of `metric_slices`, with a panel for each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from runner.display.report import group_slices
from runner.figures.canvas import escape_tex, label_ticks, make_panels, save_figure, set_readable_ticks, shorten
from runner.run_folder import read_summary

MAX_METRICS = 4  # panels of a row
BAR_HEIGHT, MARGIN = 0.25, 1.2  # inches of a bar, and of the title and the axis


def draw_slices(folder: Path) -> list[Path]:
    """Draws the slices in the summary of a run into `slices_test.png`, and likewise those of other splits."""
    paths = []
    for split, slices in read_summary(folder).get("slices", {}).items():
        by_column = group_slices(slices)
        names = list(slices[0]["metrics"])[:MAX_METRICS] if slices else []
        if not names:
            continue
        height = MARGIN + BAR_HEIGHT * max(map(len, by_column.values()))
        figure, axes = make_panels(len(by_column) * len(names), columns=len(names), height=height)
        panels = iter(axes)
        for column, own in by_column.items():
            for name in names:
                _draw_bars(next(panels), own, name, f"{split} by {escape_tex(shorten(column))}")
        paths.append(save_figure(figure, folder / "figures" / f"slices_{split}.png"))
    return paths


def _draw_bars(axis: Axes, slices: Sequence[Mapping[str, Any]], name: str, subject: str) -> None:
    """Draws a bar for each slice, with its value and its number of rows as the label; none where it is undefined."""
    values = np.array([each["metrics"][name] for each in slices], np.float64)
    axis.barh(range(len(values)), np.where(np.isfinite(values), values, 0))
    label_ticks(axis, [f"{shorten(each['value'], 14)} ({each['rows']:,})" for each in slices], vertical=True)
    axis.set(title=f"{subject}: {escape_tex(shorten(name))}")
    set_readable_ticks(axis)
