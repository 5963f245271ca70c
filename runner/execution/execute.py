"""Executes a run, from a `Config` to a `Result`: prepares, trains, evaluates and records it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from components.types import Clock, Event, UserError
from runner import platform
from runner.config.catalog import RUN_YAML, display_path
from runner.config.config import Config
from runner.config.provenance import errors_with_origin
from runner.data.python_rows import PythonData
from runner.data.transform import save_transform
from runner.display.frames import make_frame
from runner.display.html import format_html
from runner.display.numbers import format_number
from runner.display.progress import make_progress
from runner.display.report import metric_rows, print_report
from runner.display.run_length import format_epochs
from runner.errors import DiskError, PartError, RunError, describe_failure, is_disk_error, is_memory_error
from runner.execution.open_folder import SweepMember, read_extensions
from runner.execution.prepare import PreparedRun, prepare_run, set_weights
from runner.log import LOG, buffer_log, open_log_file
from runner.platform import cache_folder
from runner.program.model import measure_sparsity, parameter_count
from runner.program.parts import record_name
from runner.record.description import describe_environment, list_changes
from runner.record.predictions import RecordedPredictions, save_predictions
from runner.run_folder import OBSERVERS_FOLDER, has_checkpoint, read_record, write_summary
from runner.tracking import DELIVERY_SECONDS, Delivery, describe_view, note_missing
from runner.training.averaging import describe_result
from runner.training.calibration import BOUNDS as TEMPERATURES
from runner.training.calibration import SPLIT as CALIBRATION_SPLIT
from runner.training.calibration import fit_temperatures, set_temperatures
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.evaluator import record_predictions
from runner.training.example_sums import ExampleSums
from runner.training.intervals import MIN_ROWS, Interval, bootstrap_intervals, find_obstacle
from runner.training.rate_curve import sample_schedule, write_curve
from runner.training.signals import Signals
from runner.training.slices import Slice, evaluate_slices
from runner.training.trainer import DivergedError, Trainer
from runner.training.trainer_state import TrainerState
from runner.user_code import is_user_code

if TYPE_CHECKING:
    import pandas

    from runner.figures import Figures


@dataclass(frozen=True, repr=False)
class Result:
    """The result of a run.

    Attributes:
        status: `finished`, `interrupted` or `diverged`.
        metrics: the final metrics by name, and the speed, the memory and the size of the run.
        intervals: the bootstrapped 95 % intervals, (low, high), of the metrics of the test split, or else of the valid
            split, by name. Empty: there are none.
        slices: the metrics of the rows with each value of a column of `metric_slices`, by split: mappings with
            `column`, `value`, `rows`, `metrics`, and `undefined`, why metrics are NaN.
        records: the metrics of each evaluation, by name.
        folder: the run folder, absolute.
        run_id: the id of the MLflow run. None: the record is not delivered yet.
        signal: the signal that interrupted the run.
        error: the reason why the run diverged.
        monitor: the name of the monitored value.
        higher_is_better: the direction of the monitored value.
    """

    status: str
    metrics: Mapping[str, float]
    records: tuple[Mapping[str, float], ...]
    folder: Path
    run_id: str | None
    signal: int | None = None
    error: str | None = None
    monitor: str = "valid/loss"
    higher_is_better: bool = False
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    slices: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def history(self) -> pandas.DataFrame:
        """The metrics of each evaluation as a data frame: a row for each evaluation, a column for each metric."""
        return make_frame(self.records)

    def figures(self) -> Figures:
        """Draws the figures of the run: learning curves, and those of the predictions for the test split."""
        from runner.figures import Figures, draw  # imports Matplotlib

        draw(self.folder)
        return Figures(self.folder)

    def __repr__(self) -> str:
        metrics = [
            f"{name}={format_number(value)}" for name, value in _main_metrics(self.metrics, self.monitor).items()
        ]
        return f"Result({', '.join([self.status, *metrics, f'folder={self.folder.name}'])})"

    def _repr_html_(self) -> str:
        facts = [("status", f"{self.status}: {self.error}" if self.error else self.status)]
        facts += [("epochs", format_epochs(self.records[-1]["epoch"]))] if self.records else []
        facts.append(("folder", str(self.folder)))
        return format_html("Run", facts, list(metric_rows(self.metrics, self.intervals)))


def _main_metrics(metrics: Mapping[str, float], monitor: str) -> dict[str, float]:
    """The monitored metric of the best weights, and the metrics of the test split."""
    names = [f"best/{monitor}", *(name for name in metrics if name.startswith("test/"))]
    return {name: metrics[name] for name in names if name in metrics}


def execute(config: Config, *, source: PythonData | None = None) -> Result:
    """Executes one run alone.

    Args:
        config: a checked configuration.
        source: replaces the source that `data` names. None: that source.

    Raises:
        UserError: the user can fix the problem.
        RunError: the run failed in a foreseen way. Any other exception is recorded, and raised again.
    """
    platform.start_jax(cache_folder())
    with Signals() as signals:
        return execute_with_signals(config, signals, source=source)


def execute_with_signals(
    config: Config, signals: Signals, *, source: PythonData | None = None, member: SweepMember | None = None
) -> Result:
    """Executes one run, alone or as a member of a sweep, under signals that the caller has set up."""
    position = "" if member is None else member.position
    progress = make_progress(quiet=config.values["quiet"], sweep_position=position)
    platform.reset_peak_memory()
    with contextlib.closing(progress), buffer_log() as log_buffer:
        LOG.info("the modules are imported and the configuration is checked")
        with signals.suspended():
            run = prepare_run(config, source, progress, signals, member)
        with contextlib.closing(run.folder), as_disk_error(run.folder.path):
            open_log_file(log_buffer, run.folder.path / "log.txt")
            summary = _train_and_deliver(run, signals, member)
    return Result(
        status=summary["status"],
        metrics=summary["metrics"],
        records=tuple(summary["history"]),
        folder=run.folder.path.absolute(),
        run_id=summary["run_id"],
        signal=signals.received,
        error=summary["error"],
        monitor=summary["monitor"],
        higher_is_better=summary["higher_is_better"],
        intervals=summary["intervals"],
        slices=summary.get("slices", {}),
    )


@contextlib.contextmanager
def as_disk_error(path: Path) -> Iterator[None]:
    """Raises DiskError in place of an OSError of a failing disk, or of a file below a run folder.

    Args:
        path: the run folder.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_error(error, path):
            raise
        raise DiskError(path, error) from error


