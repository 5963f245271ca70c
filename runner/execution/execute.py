"""Executes a run, from a `Config` to a `Result`: prepares, trains, evaluates and records it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.types import Event, Source, UserError
from runner import platform
from runner.config.config import Config
from runner.config.provenance import errors_with_origin
from runner.data.transform import save_transform
from runner.display.progress import make_progress
from runner.display.report import print_report
from runner.errors import DiskError, PartError, RunError, describe_failure, is_disk_error, is_memory_error
from runner.execution.open_folder import SweepMember, read_extensions
from runner.execution.prepare import PreparedRun, prepare_run
from runner.log import LOG, buffer_log, open_log_file
from runner.platform import cache_folder
from runner.program.model import parameter_count
from runner.program.program import evaluated_weights
from runner.record.description import describe_environment, list_changes
from runner.record.predictions import save_predictions
from runner.run_folder import OBSERVERS_FOLDER, read_record, write_summary
from runner.tracking import DELIVERY_SECONDS, Delivery
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.evaluator import record_predictions
from runner.training.signals import Signals
from runner.training.trainer import DivergedError
from runner.training.trainer_state import TrainerState
from runner.user_code import is_user_code


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        status: `finished`, `interrupted` or `diverged`.
        metrics: the final metrics by name, and the speed, the memory and the size of the run.
        history: the metrics of each evaluation.
        folder: the run folder, absolute.
        run_id: the id of the MLflow run. None: the record is not delivered yet.
        signal: the signal that interrupted the run.
        error: the reason why the run diverged.
        monitor: the name of the monitored value.
        higher_is_better: the direction of the monitored value.
    """

    status: str
    metrics: Mapping[str, float]
    history: tuple[Mapping[str, float], ...]
    folder: Path
    run_id: str | None
    signal: int | None = None
    error: str | None = None
    monitor: str = "valid/loss"
    higher_is_better: bool = False


