"""A run from its configuration to its result: checked, prepared, resumed or begun, trained, evaluated, recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.types import Source, UserError
from runner import platform
from runner import run_folder as folders
from runner.config.config import Config
from runner.config.provenance import with_origin
from runner.data import transform
from runner.display.progress import make_progress
from runner.display.report import print_report
from runner.errors import DiskError, PartError, RunError, describe_failure, is_disk_error, is_memory_error
from runner.execution.open_folder import SweepMember
from runner.execution.prepare import PreparedRun, prepare_run
from runner.log import LOG, buffer_log, write_to
from runner.platform import cache_folder
from runner.program.model import parameter_count
from runner.record import description as record
from runner.record import predictions as answers
from runner.tracking import DELIVERY_SECONDS, Delivery
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.signals import Signals
from runner.training.trainer import Diverged
from runner.training.trainer_state import TrainerState


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    status: str  # finished, interrupted, diverged
    metrics: Mapping[str, float]
    history: tuple[Mapping[str, float], ...]  # one record an epoch
    folder: Path  # absolute
    run_id: str | None  # of MLflow, where it is known by now
    signal: int | None = None  # what interrupted it
    error: str | None = None  # what went wrong
    monitor: str = "valid/loss"
    higher_is_better: bool = False  # of the monitored figure


def execute(config: Config, *, source: Source | None = None) -> Result:
    """Does what a checked configuration says.

    Raises UserError for what its user can mend, RunError where it can't go on; other errors once they are recorded.
    """
    platform.start_jax(cache_folder())
    with Signals() as signals:
        return run_once(config, signals, source=source)


def run_once(
    config: Config, signals: Signals, *, source: Source | None = None, member: SweepMember | None = None
) -> Result:
    """The only way that a run happens: alone, or as a member of a sweep, with as much less to say."""
    place = "" if member is None else member.place
    shown = make_progress(quiet=config.values["quiet"], epochs=config.values["training"]["epochs"], place=place)
    platform.reset_peak_memory()
    with contextlib.closing(shown), buffer_log() as memory:
        LOG.info("imported and checked")
        run = prepare_run(config, source, shown, signals, member)
        with contextlib.closing(run.folder), disk_error_location(run.folder.path):
            write_to(memory, run.folder.path / "log.txt")
            summary = _delivered(run, signals, member)
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


def _delivered(run: PreparedRun, signals: Signals, member: SweepMember | None) -> dict[str, Any]:
    """Does the run and says what came of it, then waits a little for its record: the summary."""
    path = run.folder.path
    transform.save_transform(path, run.config.values["feature"], run.data.constants, run.data.encoded)
    delivery = member.delivery.child(path) if member else run.tracking.start(path)
    try:
        summary = _recorded(run, signals, delivery)
        run.progress.close()
        if member is None:
            print_report(summary, path, run.tracking.describe(), run.config.values["quiet"])
    finally:
        with run.progress.working("bringing the record to MLflow"):
            run_id = delivery.close(DELIVERY_SECONDS)
        LOG.info("the record is closed")
    if run_id is not None:
        summary["run_id"] = run_id
        folders.write_summary(path, summary)
    if note := delivery.note():
        _tell(run, note)
    return summary


@contextlib.contextmanager
def disk_error_location(path: Path) -> Iterator[None]:
    """Raises DiskError where the disk fails, or a file below a run's folder can't be written."""
    try:
        yield
    except OSError as error:
        if not is_disk_error(error, path):
            raise
        raise DiskError(path, error) from error


def _recorded(run: PreparedRun, signals: Signals, delivery: Delivery) -> dict[str, Any]:
    """Trains and evaluates, while the points go to the record, and writes down how it ended: the summary."""
    path = run.folder.path
    try:
        keep = run.trainer.training.keep_checkpoints
        with with_origin(run.config), contextlib.closing(CheckpointManager(path, delivery, keep=keep)) as archive:
            summary = _trained(run, archive, signals)
    except BaseException as error:
        LOG.exception("the run failed")
        if isinstance(error, PartError):
            error.log = path / "log.txt"
        if any((path / "checkpoints").glob("step_*.npz")):
            _tell(run, f"resume={path.name} goes on from the last checkpoint")
        with contextlib.suppress(OSError):  # the disk may be full
            folders.write_summary(path, _failed(error, path))
        raise
    if summary["error"]:
        LOG.error(summary["error"])
        if run.config.values["quiet"]:
            run.progress.note(summary["error"])
    return summary


def _trained(run: PreparedRun, archive: CheckpointManager, signals: Signals) -> dict[str, Any]:
    """Resumes or begins, trains to the end, and evaluates the best; the summary, which stands in the folder by then."""
    for text in run.data.warnings:
        _tell(run, f"warning: {text}")
    standing = _standing(run, archive)
    error = None
    try:
        status = "finished" if run.trainer.fit(standing, archive) else "interrupted"
    except Diverged as diverged:
        status, error = "diverged", _advice(diverged, run, archive)
    archive.wait()
    summary = {
        "status": status,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": error,
        "run_id": None,
        "metrics": _final(run, standing) if status == "finished" else {},
        "history": standing.history,
        "epochs": len(standing.history),
        "best_epoch": standing.best_step and round(standing.best_step / run.trainer.steps),
        "seconds": run.trainer.seconds(),
        "monitor": run.trainer.training.monitor,
        "higher_is_better": run.trainer.higher_is_better,
    }
    folders.write_summary(run.folder.path, summary)
    return summary


def _failed(error: BaseException, path: Path) -> dict[str, Any]:
    """The summary of a run that an exception ended; a second Ctrl-C, or what its user can fix, leaves it resumable."""
    own = isinstance(error, KeyboardInterrupt | UserError | RunError) and not isinstance(error, PartError)
    resumable = own or is_memory_error(error) or (isinstance(error, OSError) and is_disk_error(error, path))
    return {
        "status": "interrupted" if resumable else "failed",
        "stopped_by": "SIGINT" if isinstance(error, KeyboardInterrupt) else None,
        "error": describe_failure(error),
        "run_id": None,
        "metrics": {},
    }


def _standing(run: PreparedRun, archive: CheckpointManager) -> TrainerState:
    if not run.resumed:
        archive.begin()
        return run.trainer.begin()
    standing, warnings = archive.load(run.trainer.like)
    _tell(run, f"going on from step {standing.step if standing else 0} in {run.folder.path}")
    before = folders.read_record(run.folder.path)
    until = before.get("epochs_until_step", {})
    run.trainer.epochs_until_step = {int(epochs): step for epochs, step in until.items()}
    for text in record.list_changes(before["tags"], record.describe_environment(run.config)):
        warnings.append(f"{text}: what follows may differ from an uninterrupted run, if only in the last digits")
    for text in warnings:
        _tell(run, f"warning: {text}")
    return standing or run.trainer.begin()


def _final(run: PreparedRun, standing: TrainerState) -> dict[str, float]:
    """The figures of the whole run: of the best weights on every split that was held out, and of its cost."""
    parameters, model_state = standing.best or (standing.state.parameters, standing.state.model_state)
    best = next((epoch for epoch in standing.history if epoch["step"] == standing.best_step), standing.history[-1])
    found = {f"best/{name}": value for name, value in best.items() if name.startswith(("train/", "valid/"))}
    found |= _examined(run, parameters, model_state)
    clock = run.trainer.clock
    return found | {
        "epochs": len(standing.history),
        "steps_per_second": clock.steps_per_second(),
        "input_wait_fraction": clock.waiting / clock.training if clock.training else 0.0,
        "compile_seconds": clock.compiling,
        "peak_memory_bytes": platform.peak_memory_bytes(),
        "parameters": parameter_count(parameters),
    }


def _examined(run: PreparedRun, parameters: Any, model_state: Any) -> dict[str, float]:
    """The figures of the test split; what is said of its rows, or else of those of `valid`, is kept in the folder."""
    splits = run.data.splits
    split = next((name for name in ("test", "valid") if name in splits), None)
    if split is None:
        return {}
    figures, said = run.trainer.examine(split, parameters, model_state)
    target = run.trainer.target
    right = run.trainer.targets(split)
    answers.save_predictions(
        run.folder.path, answers.make_recorded(split, target.classes, splits[split], right, said.logits, said.losses)
    )
    return figures if split == "test" else {}


def _advice(diverged: Diverged, run: PreparedRun, archive: CheckpointManager) -> str:
    rate = run.config.values["learning_rate"]
    good = archive.last_good(diverged.step)
    kept = "no checkpoint was made before it" if good is None else f"the last good checkpoint is that of step {good}"
    return (
        f"{diverged}; {kept}. Try a smaller learning_rate (it was {rate:g}), look for extreme values in the data, "
        "or set training.on_nan=continue"
    )


def _tell(run: PreparedRun, text: str) -> None:
    LOG.info(text)
    run.progress.note(text)