def _train_and_deliver(run: PreparedRun, signals: Signals, member: SweepMember | None) -> dict[str, Any]:
    """Trains, waits a few seconds for the delivery of the record, and prints the report. Returns the summary."""
    path = run.folder.path
    values = run.config.values
    save_transform(path, values["feature"], run.data, values["data"], values["operations"], values["examples"])
    if run.trainer.plan.total_steps:
        write_curve(path, sample_schedule(run.trainer))
    delivery = member.delivery.add_run(path) if member else run.tracking.start(path)
    printed = member.printed_messages if member else set()
    for sentence in run.data.messages:
        LOG.info("%s", sentence)
        if sentence not in printed:  # the runs of a sweep mostly have the same data
            run.progress.note(sentence)
        printed.add(sentence)
    summary: dict[str, Any] = {}
    try:
        summary = _train_or_record_failure(run, signals, delivery)
    finally:
        try:
            with run.progress.working("bringing the record to MLflow"):
                run_id = delivery.close(DELIVERY_SECONDS)
        except KeyboardInterrupt:  # the run has saved everything
            run.progress.close()
            if summary and member is None:
                print_report(summary, path, None, run.config.values["quiet"])
            raise
        LOG.info("the record is closed")
    if run_id is not None:
        summary["run_id"] = run_id
        write_summary(path, summary)
    run.progress.close()
    if member is None:
        print_report(summary, path, describe_view(path, run.tracking.describe()), run.config.values["quiet"])
    if note := delivery.describe_missing():
        LOG.info(note)
        note_missing(note, run.progress, quiet=run.config.values["quiet"])
    return summary


