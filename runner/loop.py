"""The Python side of training: dispatches, when to evaluate, save and stop. There is one loop, and it can be cut anywhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from components.types import Metric
from runner import sums as summing
from runner.batches import Batches, Chunk, order
from runner.checkpoint import Checkpoints
from runner.control import Control, initial, observe
from runner.data import Data
from runner.outbox import Outbox
from runner.program import Program, State, steps_a_dispatch
from runner.progress import Progress
from runner.settings import Training
from runner.signals import Signals

LOOK_SECONDS = 1.0
TRAINING_STEP = "the training step"


class Diverged(RuntimeError):
    """The objective was not finite at a step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the objective is not finite at step {step}")
        self.step = step


@dataclass
class Standing:
    """Where a run stands: all that a checkpoint keeps."""

    state: State
    control: Control
    best: Any = None  # parameters and model state of the best evaluation
    best_step: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)  # one record an epoch
    sums: summing.Sums = field(default_factory=dict)  # of the epoch that has begun
    step: int = 0  # steps taken: `state.step`, known without asking the device
    seconds: float = 0.0
    points: int = 0  # bytes of the outbox that are covered


@dataclass
class Clock:
    """Where the seconds of this process's epochs went."""

    training: float = 0.0  # steps, without compiling them
    compiling: float = 0.0
    waiting: float = 0.0  # for batches
    steps: int = 0

    def steps_per_second(self) -> float:
        """The pace of training so far."""
        return self.steps / self.training if self.training > 0 else 0.0


