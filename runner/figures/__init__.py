"""Draws the figures of a run or a sweep from the files in its folder. Importing this imports no JAX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.display.html import format_picture
from runner.figures.canvas import target_suffix
from runner.figures.classification import draw_classification
from runner.figures.curves import draw_learning_curves, draw_rate_ramp, draw_schedule, draw_sweep
from runner.figures.regression import draw_regression
from runner.figures.slices import draw_slices
from runner.files import check_no_links
from runner.record.predictions import RecordedPredictions, load_predictions


class Figures(Mapping[str, Path]):
    """The figures in a folder: PNG files by name. A notebook shows them."""

    def __init__(self, folder: Path) -> None:
        self._paths = {path.stem: path for path in sorted((folder / "figures").glob("*.png"))}

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"Figures({', '.join(self._paths)})"

    def _repr_html_(self) -> str:
        return "".join(map(format_picture, self._paths.values()))


def draw(folder: Path) -> list[Path]:
    """Draws all figures that the files in a folder allow. Returns the new files in its `figures/`."""
    check_no_links(folder / "figures")
    if paths := draw_rate_ramp(folder):
        return paths
    paths = draw_learning_curves(folder) + draw_schedule(folder) + draw_sweep(folder) + draw_slices(folder)
    for predictions in load_predictions(folder):
        paths += draw_predictions(predictions, folder / "figures")
    return paths


def draw_predictions(predictions: RecordedPredictions, folder: Path, suffix: str = "") -> list[Path]:
    """Draws the predictions for a split.

    Args:
        predictions: the predictions.
        folder: the folder of the new files.
        suffix: the end of their names, before the extension. The name of one of several targets comes before it.

    Returns:
        The new files.
    """
    suffix = target_suffix(predictions.target_name) + suffix
    if not len(predictions.row):
        return []
    if predictions.classes is None:
        return draw_regression(predictions, folder, suffix)
    return draw_classification(predictions, folder, suffix)