def _train_or_record_failure(run: PreparedRun, signals: Signals, delivery: Delivery) -> dict[str, Any]:
    """Trains and evaluates, and returns the summary. After a failure, writes a summary of it, and raises it again."""
    path = run.folder.path
    try:
        manager = CheckpointManager(path, delivery, keep=run.trainer.training.keep_checkpoints)
        with errors_with_origin(run.config), contextlib.closing(manager) as checkpoints:
            summary = _train_and_evaluate(run, checkpoints, signals)
    except BaseException as error:
        LOG.exception("the run failed")
        if isinstance(error, PartError):
            error.log = path / "log.txt"
        if has_checkpoint(path):
            _log_and_note(run, f"resume={path.name} resumes the run from its last checkpoint")
        elif isinstance(error, KeyboardInterrupt | UserError):
            _log_and_note(run, f"ended before its first checkpoint; resume={path.name} starts the run again")
        with contextlib.suppress(OSError):  # the disk may be full
            write_summary(path, _summarize_failure(error, path))
        raise
    if summary["error"]:
        LOG.error(summary["error"])
        if run.config.values["quiet"]:  # otherwise the report of the run or of its sweep has the error
            run.progress.note(summary["error"])
    return summary


def _train_and_evaluate(run: PreparedRun, checkpoints: CheckpointManager, signals: Signals) -> dict[str, Any]:
    """Trains, evaluates the best weights, and writes the summary into the run folder. Returns the summary."""
    trainer_state = _resume_or_start(run, checkpoints)
    ended_by = error = None
    try:
        ended_by = run.trainer.fit(trainer_state, checkpoints, run.observers)
        status = "finished" if ended_by else "interrupted"
    except DivergedError as diverged:
        last_good_step = checkpoints.remove_since(diverged.step)  # the weights of later steps are not finite
        status, error = "diverged", _describe_divergence(diverged, last_good_step, run.config.values)
    checkpoints.wait()
    history, best_step = trainer_state.history, trainer_state.best_step
    final = _evaluate_best(run, trainer_state) if status == "finished" else FinalMetrics()
    summary = {
        "status": status,
        "ended_by": ended_by,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": error,
        "run_id": None,
        "metrics": dict(final.metrics),
        "intervals": dict(final.intervals),
        "temperatures": dict(final.temperatures),
        "notes": list(final.notes),
        "slices": {split: [each.to_plain() for each in slices] for split, slices in final.slices.items()},
        "history": history,
        "epochs": history[-1]["epoch"] if history else 0,
        "best_epoch": best_step and run.trainer.plan.count_epochs(best_step),
        "seconds": run.trainer.seconds(),
        "monitor": run.trainer.training.monitor,
        "higher_is_better": run.trainer.higher_is_better,
        "batch_size": run.trainer.training.batch_size,
    }
    write_summary(run.folder.path, summary)
    return summary


def _resume_or_start(run: PreparedRun, checkpoints: CheckpointManager) -> TrainerState:
    """The trainer's state of the newest checkpoint, or the state before the first step."""
    if not run.is_resumed:
        checkpoints.open_outbox()
        return run.trainer.initial_state()
    trainer_state, warnings = checkpoints.load(run.trainer.state_shapes, run.trainer.later_shapes)
    step = trainer_state.step if trainer_state else 0
    _log_and_note(run, f"resuming from step {step} in {run.folder.path}")
    run_record = read_record(run.folder.path)
    extensions = read_extensions(run_record, run.trainer.training, len(run.data.splits["train"]))
    run.trainer.plan = replace(run.trainer.plan, extensions=tuple(extensions))
    for change in list_changes(run_record, run.config, describe_environment(run.config)):
        warnings.append(f"{change}: the last digits may differ from those of an uninterrupted run")
    for warning in warnings:
        _log_and_note(run, f"warning: {warning}")
    if trainer_state and (note := _describe_stretched_schedule(run.trainer, trainer_state)):
        _log_and_note(run, note)
    if trainer_state is None and run.trainer.weights_source is None:  # its checkpoints are all damaged
        set_weights(run.trainer, run.config, run.progress)
    return trainer_state or run.trainer.initial_state()


