"""A run's figures, drawn from the points in its folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner import outbox

Curve: TypeAlias = list[tuple[float, float]]  # (epoch, value)
RATE = "learning_rate"
WIDTH, HEIGHT = 5.0, 3.5  # of a panel, in inches


def draw(folder: Path) -> list[Path]:
    """Draws the learning curves into the folder's `figures/`; the files drawn, none without points."""
    panels = _panels(folder)
    if not panels:
        return []
    figure = Figure(figsize=(WIDTH * len(panels), HEIGHT), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (quantity, curves) in zip(axes, panels.items(), strict=True):
        _draw_panel(axis, quantity, curves)
    path = folder / "figures" / "learning_curves.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    return [path]


def _panels(folder: Path) -> dict[str, Mapping[str, Curve]]:
    """The curves by quantity and split: those of `train/loss`, `valid/loss`, …, and the learning rate."""
    panels: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for point in outbox.parse(outbox.read(folder).splitlines()):
        epoch = point.values.get("epoch", point.step)
        for key, value in point.values.items():
            split, _, quantity = key.rpartition("/")
            if split or key == RATE:
                panels[quantity][split].append((epoch, value))
    return {quantity: panels[quantity] for quantity in sorted(panels, key=RATE.__eq__)}  # the rate comes last


def _draw_panel(axis: Axes, quantity: str, curves: Mapping[str, Curve]) -> None:
    for split, curve in curves.items():
        epochs, values = zip(*curve, strict=True)
        axis.plot(epochs, values, label=split, marker="o" if len(curve) < 30 else None, markersize=3)
    axis.set(title=quantity.replace("_", " "), xlabel="epoch")
    axis.grid(alpha=0.3)
    if any(curves):
        axis.legend()
