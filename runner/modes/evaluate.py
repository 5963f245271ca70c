"""`mode=evaluate`: the figures of a run's best weights on a split of its data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from runner.display.progress import make_progress
from runner.display.report import SPLITS, print_report
from runner.display.tables import Section, print_tables
from runner.modes.predict import new_rows, new_rows_error_location

if TYPE_CHECKING:
    from runner.config.config import Config
    from runner.inference.trained_model import TrainedModel


def command(config: Config) -> int:
    """Prints the figures of `data.split` (else of what was held out), also where `quiet`; returns the exit code.

    With another `data.path` they are those of all its rows, which need the target too.
    """
    rows = new_rows(config, labelled=True)
    from runner.inference.trained_model import open_model

    with closing(make_progress(quiet=config.values["quiet"], epochs=config.values["training"]["epochs"])) as shown:
        fitted = open_model(config, shown)
        if rows is not None:
            with new_rows_error_location(config):
                _show(fitted.evaluate(rows), config.values["data"]["path"], fitted)
            return 0
        split = config.split or fitted.default_split
        figures = fitted.evaluate(split)
    begin = dict(SPLITS)[split]
    named = {f"{begin}{name.removeprefix(f'{split}/')}": value for name, value in figures.items()}
    print_report(_standing(fitted) | {"metrics": named}, fitted.folder, {}, quiet=False)
    return 0


def _show(figures: Mapping[str, float], path: str, fitted: TrainedModel) -> None:
    names = [name.partition("/")[2] for name in figures]
    values = [f"{value:.5g}" for value in figures.values()]
    print_tables([Section("", [("rows of", *names), (path, *values)])], [("folder", str(fitted.folder))])


def _standing(fitted: TrainedModel) -> dict[str, Any]:
    """How far the run has come, as the report tells it."""
    from runner.run_folder import is_held, read_record, read_summary

    status = "it goes on" if is_held(fitted.folder) else read_summary(fitted.folder).get("status", "interrupted")
    if status == "interrupted":
        alone = not read_record(fitted.folder).get("in_sweep")
        which = f"resume={fitted.folder.name}" if alone else "the command that began its sweep"
        status = f"interrupted; {which} goes on with it"
    return {"status": status, "best_epoch": fitted.weights.epoch, "epochs": fitted.weights.epochs}
