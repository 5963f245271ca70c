"""`mode=evaluate`: prints the metrics of a run's best weights on a split of its data, or on new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from runner.config.provenance import Problems
from runner.display.numbers import format_number
from runner.display.progress import make_progress
from runner.display.report import (
    METRIC_PREFIXES,
    UNDEFINED,
    describe_undefined,
    label_samples,
    print_report,
    slice_sections,
)
from runner.display.tables import Section, print_tables
from runner.modes.predict import (
    check_recorded_split,
    explain_errors_in_new_rows,
    name_new_rows,
    note_readings,
    open_new_rows,
)

if TYPE_CHECKING:
    from runner.config.config import Config
    from runner.inference.trained_model import Evaluation, TrainedModel
    from runner.training.slices import Slice


NEW_ROWS = "new rows"  # in titles


def command(config: Config) -> int:
    """Prints the metrics, also if `quiet`. Returns the exit code.

    If the command names another `data.path`, its rows are evaluated, and need the target. Otherwise `data.split` is
    evaluated: by default test, or valid if the run has no test split.
    """
    new_rows, problems = None, Problems(config)  # all are found before JAX is imported
    with problems.collect():
        check_recorded_split(config)
    with problems.collect():
        new_rows = open_new_rows(config, with_target=True)
    problems.raise_all()
    from runner.inference.trained_model import open_model

    with closing(make_progress(quiet=config.values["quiet"])) as progress:
        model = open_model(config, progress)
        arguments = {"columns": config.values["metric_slices"], "mc_samples": config.values["mc_samples"]}
        if new_rows is not None:
            note_readings(new_rows, model, progress)
            with explain_errors_in_new_rows(config, with_target=True):
                evaluation = model.evaluate_once(new_rows, on_missing=config.on_missing, **arguments)
        else:
            split = config.split or model.default_split
            evaluation = model.evaluate_once(split, resamples=config.values["intervals"], **arguments)
    slices = _describe_slices(model, NEW_ROWS if new_rows is not None else split, evaluation.slices, config)
    if new_rows is not None:
        _print_metrics_of_rows(config, evaluation, model, slices)
        return 0
    # The report expects the metric names of a run's summary, such as best/valid/loss.
    prefix = METRIC_PREFIXES[split]
    summary = _describe_run(model) | slices
    for key in ("metrics", "intervals", "sampled"):
        values: Mapping[str, Any] = getattr(evaluation, key)
        summary[key] = {f"{prefix}{name.removeprefix(f'{split}/')}": value for name, value in values.items()}
    summary["samples"] = config.values["mc_samples"]
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
    if evaluation.sampled:
        cells += [[label_samples(config.values["mc_samples"]), *map(format_number, evaluation.sampled.values())]]
    facts = [("folder", str(model.folder))]
    if config.values["intervals"] is not None:
        facts = [("note", "only the splits of a run have intervals; other rows have none"), *facts]
    facts = [*((UNDEFINED, text) for text in describe_undefined(slices)), *facts]
    table = Section("", cells, may_turn=True)
    print_tables([*slice_sections(slices), table], facts)


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
