"""Figures of metrics: the learning curves of a run, and the monitored metric of a sweep's runs."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.axes import Axes

from runner.figures.canvas import escape_tex, label_ticks, make_panels, save_figure, set_readable_ticks
from runner.files import read_json, read_text
from runner.record.naming import REPEAT_KEYS
from runner.record.outbox import parse_points, read_checkpointed_points
from runner.run_folder import MANIFEST, SCHEDULE_FILE, read_summary

Curve: TypeAlias = list[tuple[float, float]]  # (epoch, value)
RATE = "learning_rate"
LOSS, SMOOTHED_LOSS = "find_lr/loss", "find_lr/smoothed_loss"  # the points of mode=find_lr
SUGGESTED = "suggested_learning_rate"
BELOW, LEGEND_COLUMNS = -0.17, 3  # the legend is below the label of the x axis, where it covers no curve
MAX_MARKED = 30  # a curve of fewer points has marks


def draw_learning_curves(folder: Path) -> list[Path]:
    """Draws the points in a run's folder into `learning_curves.png`, with a panel for each metric."""
    curves = _load_curves(folder)
    if not curves:
        return []
    figure, axes = make_panels(len(curves), columns=len(curves))
    for axis, (metric, split_curves) in zip(axes, curves.items(), strict=True):
        _draw_curves(axis, metric, split_curves)
    return [save_figure(figure, folder / "figures" / "learning_curves.png")]


def draw_schedule(folder: Path) -> list[Path]:
    """Draws the planned learning rate and momentum of a run into `schedule.png`; nothing if they are constant."""
    path = folder / SCHEDULE_FILE
    if not path.exists():
        return []
    names, *rows = csv.reader(read_text(path).splitlines())
    epochs, *curves = [[float(row[position]) for row in rows] for position in range(1, len(names))]
    if all(len(set(curve)) == 1 for curve in curves):
        return []
    figure, axes = make_panels(len(curves))
    for axis, name, curve in zip(axes, names[2:], curves, strict=True):
        axis.plot(epochs, curve)
        axis.set(title=escape_tex(name.replace("_", " ")), xlabel="epoch")
        axis.grid(alpha=0.3)
        set_readable_ticks(axis)
    return [save_figure(figure, folder / "figures" / "schedule.png")]


def draw_rate_ramp(folder: Path) -> list[Path]:
    """Draws the loss over the learning rate that mode=find_lr raised into `find_lr.png`; nothing for another run."""
    points = [point.values for point in parse_points(read_checkpointed_points(folder).splitlines())]
    points = [values for values in points if LOSS in values]
    if not points:
        return []
    figure, [axis] = make_panels(1)
    rates = [values[RATE] for values in points]
    axis.plot(rates, [values[LOSS] for values in points], alpha=0.3, label="loss")
    axis.plot(rates, smoothed := [values[SMOOTHED_LOSS] for values in points], label="smoothed")
    if (rate := read_summary(folder).get("metrics", {}).get(SUGGESTED)) is not None:
        axis.axvline(rate, color="C2", linestyle="--", label=f"suggested: {rate:g}")
    low, high = min(smoothed), max(smoothed[: smoothed.index(min(smoothed)) + 1])
    margin = (high - low or abs(high) or 1.0) / 5  # a loss that explodes would hide how it fell
    axis.set(xlabel="learning rate", xscale="log", title="loss", ylim=(low - margin, high + 2 * margin))
    axis.grid(alpha=0.3)
    axis.legend()
    return [save_figure(figure, folder / "figures" / "find_lr.png")]


def draw_sweep(folder: Path) -> list[Path]:
    """Draws the monitored metric of a sweep's runs into `sweep.png`, with a panel for each key that varies.

    Returns:
        The new file; nothing if the folder is not a sweep's, or no run has ended.
    """
    if not (folder / MANIFEST).exists():
        return []
    manifest = read_json(folder / MANIFEST)
    keys, monitor = manifest["keys"], manifest["monitor"]
    ended = [run for run in manifest["runs"] if f"best/{monitor}" in run["metrics"]]
    if not ended or not keys:
        return []
    figure, axes = make_panels(len(keys))
    for axis, key in zip(axes, keys, strict=True):
        _draw_metric_by_value(axis, key, [(run["values"][key], run["metrics"][f"best/{monitor}"]) for run in ended])
        axis.set(xlabel=escape_tex(key), ylabel=escape_tex(monitor))
    return [save_figure(figure, folder / "figures" / "sweep.png")]


def _load_curves(folder: Path) -> dict[str, Mapping[str, Curve]]:
    """The curves by metric and split, such as `loss` and `valid`. The learning rate is last, with the split "".

    Metrics without a split, such as the time, have no curve.
    """
    curves: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for point in parse_points(read_checkpointed_points(folder).splitlines()):
        epoch = point.values.get("epoch", point.step)
        for key, value in point.values.items():
            split, _, metric = key.rpartition("/")
            if split or key == RATE:
                curves[metric][split].append((epoch, value))
    return {metric: curves[metric] for metric in sorted(curves, key=lambda metric: metric == RATE)}


def _draw_curves(axis: Axes, metric: str, curves: Mapping[str, Curve]) -> None:
    for split, curve in curves.items():
        epochs, values = zip(*curve, strict=True)
        axis.plot(epochs, values, label=split, marker="o" if len(curve) < MAX_MARKED else None, markersize=3)
    axis.set(title=metric.replace("_", " "), xlabel="epoch")
    axis.grid(alpha=0.3)
    set_readable_ticks(axis, epochs=True)
    if set(curves) != {""}:  # the learning rate has no split, and needs no legend
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, BELOW), ncols=LEGEND_COLUMNS)


def _draw_metric_by_value(axis: Axes, key: str, pairs: Sequence[tuple[Any, float]]) -> None:
    """Draws a point for each run. If the values are numbers, a line joins the means of runs with the same value.

    Args:
        axis: the panel.
        key: the key that varies.
        pairs: its value and the metric of each run.
    """
    groups: dict[Any, list[float]] = {}
    for value, metric in pairs:
        groups.setdefault(value if isinstance(value, int | float) else str(value), []).append(metric)
    # A seed or a fold is a number without a scale.
    is_numeric = key not in REPEAT_KEYS and all(type(value) in (int, float) for value in groups)
    values = sorted(groups) if is_numeric else list(groups)
    positions = values if is_numeric else range(len(values))
    for position, value in zip(positions, values, strict=True):
        axis.plot([position] * len(groups[value]), groups[value], "o", color="C0", alpha=0.6)
    if not is_numeric:
        label_ticks(axis, [str(value) for value in values])
        return
    means = [sum(groups[value]) / len(groups[value]) for value in values]
    axis.plot(positions, means, color="C0", alpha=0.4)
    if values[0] > 0 and values[-1] / values[0] > 20:
        axis.set_xscale("log")
    axis.grid(alpha=0.3)