def _describe_stretched_schedule(trainer: Trainer, trainer_state: TrainerState) -> str | None:
    """A note if the run was extended at this step, and its learning rate jumps there; None: it doesn't.

    A schedule that depends on the length of the run, such as a cosine, is computed again for the longer run.
    """
    plan, step = trainer.plan, trainer_state.step
    if step == 0 or not any(end.step == step for end in plan.extensions):
        return None
    before, after = plan.schedule_steps_at(step - 1), plan.schedule_steps_at(step)
    if before == after:
        return None
    clocks = [Clock(step - 1, before, plan.steps_per_epoch), Clock(step, before, plan.steps_per_epoch)]
    clocks.append(Clock(min(step, after - 1), after, plan.steps_per_epoch))
    rate_at = jax.jit(lambda clock: trainer.schedule.at(clock)["learning_rate"] * trainer_state.monitor.scale)
    last, shorter, longer = (float(rate_at(clock)) for clock in clocks)
    if math.isclose(shorter, longer, rel_tol=1e-5):
        return None
    reached, length = format_number(last), _write_length(before, plan.steps_per_epoch)
    return (
        f"note: the schedule now spans {after:,} steps instead of {before:,}, so the learning rate goes from {reached} "
        f"in step {step:,} to {format_number(longer)} in the next one. To keep {reached} from here on, stop the run "
        f"and resume it with training.schedule_length={length}"
    )


def _write_length(steps: int, steps_per_epoch: int) -> str:
    """A duration of so many steps, as epochs if they are whole."""
    epochs, rest = divmod(steps, steps_per_epoch)
    return f"{steps}st" if rest else f"{epochs}ep"


def _describe_divergence(diverged: DivergedError, last_good_step: int | None, values: Mapping[str, Any]) -> str:
    """The error of a run that diverged.

    Args:
        diverged: the error of the trainer.
        last_good_step: the step of the newest checkpoint; None: there is none.
        values: the configuration.
    """
    if last_good_step is None:
        checkpoint = "no checkpoint was saved before"
    else:
        checkpoint = f"the last good checkpoint is step {last_good_step}"
    own = [name for name, node in values["augmentation"].items() if is_user_code(node["_target_"])]
    weights = f"check that augmentation.{own[0]} returns no weight below 0, and `present` as it is, " if own else ""
    return (
        f"{diverged}; {checkpoint}. Try a smaller learning_rate (it was {values['learning_rate']:g}), look for extreme "
        f"values in the data, {weights}or set training.on_nan=continue"
    )


class FinalMetrics(NamedTuple):
    """What a finished run knows of its best weights.

    Attributes:
        metrics: the metrics by name.
        intervals: intervals of these metrics, (low, high), by name.
        temperatures: the number that divides the logits of each target; empty: they aren't calibrated.
        notes: what the user should know about them.
        slices: the metrics of the slices of held-out splits (`metric_slices`), by split.
    """

    metrics: Mapping[str, float] = MappingProxyType({})
    intervals: Mapping[str, Interval] = MappingProxyType({})
    temperatures: Mapping[str, float] = MappingProxyType({})
    notes: Sequence[str] = ()
    slices: Mapping[str, Sequence[Slice]] = MappingProxyType({})


