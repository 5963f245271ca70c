"""The figures of a run, drawn from what its folder holds; importing this imports no JAX."""

from __future__ import annotations

from pathlib import Path

from runner.figures import classes, curves, sweep, values
from runner.files import check_no_links
from runner.record import predictions as kept
from runner.record.predictions import RecordedPredictions


def draw(folder: Path) -> list[Path]:
    """Draws into the folder's `figures/` whatever its files give; the files drawn, none of an empty folder."""
    check_no_links(folder / "figures")
    drawn = curves.draw(folder) + sweep.draw(folder)
    if (answers := kept.load_predictions(folder)) is not None:
        drawn += draw_answers(answers, folder / "figures")
    return drawn


def draw_answers(answers: RecordedPredictions, folder: Path, suffix: str = "") -> list[Path]:
    """Draws what a model says of a split; `suffix` ends the names of the files."""
    if not len(answers.row):
        return []
    return (values if answers.classes is None else classes).draw(answers, folder, suffix)