def execute(config: Config, *, source: Source | None = None) -> Result:
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
    config: Config, signals: Signals, *, source: Source | None = None, member: SweepMember | None = None
) -> Result:
    """Executes one run, alone or as a member of a sweep, under signals that the caller has set up."""
    position = "" if member is None else member.position
    progress = make_progress(quiet=config.values["quiet"], sweep_position=position)
    platform.reset_peak_memory()
    with contextlib.closing(progress), buffer_log() as log_buffer:
        LOG.info("the modules are imported and the configuration is checked")
        run = prepare_run(config, source, progress, signals, member)
        with contextlib.closing(run.folder), as_disk_error(run.folder.path):
            open_log_file(log_buffer, run.folder.path / "log.txt")
            summary = _train_and_deliver(run, signals, member)
    return Result(
        status=summary["status"],
        metrics=summary["metrics"],
        history=tuple(summary["history"]),
        folder=run.folder.path.absolute(),
        run_id=summary["run_id"],
        signal=signals.received,
        error=summary["error"],
        monitor=summary["monitor"],
        higher_is_better=summary["higher_is_better"],
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
    """Trains, prints the report, and waits a few seconds for the delivery of the record. Returns the summary."""
    path = run.folder.path
    save_transform(path, run.config.values["feature"], run.data)
    delivery = member.delivery.add_run(path) if member else run.tracking.start(path)
    try:
        summary = _train_or_record_failure(run, signals, delivery)
        run.progress.close()
        if member is None:
            print_report(summary, path, run.tracking.describe(), run.config.values["quiet"])
    finally:
        with run.progress.working("bringing the record to MLflow"):
            run_id = delivery.close(DELIVERY_SECONDS)
        LOG.info("the record is closed")
    if run_id is not None:
        summary["run_id"] = run_id
        write_summary(path, summary)
    if note := delivery.describe_missing():
        _log_and_note(run, note)
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
        if any((path / "checkpoints").glob("step_*.npz")):
            _log_and_note(run, f"resume={path.name} resumes the run from its last checkpoint")
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
    for warning in run.data.warnings:
        _log_and_note(run, f"warning: {warning}")
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
    metrics = _evaluate_best(run, trainer_state) if status == "finished" else {}
    summary = {
        "status": status,
        "ended_by": ended_by,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": error,
        "run_id": None,
        "metrics": metrics,
        "history": history,
        "epochs": history[-1]["epoch"] if history else 0,
        "best_epoch": best_step and run.trainer.plan.count_epochs(best_step),
        "seconds": run.trainer.seconds(),
        "monitor": run.trainer.training.monitor,
        "higher_is_better": run.trainer.higher_is_better,
    }
    write_summary(run.folder.path, summary)
    return summary


def _resume_or_start(run: PreparedRun, checkpoints: CheckpointManager) -> TrainerState:
    """The trainer's state of the newest checkpoint, or the state before the first step."""
    if not run.is_resumed:
        checkpoints.open_outbox()
        return run.trainer.initial_state()
    trainer_state, warnings = checkpoints.load(run.trainer.state_shapes, run.trainer.unfrozen_shapes)
    step = trainer_state.step if trainer_state else 0
    _log_and_note(run, f"resuming from step {step} in {run.folder.path}")
    run_record = read_record(run.folder.path)
    extensions = read_extensions(run_record, run.trainer.training, len(run.data.splits["train"]))
    run.trainer.plan = replace(run.trainer.plan, extensions=tuple(extensions))
    for change in list_changes(run_record["tags"], describe_environment(run.config)):
        warnings.append(f"{change}: the last digits may differ from those of an uninterrupted run")
    for warning in warnings:
        _log_and_note(run, f"warning: {warning}")
    return trainer_state or run.trainer.initial_state()


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


def _evaluate_best(run: PreparedRun, trainer_state: TrainerState) -> dict[str, float]:
    """Evaluates the best weights of a finished run, and calls the observers. Returns the final metrics."""
    weights = trainer_state.best or evaluated_weights(run.trainer.parts, trainer_state.train_state)
    metrics = _final_metrics(run, trainer_state, *weights)
    step = trainer_state.step
    event = Event("end", step, run.trainer.plan.count_epochs(step), run.folder.path / OBSERVERS_FOLDER)
    run.observers.notify(event, metrics, weights)
    return metrics


def _final_metrics(
    run: PreparedRun, trainer_state: TrainerState, parameters: Any, model_state: Any
) -> dict[str, float]:
    """The metrics of the best weights by name, and the speed, the memory and the size of the run."""
    history = trainer_state.history
    best = next((record for record in history if record["step"] == trainer_state.best_step), history[-1])
    best_metrics = {name: value for name, value in best.items() if name.startswith(("train/", "valid/"))}
    timings = run.trainer.timings
    return {
        **{f"best/{name}": value for name, value in best_metrics.items()},
        **_evaluate_held_out(run, parameters, model_state),
        "epochs": history[-1]["epoch"],
        "steps_per_second": timings.steps_per_second(),
        "input_wait_fraction": timings.waiting / timings.training if timings.training else 0.0,
        "compile_seconds": timings.compiling,
        "peak_memory_bytes": platform.peak_memory_bytes(),
        "parameters": parameter_count(parameters),
    }


def _evaluate_held_out(run: PreparedRun, parameters: Any, model_state: Any) -> dict[str, float]:
    """Evaluates the test split, or else the valid split, and saves the predictions for it.

    Returns:
        The metrics of the test split; none for the valid split, because the history has them.
    """
    trainer, splits = run.trainer, run.data.splits
    split = next((name for name in ("test", "valid") if name in splits), None)
    if split is None:
        return {}
    metrics, outputs = trainer.evaluate_with_outputs(split, parameters, model_state)
    if predictions := record_predictions(trainer, split, outputs):
        save_predictions(run.folder.path, predictions)
    return metrics if split == "test" else {}


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
    }


def _log_and_note(run: PreparedRun, text: str) -> None:
    LOG.info(text)
    run.progress.note(text)