def _evaluate_best(run: PreparedRun, trainer_state: TrainerState) -> FinalMetrics:
    """Evaluates the best weights of a finished run, and calls the observers."""
    trainer = run.trainer
    weights = trainer_state.best or trainer.program.evaluated_weights(trainer.program_inputs, trainer_state.train_state)
    temperatures, uncalibrated = _fit_temperatures(run, *weights)
    weights = weights[0], set_temperatures(weights[1], temperatures)
    held_out = _evaluate_held_out(run, *weights)
    metrics = _add_to_metrics(run, trainer_state, held_out.metrics, weights[0])
    notes: Sequence[str] = held_out.notes
    if temperatures:
        metrics |= {f"best/{name}": value for name, value in trainer.evaluate(CALIBRATION_SPLIT, *weights).items()}
        metrics |= {f"uncalibrated/{name}": value for name, value in uncalibrated.items()}
        metrics |= {record_name(name, "temperature"): value for name, value in temperatures.items()}
        notes = [*notes, _describe_temperatures(temperatures, metrics)]
    if averaging := trainer.parts.members.averaging:
        name, member = averaging
        best_step = trainer_state.best_step
        notes = [*notes, describe_result(f"update.{name}", member, trainer.plan, trainer_state.history, best_step)]
    step = trainer_state.step
    event = Event("end", step, run.trainer.plan.count_epochs(step), run.folder.path / OBSERVERS_FOLDER)
    run.observers.notify(event, metrics, weights)
    return held_out._replace(metrics=metrics, temperatures=temperatures, notes=notes)


