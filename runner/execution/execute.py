"""One run from a `Config` to a `Result`: prepare, train, evaluate, record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.types import Source, UserError
from runner import platform
from runner.config.config import Config
from runner.config.provenance import with_origin
from runner.data.transform import save_transform
from runner.display.progress import make_progress
from runner.display.report import print_report
from runner.errors import DiskError, PartError, RunError, describe_failure, is_disk_error, is_memory_error
from runner.execution.open_folder import SweepMember
from runner.execution.prepare import PreparedRun, prepare_run
from runner.log import LOG, buffer_log, open_log_file
from runner.platform import cache_folder
from runner.program.model import parameter_count
from runner.record.description import describe_environment, list_changes
from runner.record.predictions import RecordedPredictions, save_predictions
from runner.run_folder import read_record, write_summary
from runner.tracking import DELIVERY_SECONDS, Delivery
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.signals import Signals
from runner.training.trainer import Diverged
from runner.training.trainer_state import TrainerState


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        status: `finished`, `interrupted` or `diverged`.
        metrics: the final metrics and costs, by name.
        history: a record for each epoch.
        folder: the run folder, absolute.
        run_id: the id of the MLflow run, if it is known by now.
        signal: the signal that interrupted the run.
        error: what went wrong.
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
        source: takes the place of the source that `data` names.

    Raises UserError for what the user can fix, RunError for other foreseen failures; any other error once it is
    recorded.
    """
    platform.start_jax(cache_folder())
    with Signals() as signals:
        return run_once(config, signals, source=source)


def run_once(
    config: Config, signals: Signals, *, source: Source | None = None, member: SweepMember | None = None
) -> Result:
    """Executes one run, alone or as a member of a sweep: prepare, train, evaluate, record."""
    position = "" if member is None else member.position
    epochs = config.values["training"]["epochs"]
    progress = make_progress(quiet=config.values["quiet"], epochs=epochs, sweep_position=position)
    platform.reset_peak_memory()
    with contextlib.closing(progress), buffer_log() as buffer:
        LOG.info("imported and checked")
        run = prepare_run(config, source, progress, signals, member)
        with contextlib.closing(run.folder), disk_error_location(run.folder.path):
            open_log_file(buffer, run.folder.path / "log.txt")
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


def _train_and_deliver(run: PreparedRun, signals: Signals, member: SweepMember | None) -> dict[str, Any]:
    """Trains and prints the report, then waits a little for the delivery of the record. Returns the summary."""
    path = run.folder.path
    save_transform(path, run.config.values["feature"], run.data.constants, run.data.encoded)
    delivery = member.delivery.add_run(path) if member else run.tracking.start(path)
    try:
        summary = _train_and_record(run, signals, delivery)
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


def _train_and_record(run: PreparedRun, signals: Signals, delivery: Delivery) -> dict[str, Any]:
    """Trains and evaluates, and writes the summary into the run folder, of a failure too. Returns the summary."""
    path = run.folder.path
    try:
        keep = run.trainer.training.keep_checkpoints
        manager = CheckpointManager(path, delivery, keep=keep)
        with with_origin(run.config), contextlib.closing(manager):
            summary = _train(run, manager, signals)
    except BaseException as error:
        LOG.exception("the run failed")
        if isinstance(error, PartError):
            error.log = path / "log.txt"
        if any((path / "checkpoints").glob("step_*.npz")):
            _log_and_note(run, f"resume={path.name} goes on from the last checkpoint")
        with contextlib.suppress(OSError):  # the disk may be full
            write_summary(path, _summarize_failure(error, path))
        raise
    if summary["error"]:
        LOG.error(summary["error"])
        if run.config.values["quiet"]:
            run.progress.note(summary["error"])
    return summary


def _train(run: PreparedRun, checkpoints: CheckpointManager, signals: Signals) -> dict[str, Any]:
    """Trains to the end, evaluates the best weights, and writes the summary. Returns it."""
    for text in run.data.warnings:
        _log_and_note(run, f"warning: {text}")
    state = _resume_or_begin(run, checkpoints)
    error = None
    try:
        status = "finished" if run.trainer.fit(state, checkpoints) else "interrupted"
    except Diverged as diverged:
        status, error = "diverged", _advise(diverged, run, checkpoints)
    checkpoints.wait()
    summary = {
        "status": status,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": error,
        "run_id": None,
        "metrics": _final_metrics(run, state) if status == "finished" else {},
        "history": state.history,
        "epochs": len(state.history),
        "best_epoch": state.best_step and round(state.best_step / run.trainer.steps),
        "seconds": run.trainer.seconds(),
        "monitor": run.trainer.training.monitor,
        "higher_is_better": run.trainer.higher_is_better,
    }
    write_summary(run.folder.path, summary)
    return summary


