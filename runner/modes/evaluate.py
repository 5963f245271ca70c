"""`mode=evaluate`: prints the metrics of a run's best weights on a split of its data, or on new rows."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.check_targets import read_target_kinds
from runner.config.provenance import Problems
from runner.data.encode import TARGET
from runner.data.load import target_nodes
from runner.display.numbers import format_number
from runner.display.progress import make_progress
from runner.display.report import METRIC_PREFIXES, UNDEFINED, describe_undefined, print_report, slice_sections
from runner.display.tables import Section, print_tables
from runner.files import check_no_links
from runner.modes.predict import (
    check_recorded_split,
    explain_errors_in_new_rows,
    name_new_rows,
    note_readings,
    open_new_rows,
)

if TYPE_CHECKING:
    from components.types import Source
    from runner.config.config import Config
    from runner.display.progress import Progress
    from runner.inference.trained_model import Evaluation, TrainedModel
    from runner.training.slices import Slice


NEW_ROWS = "new rows"  # in titles
CALIBRATION_ERROR = {"_target_": "components.metric.ExpectedCalibrationError"}


def command(config: Config) -> int:
    """Prints the metrics, also if `quiet`. Returns the exit code.

    If the command names another `data.path`, its rows are evaluated, and need the target. Otherwise `data.split` is
    evaluated: by default test, or valid if the run has no test split.
    """
    new_rows, problems = None, Problems(config)  # all are found before JAX is imported
    for own in (config, *config.members):
        with problems.collect():
            check_recorded_split(own)
    of_others: list[Source | None] = []
    with problems.collect():
        new_rows = open_new_rows(config, with_target=True)
        of_others = [open_new_rows(own, with_target=True) for own in config.members]
    problems.raise_all()
    from runner.inference.ensemble import join_rows
    from runner.inference.load_model import open_model

    if config.values["mc_samples"] is not None or config.members:
        members = tuple(map(_add_calibration_error, config.members))
        config = replace(_add_calibration_error(config), members=members)
    with closing(make_progress(quiet=config.values["quiet"])) as progress:
        model = open_model(config, progress)
        arguments = {"columns": config.values["metric_slices"], "mc_samples": config.values["mc_samples"]}
        if new_rows is not None:
            note_readings(new_rows, model, progress)
            with explain_errors_in_new_rows(config, with_target=True):
                rows = join_rows(new_rows, of_others)
                evaluation = model.evaluate_once(rows, on_missing=config.on_missing, **arguments)
        else:
            split = config.split or model.default_split
            compares = config.values["mc_samples"] is not None and not config.members
            options = {"resamples": config.values["intervals"], "compares": compares}
            evaluation = model.evaluate_once(split, **options, **arguments)
            figures = _draw_calibration(evaluation, model, progress)
    slices = _describe_slices(model, NEW_ROWS if new_rows is not None else split, evaluation.slices, config)
    if new_rows is not None:
        _print_metrics_of_rows(config, evaluation, model, slices)
        return 0
    # The report expects the metric names of a run's summary, such as best/valid/loss.
    prefix = METRIC_PREFIXES[split]
    rows_below, runs = _list_rows_below(evaluation, model, config)
    summary = (_describe_run(model) if not runs else {"runs": runs}) | slices
    summary |= {"rows": rows_below, "figures": figures}
    for key in ("metrics", "intervals"):
        values: Mapping[str, Any] = getattr(evaluation, key)
        summary[key] = {f"{prefix}{name.removeprefix(f'{split}/')}": value for name, value in values.items()}
    print_report(summary, model.folder, record=None, quiet=False)
    return 0


def _describe_slices(model: TrainedModel, split: str, slices: Sequence[Slice], config: Config) -> dict[str, Any]:
    """The slices of a split or of new rows, as entries of a summary."""
    if not config.values["metric_slices"]:
        return {}
    from runner.run_folder import read_summary

    keys = read_summary(model.folder)
    ranking = {"monitor": config.values["training"]["monitor"], "higher_is_better": keys.get("higher_is_better", False)}
    return {"slices": {split: [each.to_plain() for each in slices]}, **ranking}


def _print_metrics_of_rows(
    config: Config, evaluation: Evaluation, model: TrainedModel, slices: Mapping[str, Any]
) -> None:
    """Prints the metrics of new rows."""
    cells = [["rows of", *(name.partition("/")[2] for name in evaluation.metrics)]]
    cells += [[name_new_rows(config), *map(format_number, evaluation.metrics.values())]]
    rows_below, runs = _list_rows_below(evaluation, model, config)
    cells += [[label, *map(format_number, metrics.values())] for label, metrics in rows_below]
    facts = runs or [("folder", str(model.folder))]
    if config.values["intervals"] is not None:
        facts = [("note", "only the splits of a run have intervals; other rows have none"), *facts]
    facts = [*((UNDEFINED, text) for text in describe_undefined(slices)), *facts]
    table = Section("", cells, may_turn=True)
    print_tables([*slice_sections(slices), table], facts)


def _add_calibration_error(config: Config) -> Config:
    """The configuration with the expected calibration error among the metrics of each target of classes."""
    metric = dict(config.values["metric"])
    for name, node in target_nodes(config.values["feature"]).items():
        if "classes" in read_target_kinds(node):
            own = metric if name == TARGET else metric.setdefault(name, {})
            if not any(each.get("_target_") == CALIBRATION_ERROR["_target_"] for each in own.values()):
                added = own | {"expected_calibration_error": CALIBRATION_ERROR}
                metric = added if name == TARGET else metric | {name: added}
    values = config.values | {"metric": metric}
    return replace(config, values=values, raw=values)


def _draw_calibration(evaluation: Evaluation, model: TrainedModel, progress: Progress) -> list[Path]:
    """Draws the calibration with and without samples into the folder of the run. Returns the files."""
    pairs = [pair for pair in evaluation.predictions if pair[0].classes is not None and len(pair[0].row)]
    if not pairs:
        return []
    if not os.access(model.folder, os.W_OK):  # the run may be another user's
        progress.note(f"warning: {model.folder} can't be written, so the calibration isn't drawn")
        return []
    from runner.figures.canvas import target_suffix
    from runner.figures.classification import draw_calibrations

    folder = model.folder / "figures"
    check_no_links(folder)
    with progress.working("drawing"):
        return [
            draw_calibrations(
                {"without samples": plain, "mean of samples": mean},
                folder / f"calibration_mc_dropout{target_suffix(plain.target_name)}_{plain.split}.png",
            )
            for plain, mean in pairs
        ]


def _list_rows_below(
    evaluation: Evaluation, model: TrainedModel, config: Config
) -> tuple[list[tuple[str, dict[str, float]]], list[tuple[str, str]]]:
    """The rows below the metrics: those of samples, and of the runs of an ensemble. With them are lines about the runs.

    The metrics in the rows have the names that the record gives them, without the split.
    """

    def strip(metrics: Mapping[str, float]) -> dict[str, float]:
        return {name.partition("/")[2]: value for name, value in metrics.items()}

    rows, facts = [], []
    if evaluation.sampled:
        samples = f"{config.values['mc_samples']:,} samples" + (" of each run" if evaluation.members else "")
        rows += [(f"  mean of {samples}", strip(evaluation.sampled))]
    if evaluation.members:
        folders = [_describe_folder(own.values["run"]) for own in (config, *config.members)]
        members = [strip(metrics) for metrics in evaluation.members]
        best = members.index(min(members, key=lambda metrics: _rank_member(metrics, model)))
        means = {name: statistics.fmean(metrics[name] for metrics in members) for name in members[0]}
        rows += [("  best run", members[best]), (f"  mean of {len(members)} runs", means)]
        facts += [("best run" if number == best else "run", folder) for number, folder in enumerate(folders)]
    return rows, facts


def _describe_folder(folder: str) -> str:
    """A folder, and how its run ended unless it has finished."""
    from runner.run_folder import read_summary

    status = read_summary(Path(folder)).get("status", "interrupted")
    return folder if status == "finished" else f"{folder} ({status})"


def _rank_member(metrics: Mapping[str, float], model: TrainedModel) -> float:
    """Sorts runs by the monitored metric of the first one, or by the loss, from best to worst."""
    from runner.run_folder import read_summary

    monitored = str(model.run.config.values["training"]["monitor"]).partition("/")[2]
    if monitored not in metrics:
        return metrics.get("loss", math.nan)
    return -metrics[monitored] if read_summary(model.folder).get("higher_is_better") else metrics[monitored]


def _describe_run(model: TrainedModel) -> dict[str, Any]:
    """The status of the run and its best epoch, as entries of a summary."""
    from runner.run_folder import is_running, read_record, read_summary

    summary = read_summary(model.folder)
    status = "running" if is_running(model.folder) else summary.get("status", "interrupted")
    if status == "interrupted":
        is_in_sweep = read_record(model.folder).get("in_sweep")
        remedy = "the command that started its sweep" if is_in_sweep else f"resume={model.folder.name}"
        status = f"interrupted; {remedy} resumes it"
    epochs = {"best_epoch": model.weights.epoch, "epochs": model.weights.epochs}
    return {"status": status, "history": summary.get("history", ()), **epochs}