def _fit_temperatures(
    run: PreparedRun, parameters: Any, model_state: Any
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The temperature of each target, and the metrics of the held-out splits without them. Empty: there are none."""
    if run.config.values["calibrate"] is None:
        return {}, {}
    trainer = run.trainer
    metrics, outputs = trainer.evaluate_with_outputs(CALIBRATION_SPLIT, parameters, model_state)
    if "test" in run.data.splits:
        metrics |= trainer.evaluate("test", parameters, model_state)
    return fit_temperatures(trainer, outputs), metrics


def _describe_temperatures(temperatures: Mapping[str, float], metrics: Mapping[str, float]) -> str:
    """A note with the temperatures, and the losses before and after."""
    several = len(temperatures) > 1
    numbers = [
        f"{name} {format_number(value)}" if several else format_number(value) for name, value in temperatures.items()
    ]
    losses = [
        f"{split}/loss {format_number(metrics[f'uncalibrated/{split}/loss'])} -> {format_number(metrics[name])}"
        for split, name in {"valid": "best/valid/loss", "test": "test/loss"}.items()
        if name in metrics
    ]
    at_bound = [name for name, value in temperatures.items() if value in TEMPERATURES]
    warning = f". The best one is beyond the bounds {TEMPERATURES[0]:g} and {TEMPERATURES[1]:g}" if at_bound else ""
    return f"temperature {', '.join(numbers)}: {', '.join(losses)}{warning}"


def _add_to_metrics(
    run: PreparedRun, trainer_state: TrainerState, held_out: Mapping[str, float], parameters: Any
) -> dict[str, float]:
    """The metrics of the best weights by name, and the speed, the memory and the size of the run."""
    history = trainer_state.history
    best = next((record for record in history if record["step"] == trainer_state.best_step), history[-1])
    best_metrics = {name: value for name, value in best.items() if name.startswith(("train/", "valid/"))}
    timings = run.trainer.timings
    return {
        **{f"best/{name}": value for name, value in best_metrics.items()},
        **held_out,
        **({} if run.data.skipped_rows is None else {"skipped_rows": run.data.skipped_rows}),
        "epochs": history[-1]["epoch"],
        "steps_per_second": timings.steps_per_second(),
        "input_wait_fraction": timings.waiting / timings.training if timings.training else 0.0,
        "compile_seconds": timings.compiling,
        "peak_memory_bytes": platform.peak_memory_bytes(),
        "parameters": parameter_count(parameters),
        **({"sparsity": share} if (share := measure_sparsity(parameters)) else {}),
    }


def _evaluate_held_out(run: PreparedRun, parameters: Any, model_state: Any) -> FinalMetrics:
    """Evaluates the test split, or else the valid split, and saves the predictions for it.

    The metrics of the valid split are left out, because the history has them.
    """
    trainer, splits = run.trainer, run.data.splits
    split = next((name for name in ("test", "valid") if name in splits), None)
    if split is None:
        return FinalMetrics()
    metrics, outputs = trainer.evaluate_with_outputs(split, parameters, model_state)
    if predictions := record_predictions(trainer, split, outputs):
        save_predictions(run.folder.path, predictions)
    notes = list(_compare_with_majority(metrics, predictions))
    prefix = "" if split == "test" else "best/"
    sums = ExampleSums(trainer, split, outputs)
    by_name = _compute_intervals(run, sums, notes)
    intervals = {f"{prefix}{name}": interval for name, interval in by_name.items()}
    slices = dict(_evaluate_slices(run, sums, parameters, model_state))
    return FinalMetrics(metrics if split == "test" else {}, intervals, notes=notes, slices=slices)


def _evaluate_slices(
    run: PreparedRun, sums: ExampleSums, parameters: Any, model_state: Any
) -> Iterator[tuple[str, list[Slice]]]:
    """Yields the held-out splits and the metrics of their slices. `sums` are those of the evaluated split."""
    trainer = run.trainer
    for name in ("test", "valid") if trainer.slices else ():
        if name not in run.data.splits or trainer.signals.received:
            continue
        with run.progress.working(f"evaluating slices of the {name} split"):
            own = sums
            if name != sums.split:
                outputs = trainer.evaluate_with_outputs(name, parameters, model_state)[1]
                own = ExampleSums(trainer, name, outputs)
            yield name, evaluate_slices(own, trainer.slices, note=partial(_log_and_note, run))


def _compute_intervals(run: PreparedRun, sums: ExampleSums, notes: list[str]) -> dict[str, Interval]:
    """The intervals of the metrics of a split; empty, with a note, if there can be none.

    The note about a small split, which has none by default, is added to the notes of the run's report.
    """
    resamples, split = run.config.values["intervals"], sums.split
    rows = len(run.data.splits[split])
    if resamples is None or not sums.outputs.logits:
        return {}
    if obstacle := find_obstacle(rows, resamples):
        text = f"no intervals for the {split} split: {obstacle}"
        is_default = display_path(RUN_YAML) in run.config.origins.get("intervals", "")
        if is_default and rows < MIN_ROWS:  # each run of a sweep would print it
            LOG.info(text)
            notes.append(text)
        else:
            _log_and_note(run, text)
        return {}
    with run.progress.working("computing intervals of the metrics"):
        return bootstrap_intervals(
            sums,
            resamples,
            run.config.values["seed"],
            note=partial(_log_and_note, run),
            is_stopped=lambda: run.trainer.signals.received,
        )


def _compare_with_majority(metrics: Mapping[str, float], predictions: Iterable[RecordedPredictions]) -> Iterator[str]:
    """Yields a note for each accuracy that is no better than that of predicting the most common class for every row."""
    for each in predictions:
        name = f"{each.split}/{record_name(each.target_name, 'accuracy')}"
        if name in metrics and each.majority is not None and metrics[name] <= each.majority[1]:
            majority, share = each.majority
            accuracy, reached = format_number(metrics[name]), format_number(share)
            relation = "as good as" if accuracy == reached else "no better than"
            yield f"{name} {accuracy} is {relation} predicting `{majority}` for every row ({reached})"


def _summarize_failure(error: BaseException, path: Path) -> dict[str, Any]:
    """The summary of a run that an exception ended.

    The status is `interrupted`, so that the run can be resumed, after a second Ctrl-C, after an error that the user can
    fix, and if memory or disk space is short. After any other error it is `failed`.
    """
    is_ctrl_c = isinstance(error, KeyboardInterrupt)
    is_fixable = isinstance(error, UserError | RunError) and not isinstance(error, PartError)
    is_resource_error = is_memory_error(error) or (isinstance(error, OSError) and is_disk_error(error, path))
    return {
        "status": "interrupted" if is_ctrl_c or is_fixable or is_resource_error else "failed",
        "stopped_by": "SIGINT" if is_ctrl_c else None,
        "error": describe_failure(error),
        "run_id": None,
        "metrics": {},
        "intervals": {},
    }


def _log_and_note(run: PreparedRun, text: str) -> None:
    LOG.info(text)
    run.progress.note(text)