def _resume_or_begin(run: PreparedRun, checkpoints: CheckpointManager) -> TrainerState:
    """The trainer's state of the newest checkpoint, or that before the first step."""
    if not run.resumed:
        checkpoints.begin()
        return run.trainer.begin()
    state, warnings = checkpoints.load(run.trainer.like)
    _log_and_note(run, f"going on from step {state.step if state else 0} in {run.folder.path}")
    before = read_record(run.folder.path)
    until = before.get("epochs_until_step", {})
    run.trainer.epochs_until_step = {int(epochs): step for epochs, step in until.items()}
    for text in list_changes(before["tags"], describe_environment(run.config)):
        warnings.append(f"{text}: what follows may differ from an uninterrupted run, if only in the last digits")
    for text in warnings:
        _log_and_note(run, f"warning: {text}")
    return state or run.trainer.begin()


def _final_metrics(run: PreparedRun, state: TrainerState) -> dict[str, float]:
    """The metrics of the best weights on each split that was held out, and the costs of the run."""
    parameters, model_state = state.best or (state.state.parameters, state.state.model_state)
    best = next((epoch for epoch in state.history if epoch["step"] == state.best_step), state.history[-1])
    metrics = {f"best/{name}": value for name, value in best.items() if name.startswith(("train/", "valid/"))}
    metrics |= _evaluate_held_out(run, parameters, model_state)
    clock = run.trainer.clock
    return metrics | {
        "epochs": len(state.history),
        "steps_per_second": clock.steps_per_second(),
        "input_wait_fraction": clock.waiting / clock.training if clock.training else 0.0,
        "compile_seconds": clock.compiling,
        "peak_memory_bytes": platform.peak_memory_bytes(),
        "parameters": parameter_count(parameters),
    }


def _evaluate_held_out(run: PreparedRun, parameters: Any, model_state: Any) -> dict[str, float]:
    """The metrics of the test split. The predictions for it, or for the valid split, are kept in the run folder."""
    splits = run.data.splits
    split = next((name for name in ("test", "valid") if name in splits), None)
    if split is None:
        return {}
    metrics, outputs = run.trainer.examine(split, parameters, model_state)
    classes, targets = run.trainer.target.classes, run.trainer.targets(split)
    predictions = RecordedPredictions.from_logits(
        split, classes, splits[split], targets, outputs.logits, outputs.losses
    )
    save_predictions(run.folder.path, predictions)
    return metrics if split == "test" else {}


def _advise(diverged: Diverged, run: PreparedRun, checkpoints: CheckpointManager) -> str:
    rate = run.config.values["learning_rate"]
    good = checkpoints.last_good(diverged.step)
    kept = "no checkpoint was made before it" if good is None else f"the last good checkpoint is that of step {good}"
    return (
        f"{diverged}; {kept}. Try a smaller learning_rate (it was {rate:g}), look for extreme values in the data, "
        "or set training.on_nan=continue"
    )


def _summarize_failure(error: BaseException, path: Path) -> dict[str, Any]:
    """The summary of a run that an exception ended.

    The run stays resumable after a second Ctrl-C, and after an error that the user can fix.
    """
    fixable = isinstance(error, KeyboardInterrupt | UserError | RunError) and not isinstance(error, PartError)
    resumable = fixable or is_memory_error(error) or (isinstance(error, OSError) and is_disk_error(error, path))
    return {
        "status": "interrupted" if resumable else "failed",
        "stopped_by": "SIGINT" if isinstance(error, KeyboardInterrupt) else None,
        "error": describe_failure(error),
        "run_id": None,
        "metrics": {},
    }


@contextlib.contextmanager
def disk_error_location(path: Path) -> Iterator[None]:
    """Raises DiskError if the disk fails, or a file below a run folder can't be written."""
    try:
        yield
    except OSError as error:
        if not is_disk_error(error, path):
            raise
        raise DiskError(path, error) from error


def _log_and_note(run: PreparedRun, text: str) -> None:
    LOG.info(text)
    run.progress.note(text)
