"""A run from its configuration to its result: checked, prepared, resumed or begun, trained, evaluated, recorded."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.types import UserError
from runner import folder as folders
from runner import platform, record
from runner.build import build
from runner.check import check
from runner.checkpoint import Checkpoints
from runner.compose import Config, compose, from_yaml, to_yaml
from runner.data import Data, Features, SplitSource, cache_folder, prepare
from runner.folder import Folder
from runner.loop import Diverged, Standing, Trainer
from runner.model import parameter_count
from runner.numbers import collect
from runner.outbox import Outbox, cover
from runner.program import Program, as_arrays
from runner.progress import Progress, progress
from runner.report import table
from runner.settings import Training
from runner.signals import Signals

DELIVERY_SECONDS = 10.0  # how long the end of a run waits for the record

log = logging.getLogger("titrate")


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    status: str  # finished, interrupted, diverged
    metrics: Mapping[str, float]
    history: tuple[Mapping[str, float], ...]  # one record an epoch
    folder: Path
    run_id: str | None  # of MLflow, where it is known by now
    signal: int | None = None  # what interrupted it


@dataclass
class Run:
    """Everything that a run holds while it lives."""

    config: Config
    training: Training
    numbers: Mapping[str, np.ndarray]
    data: Data
    program: Program
    tracking: Any
    progress: Progress
    folder: Folder
    resumed: bool
    began: float


def execute(config: Config, *, source: SplitSource | None = None) -> Result:
    """Does what a configuration says; the only way that a run happens."""
    began = time.monotonic()
    check(config)
    if config.values["mode"] == "deliver":
        return _deliver(config)
    if config.values["resume"] and not set(config.overrides) - {f"resume={config.values['resume']}"}:
        config = _as_then(config)
    platform.prepare(cache_folder())
    shown = progress(quiet=config.values["quiet"], epochs=config.values["training"]["epochs"])
    with contextlib.closing(shown), Signals() as signals:
        run = _prepare(config, source, shown, began)
        with contextlib.closing(run.folder), _logging_to(run.folder.path / "log.txt"):
            return _recorded(run, signals)


def _prepare(config: Config, source: SplitSource | None, shown: Progress, began: float) -> Run:
    """All that comes before the first step, up to the run's folder."""
    if warning := platform.unused_accelerator():
        shown.note(f"warning: {warning}")
    static, numbers = collect(config)
    source = source or build(static["data"], numbers)
    features = Features(**build(static["feature"], numbers))
    identity = json.dumps([config.values["data"], config.values["feature"]], sort_keys=True)
    with shown.working("preparing the data"):
        data = prepare(source, features, identity=identity, cache=cache_folder())
    training = Training(**config.values["training"])
    _check_splits(data, training)
    program = program_of(static, features, data)
    tracking = build(static["tracking"], numbers)
    folder, resumed = _open_folder(config, data, tracking)
    arrays = as_arrays(numbers, config.values["seed"])
    return Run(config, training, arrays, data, program, tracking, shown, folder, resumed, began)


def _recorded(run: Run, signals: Signals) -> Result:
    """Trains and evaluates, while the points go to the record, and writes down how it ended."""
    path = run.folder.path
    (path / "summary.json").unlink(missing_ok=True)
    for text in run.data.warnings:
        _tell(run, f"warning: {text}")
    delivery = run.tracking.start(path)
    trainer = _trainer(run, signals, delivery)
    try:
        summary = _trained(run, trainer, signals)
    except BaseException as error:
        log.exception("the run failed")
        stopped = isinstance(error, KeyboardInterrupt)
        summary = {
            "status": "interrupted" if stopped else "failed",
            "stopped_by": type(error).__name__,
            "error": str(error),
        }
        _summarize(path, summary)
        raise
    finally:
        run_id = delivery.close(DELIVERY_SECONDS)
    summary["run_id"] = run_id
    _summarize(path, summary)
    if warning := delivery.warning():
        _tell(run, f"warning: {warning}")
    run.progress.close()
    table(summary, path, run.tracking.describe(), run.config.values["quiet"])
    return Result(summary["status"], summary["metrics"], tuple(summary["history"]), path, run_id, signals.received)


def _trained(run: Run, trainer: Trainer, signals: Signals) -> dict[str, Any]:
    """Resumes or begins, trains to the end, and evaluates the best; the summary, which stands in the folder by then."""
    standing = _standing(run, trainer)
    error = None
    with contextlib.closing(Outbox(run.folder.path, covered=standing.points)) as outbox:
        try:
            status = "finished" if trainer.fit(standing, outbox) else "interrupted"
        except Diverged as diverged:
            status, error = "diverged", _advice(diverged, run, standing)
        trainer.checkpoints.wait()
    summary = {
        "status": status,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": error,
        "run_id": None,
        "metrics": _final(run, trainer, standing) if status == "finished" else {},
        "history": standing.history,
        "epochs": len(standing.history),
        "best_epoch": standing.best_step and round(standing.best_step / trainer.steps),
        "seconds": trainer.seconds(),
    }
    _summarize(run.folder.path, summary)
    return summary


def _standing(run: Run, trainer: Trainer) -> Standing:
    if not run.resumed:
        return trainer.begin()
    standing, damaged = trainer.resume()
    before = json.loads((run.folder.path / "record.json").read_text())["tags"]
    where = f"step {standing.step}" if standing else "the beginning"
    _tell(run, f"going on from {where} in {run.folder.path}")
    for text in (*damaged, *record.changed(before, record.tags(run.config))):
        _tell(run, f"warning: {text}")
    return standing or trainer.begin()


