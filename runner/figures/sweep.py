"""What a sweep has found: the monitored figure of its runs against each key that varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from runner.figures import canvas
from runner.files import read_json
from runner.record.description import MANIFEST, REPEATS


def draw(folder: Path) -> list[Path]:
    """Draws a panel for each key into `sweep.png`; nothing where no run has ended, or the folder is no sweep's."""
    if not (folder / MANIFEST).exists():
        return []
    manifest = read_json(folder / MANIFEST)
    monitor = f"best/{manifest['monitor']}"
    ended = [run for run in manifest["runs"] if monitor in run["metrics"]]
    if not ended or not manifest["keys"]:
        return []
    figure, axes = canvas.panels(len(manifest["keys"]))
    for axis, key in zip(axes, manifest["keys"], strict=True):
        _draw_panel(axis, key, [(run["values"][key], run["metrics"][monitor]) for run in ended])
        axis.set(xlabel=canvas.label(key), ylabel=canvas.label(manifest["monitor"]))
    return [canvas.save(figure, folder / "figures" / "sweep.png")]


def _draw_panel(axis: Axes, key: str, pairs: Sequence[tuple[Any, float]]) -> None:
    """A point for each run; the means of runs that share a value are joined where values are numbers."""
    groups: dict[Any, list[float]] = {}
    for value, figure in pairs:
        groups.setdefault(value if isinstance(value, int | float) else str(value), []).append(figure)
    numbers = key not in REPEATS and all(type(value) in (int, float) for value in groups)
    names = sorted(groups) if numbers else list(groups)
    places = names if numbers else range(len(names))
    for place, name in zip(places, names, strict=True):
        axis.plot([place] * len(groups[name]), groups[name], "o", color="C0", alpha=0.6)
    if not numbers:
        canvas.name_ticks(axis, [str(name) for name in names])
        return
    means = [sum(groups[name]) / len(groups[name]) for name in names]
    axis.plot(places, means, color="C0", alpha=0.4)
    if _spans_decades(groups):
        axis.set_xscale("log")
    axis.grid(alpha=0.3)


def _spans_decades(groups: Mapping[Any, Any]) -> bool:
    return min(groups) > 0 and max(groups) / min(groups) > 20