class Trainer:
    """One run: a program, its data and numbers, and whoever must hear of it."""

    def __init__(
        self,
        program: Program,
        data: Data,
        training: Training,
        numbers: Mapping[str, np.ndarray],
        *,
        checkpoints: Checkpoints,
        progress: Progress,
        signals: Signals,
        saved: Callable[[int], None],
    ) -> None:
        self.program, self.data, self.training, self.numbers = program, data, training, numbers
        self.checkpoints, self.progress, self.signals = checkpoints, progress, signals
        self.saved = saved  # told the outbox's offset once a checkpoint covers it
        self.clock = Clock()
        self.batches = Batches(data)
        self.constants = jax.tree.map(jax.device_put, {name: dict(c.device) for name, c in data.constants.items()})
        self.metrics: Mapping[str, Metric] = program.parts(numbers, self.constants).metrics
        self.plateau = program.plateau(numbers)
        self.seed = int(numbers["seed"])
        rows, size = len(data.splits["train"]), training.batch_size
        self.steps = rows // size if training.drop_remainder else -(-rows // size)  # an epoch
        self._compiled: set[Any] = set()

    @property
    def higher_is_better(self) -> bool:
        """The direction of the monitored figure: a metric's own; of losses, lower."""
        metric = self.metrics.get(self.training.monitor.partition("/")[2])
        return metric is not None and metric.higher_is_better

    def begin(self) -> Standing:
        """The standing of a run that has taken no step."""
        chunk = self._first_chunk()
        with self.progress.working("compiling the initialization"):
            state = self.program.init(self.numbers, self.constants, chunk.data, chunk.rows[0])
        return Standing(state, initial(self.higher_is_better))

    def resume(self) -> tuple[Standing | None, list[str]]:
        """The standing that the newest undamaged checkpoint holds, with what had to be passed over."""
        chunk = self._first_chunk()
        like = jax.eval_shape(self.program.init, self.numbers, self.constants, chunk.data, chunk.rows[0])
        found = self.checkpoints.load(like, (like.parameters, like.model_state))
        if found is None or found[0] is None:
            return None, found[3] if found else []
        state, best, meta, damaged = found
        standing = Standing(
            state=jax.tree.map(jax.device_put, state),
            control=Control(*meta["control"]),
            best=jax.tree.map(jax.device_put, best),
            best_step=meta["best_step"],
            history=meta["history"],
            sums=summing.from_plain(meta["sums"]),
            step=meta["step"],
            seconds=meta["seconds"],
            points=meta["points"],
        )
        return standing, damaged

    def fit(self, standing: Standing, outbox: Outbox) -> bool:
        """Trains until the last epoch or until patience is out; False where a signal stopped it (saved by then)."""
        self._outbox = outbox
        self._began = time.monotonic() - standing.seconds
        first = standing.step // self.steps
        self.progress.start(self.training.epochs, self.steps, first)
        for epoch in range(first, self.training.epochs):
            if standing.control.stopped:
                break
            opened = time.monotonic()
            if not self._epoch(standing, epoch):
                return False
            improved = self._close_epoch(standing, epoch)
            self.progress.epoch(epoch, standing.history[-1], time.monotonic() - opened, improved)
            if self.signals.received:
                return False
        return True

    def seconds(self) -> float:
        """How long the run has trained, over all its processes."""
        return time.monotonic() - self._began

    def evaluate(self, split: str, parameters: Any, model_state: Any) -> dict[str, float]:
        """The figures of a split: {"valid/loss": …, …}."""
        reports = []
        for chunk in self.batches.chunks(self.data.splits[split], self.training.evaluation_batch_size, 1, pad=True):
            with self._first_time("the evaluation", chunk):
                reports.append(
                    self.program.evaluate(
                        self.numbers,
                        self.constants,
                        parameters,
                        model_state,
                        chunk.data,
                        chunk.rows[0],
                        chunk.mask,
                    )
                )
        return summing.figures(summing.add({}, reports, self.metrics), self.metrics, split)

    def _epoch(self, standing: Standing, epoch: int) -> bool:
        """The rest of an epoch's steps; False where a signal stopped it."""
        start = standing.step - epoch * self.steps
        end = (epoch + 1) * self.steps
        rows = order(self.data.splits["train"], self.seed, epoch)[: self.steps * self.training.batch_size]
        pending: list[Any] = []
        looked = saved = before = time.monotonic()
        for chunk in self._timed(
            self.batches.chunks(rows, self.training.batch_size, steps_a_dispatch(standing.state), start=start)
        ):
            pending.append(self._dispatch(standing, chunk))
            now = time.monotonic()
            self.clock.training, before = self.clock.training + now - before, now
            due = now - saved > 60 * self.training.checkpoint_minutes > 0
            if standing.step < end and (due or self.signals.received):
                pending = self._look(standing, pending, epoch)
                self._save(standing)
                saved = time.monotonic()
                if self.signals.received:
                    return False
            elif now - looked > LOOK_SECONDS:
                pending = self._look(standing, pending, epoch, keep=1)
                looked = time.monotonic()
        self._look(standing, pending, epoch)
        self.clock.training += time.monotonic() - before
        return True

    def _dispatch(self, standing: Standing, chunk: Chunk) -> Any:
        with self._first_time(TRAINING_STEP, chunk):
            standing.state, report = self.program.train(
                self.numbers,
                self.constants,
                standing.state,
                chunk.data,
                chunk.rows,
                np.int32(chunk.steps),
                np.int32(self.training.epochs * self.steps),
                np.float32(standing.control.scale),
            )
        standing.step += chunk.steps
        self.clock.steps += chunk.steps
        return report

    def _look(self, standing: Standing, pending: list[Any], epoch: int, keep: int = 0) -> list[Any]:
        """Takes the reports that have come in, all but the last `keep`, and shows how it goes; gives what is left."""
        ready, left = pending[: len(pending) - keep], pending[len(pending) - keep :]
        standing.sums = summing.add(standing.sums, ready, self.metrics)
        if standing.sums:
            if (bad := int(standing.sums["last"]["first_bad"])) >= 0 and self.training.on_nan == "stop":
                raise Diverged(bad)
            values = summing.figures(standing.sums, self.metrics, "train")
            self.progress.step(epoch, standing.step - epoch * self.steps, self.clock.steps_per_second(), values)
        return left

    def _close_epoch(self, standing: Standing, epoch: int) -> bool:
        """Evaluates, decides and saves; whether it is the best so far."""
        record = summing.figures(standing.sums, self.metrics, "train")
        if record["train/objective"] == record["train/loss"]:
            del record["train/objective"]
        record["learning_rate"] = float(standing.sums["last"]["learning_rate"])
        if "valid" in self.data.splits:
            record |= self.evaluate("valid", standing.state.parameters, standing.state.model_state)
        standing.control, improved = observe(
            standing.control,
            record[self.training.monitor],
            plateau=self.plateau,
            patience=self.training.patience,
            min_delta=self.training.min_delta,
            higher_is_better=self.higher_is_better,
        )
        if improved:
            standing.best = jax.tree.map(
                lambda leaf: leaf.copy(), (standing.state.parameters, standing.state.model_state)
            )
            standing.best_step = standing.step
        standing.history.append({"epoch": epoch + 1, "step": standing.step, **record})
        standing.sums = {}
        self._outbox.add(standing.step, {"epoch": epoch + 1, **record})
        self._save(standing)
        return improved

    def _save(self, standing: Standing) -> None:
        """Hands a checkpoint in; what the outbox holds is covered once it is on the disk."""
        standing.seconds = self.seconds()
        offset = self._outbox.flush()
        meta = {
            "step": standing.step,
            "best_step": standing.best_step,
            "control": list(standing.control),
            "history": standing.history,
            "sums": summing.to_plain(standing.sums),
            "seconds": standing.seconds,
            "points": offset,
        }
        new = standing.best if standing.best_step == standing.step else None
        self.checkpoints.save(standing.state, new, meta, then=lambda: self.saved(offset))

    def _first_chunk(self) -> Chunk:
        return next(
            iter(
                self.batches.chunks(self.data.splits["train"][: self.training.batch_size], self.training.batch_size, 1)
            )
        )

    @contextlib.contextmanager
    def _first_time(self, what: str, chunk: Chunk) -> Iterator[None]:
        """Shows that a call compiles, where it does, and counts its seconds."""
        shapes = (what, chunk.rows.shape, *(leaf.shape for leaf in jax.tree.leaves(chunk.data)))
        if shapes in self._compiled:
            yield
            return
        self._compiled.add(shapes)
        asked = time.monotonic()
        with self.progress.working(f"compiling {what}"):
            yield
        self.clock.compiling += time.monotonic() - asked
        if what == TRAINING_STEP:
            self.clock.training -= time.monotonic() - asked

    def _timed(self, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """The chunks, counting how long each was waited for."""
        source = iter(chunks)
        while True:
            asked = time.monotonic()
            chunk = next(source, None)
            self.clock.waiting += time.monotonic() - asked
            if chunk is None:
                return
            yield chunk