def _final(run: Run, trainer: Trainer, standing: Standing) -> dict[str, float]:
    """The figures of the whole run: of the best weights on every split that was held out, and of its cost."""
    parameters, model_state = standing.best or (standing.state.parameters, standing.state.model_state)
    best = next((epoch for epoch in standing.history if epoch["step"] == standing.best_step), standing.history[-1])
    found = {f"best/{name}": value for name, value in best.items() if name.startswith(("train/", "valid/"))}
    if "test" in run.data.splits:
        found |= trainer.evaluate("test", parameters, model_state)
    clock = trainer.clock
    return found | {
        "epochs": len(standing.history),
        "steps_per_second": clock.steps_per_second(),
        "input_wait_fraction": clock.waiting / clock.training if clock.training else 0.0,
        "compile_seconds": clock.compiling,
        "peak_memory_bytes": platform.peak_memory_bytes(),
        "parameters": parameter_count(parameters),
    }


def _advice(diverged: Diverged, run: Run, standing: Standing) -> str:
    rate = run.config.values["learning_rate"]
    good = standing.history[-1]["step"] if standing.history else None
    kept = f"the last good checkpoint is that of step {good}" if good else "no checkpoint was made before it"
    return (
        f"{diverged}; {kept}. Try a smaller learning_rate (it was {rate:g}), look for extreme values in the data, "
        "or set training.on_nan=continue"
    )


def _trainer(run: Run, signals: Signals, delivery: Any) -> Trainer:
    path = run.folder.path

    def saved(offset: int) -> None:
        cover(path, offset)
        delivery.poke()

    checkpoints = Checkpoints(path / "checkpoints")
    return Trainer(
        run.program,
        run.data,
        run.training,
        run.numbers,
        checkpoints=checkpoints,
        progress=run.progress,
        signals=signals,
        saved=saved,
    )


def _deliver(config: Config) -> Result:
    """`mode=deliver`: brings to MLflow what waits in the folders of earlier runs."""
    from runner.tracking import deliver

    root = Path(config.values["folder"])
    only = folders.find(root, config.values["resume"]) if config.values["resume"] else None
    for outcome in deliver.deliver_all(root, only):
        print(outcome)
    return Result("finished", {}, (), only or root, None)


def _summarize(path: Path, summary: Mapping[str, Any]) -> None:
    folders.write_atomically(path / "summary.json", json.dumps(summary, indent=1))


def _tell(run: Run, text: str) -> None:
    log.info(text)
    run.progress.note(text)


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


_PROGRAMS: dict[str, Program] = {}


def program_of(static: Mapping[str, Any], features: Features, data: Data) -> Program:
    """The program of what is static: runs that differ only in their numbers share it."""
    groups = ("feature", "architecture", "loss", "metric", "optimizer", "schedule", "regularizer")
    learned = {name: sorted(constants.static.items()) for name, constants in data.constants.items()}
    key = repr(([static[group] for group in groups], learned))
    if key not in _PROGRAMS:
        _PROGRAMS[key] = Program(static, features, data.constants)
    return _PROGRAMS[key]


def _check_splits(data: Data, training: Training) -> None:
    rows = len(data.splits["train"])
    if training.batch_size > rows:
        raise UserError(
            f"training.batch_size={training.batch_size} is larger than the training split: choose at most {rows}, its examples"
        )
    split = training.monitor.partition("/")[0]
    if split != "train" and split not in data.splits:
        raise UserError(
            f"training.monitor={training.monitor}: the data has no such split (it has {', '.join(data.splits)}); "
            f"hold some out by data.{split}=0.1, or set training.monitor=train/loss"
        )


def _open_folder(config: Config, data: Data, tracking: Any) -> tuple[Folder, bool]:
    """The run's folder, locked: the one to go on in, or a new one; and whether it is resumed."""
    root = Path(config.values["folder"])
    if config.values["resume"]:
        return _named(config, root), True
    mark = folders.digest(config.values, data.fingerprint)
    if not config.values["fresh"] and (found := folders.interrupted(root, mark)) is not None:
        return found, True
    made = record.record(config, data, mark, tracking.describe())
    files = {
        "config.yaml": to_yaml(config.values),
        "overrides.yaml": to_yaml(list(config.overrides)),
        "record.json": json.dumps(made, indent=1),
    }
    return folders.create(root, made["name"], mark, files), False


def _named(config: Config, root: Path) -> Folder:
    """The folder that `resume` names, its configuration compared with this one: only the epochs may grow."""
    path = folders.find(root, config.values["resume"])
    before = from_yaml((path / "config.yaml").read_text())
    old, new = (dict(record.leaves(folders.of_the_run(values))) for values in (before, config.values))
    grown = new["training.epochs"] > old["training.epochs"]
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if wrong := [key for key in differing if not (key == "training.epochs" and grown)]:
        lines = [f"  {key}: was {old.get(key)}, is now {new.get(key)}" for key in wrong]
        raise UserError(
            f"resume={config.values['resume']}: its configuration was another one:\n"
            + "\n".join(lines)
            + "\nGive the overrides of then (overrides.yaml there), or leave `resume` away to begin a new run"
        )
    status = folders.summary(path).get("status")
    if status in ("finished", "diverged") and not grown:
        raise UserError(
            f"resume={config.values['resume']}: that run has {status}; a larger training.epochs would go on from it"
        )
    folder = folders.hold(path)
    folders.write_atomically(path / "config.yaml", to_yaml(config.values))
    return folder


def _as_then(config: Config) -> Config:
    """The configuration that the overrides of the run named by `resume` make today."""
    path = folders.find(Path(config.values["folder"]), config.values["resume"])
    then = from_yaml((path / "overrides.yaml").read_text())
    again = compose([*then, *config.overrides])
    check(again)
    return again
