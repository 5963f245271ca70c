"""Learning curves, from the points in a run's folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from matplotlib.axes import Axes

from runner.figures import canvas
from runner.record import outbox

Curve: TypeAlias = list[tuple[float, float]]  # (epoch, value)
RATE = "learning_rate"


def draw(folder: Path) -> list[Path]:
    """Draws a panel for each quantity into `learning_curves.png`; nothing without points."""
    quantities = _quantities(folder)
    if not quantities:
        return []
    figure, axes = canvas.panels(len(quantities), len(quantities))
    for axis, (quantity, curves) in zip(axes, quantities.items(), strict=True):
        _draw_panel(axis, quantity, curves)
    return [canvas.save(figure, folder / "figures" / "learning_curves.png")]


def _quantities(folder: Path) -> dict[str, Mapping[str, Curve]]:
    """The curves by quantity and split: those of `train/loss`, `valid/loss`, …, and the learning rate."""
    found: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for point in outbox.parse_points(outbox.read_covered_points(folder).splitlines()):
        epoch = point.values.get("epoch", point.step)
        for key, value in point.values.items():
            split, _, quantity = key.rpartition("/")
            if split or key == RATE:
                found[quantity][split].append((epoch, value))
    return {quantity: found[quantity] for quantity in sorted(found, key=RATE.__eq__)}  # the rate comes last


def _draw_panel(axis: Axes, quantity: str, curves: Mapping[str, Curve]) -> None:
    for split, curve in curves.items():
        epochs, values = zip(*curve, strict=True)
        axis.plot(epochs, values, label=split, marker="o" if len(curve) < 30 else None, markersize=3)
    axis.set(title=quantity.replace("_", " "), xlabel="epoch")
    axis.grid(alpha=0.3)
    if any(curves):
        axis.legend()
