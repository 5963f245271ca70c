"""The Python side of training: dispatches, when to evaluate, save and stop. There is one loop, to be cut anywhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from components.types import Metric, Weights
from runner import memory
from runner.config.settings import Training
from runner.data.batches import Batches, Chunk, epoch_order, gather_rows
from runner.data.load import Data
from runner.display.progress import Progress
from runner.errors import error_location
from runner.log import LOG
from runner.program import metric_sums as summing
from runner.program.initial_weights import architecture_state, replace_weights
from runner.program.parts import ExampleOutputs, ProgramInputs, StepSums, decode_targets
from runner.program.program import Program, RateInputs, TrainState, steps_per_dispatch
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.monitor import initial_monitor, update_monitor
from runner.training.profile import Profile
from runner.training.signals import Signals
from runner.training.trainer_state import TrainerState

LOOK_SECONDS = 1.0
AHEAD = 2  # dispatches under way at most, so that a signal is soon obeyed
TRAINING_STEP = "the training step"
EVALUATION = "training.evaluation_batch_size"


class Diverged(RuntimeError):
    """The objective, or a parameter, is not finite; `step` is that of the first state that is to blame."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(what)
        self.step = step


@dataclass
class Timings:
    """Where the seconds of this process went."""

    training: float = 0.0  # steps, without compiling them
    compiling: float = 0.0
    waiting: float = 0.0  # for batches
    steps: int = 0

    def steps_per_second(self) -> float:
        """The pace of training so far."""
        return self.steps / self.training if self.training > 0 else 0.0


class Trainer:
    """One run: a program, its data and numbers; raises UserError where they don't fit together."""

    def __init__(
        self,
        program: Program,
        data: Data,
        training: Training,
        numbers: Mapping[str, np.ndarray],
        *,
        weights: Weights | None = None,
        progress: Progress,
        signals: Signals,
    ) -> None:
        self.program, self.data, self.training = program, data, training
        self.progress, self.signals = progress, signals
        self.seed = int(numbers["seed"])
        self.clock = Timings()
        self.batches = Batches(data)
        constants = {name: dict(data.constants[name].device) for name in data.encoded}
        self.given: ProgramInputs = jax.device_put(ProgramInputs(dict(numbers), constants))
        parts = program.parts(self.given)
        self.metrics: Mapping[str, Metric] = parts.metrics
        self.target = parts.target
        self.plateau = program.plateau(ProgramInputs(numbers, {}))
        rows, size = len(data.splits["train"]), training.batch_size
        self.steps = rows // size if training.drop_remainder else -(-rows // size)  # an epoch
        self.like: TrainState = jax.eval_shape(program.init, *self._first())
        self.steps_per_dispatch = steps_per_dispatch(self.like, ragged=self.batches.ragged)
        with error_location("weights"):
            self._carried = weights(parts.model.architecture, architecture_state(self.like)) if weights else {}
        self._trace()
        self.epochs_until_step: Mapping[int, int] = {}  # of a run that was prolonged, what it was before
        self._began = time.monotonic()
        self._evaluated = False

    @property
    def higher_is_better(self) -> bool:
        """The direction of the monitored figure: a metric's own; of losses, lower."""
        metric = self.metrics.get(self.training.monitor.partition("/")[2])
        return metric is not None and metric.higher_is_better

    @property
    def evaluation_batch_size(self) -> int:
        """That of the settings, but no more examples than the largest split has that is evaluated while training."""
        held_out = [len(rows) for name, rows in self.data.splits.items() if name != "train"]
        return min(self.training.evaluation_batch_size, max(held_out or [len(self.data.splits["train"])]))

    def begin(self) -> TrainerState:
        """The standing of a run that has taken no step."""
        with self._compiling("the initialization"), self._enough_memory():
            given, *rest = self._first()
            state = self.program.init(given._replace(constants=self._with_initial(given.constants)), *rest)
        return TrainerState(replace_weights(state, self._carried), initial_monitor(self.higher_is_better))

    def fit(self, standing: TrainerState, archive: CheckpointManager) -> bool:
        """Trains until the last epoch or until patience is out; False where a signal stopped it (saved by then)."""
        self._began = time.monotonic() - standing.seconds
        first = standing.step // self.steps
        self.progress.start(self.training.epochs, self.steps, first)
        profiled = Profile(archive.folder / "profile" if self.training.profile else None)
        with contextlib.closing(profiled) as profile, self._enough_memory():
            for epoch in range(first, self.training.epochs):
                if standing.control.stopped:
                    break
                opened = time.monotonic()
                if not self._epoch(standing, epoch, archive, profile):
                    return False
                improved = self._close_epoch(standing, epoch, archive)
                LOG.info("epoch %d: %s", epoch + 1, standing.history[-1])
                self.progress.epoch(epoch, standing.history[-1], time.monotonic() - opened, improved)
                if self.signals.received:
                    return False
        if self.training.profile and not profile.traced:
            self.progress.note("warning: training.profile found too few steps to trace; raise training.epochs")
        return True

    def seconds(self) -> float:
        """How long the run has trained, over all its processes."""
        return time.monotonic() - self._began

    def evaluate(self, split: str, parameters: Any, model_state: Any) -> dict[str, float]:
        """The figures of a split: {"valid/loss": …, …}."""
        with self._enough_memory("evaluating", EVALUATION):
            reports = [report for report, _, _ in self._examined(self.data.splits[split], parameters, model_state)]
            return summing.compute_metrics(summing.add_sums({}, reports, self.metrics), self.metrics, split)

    def examine(self, split: str, parameters: Any, model_state: Any) -> tuple[dict[str, float], ExampleOutputs]:
        """The figures of a split, and what the model says of each of its rows, in their order."""
        reports, said = [], []
        with self._enough_memory("evaluating", EVALUATION):
            for report, answers, mask in self._examined(self.data.splits[split], parameters, model_state):
                reports.append(report)
                said.append([np.asarray(leaf)[mask] for leaf in answers])
            figures = summing.compute_metrics(summing.add_sums({}, reports, self.metrics), self.metrics, split)
            return figures, ExampleOutputs(*(np.concatenate(pieces) for pieces in zip(*said, strict=True)))

    def targets(self, split: str) -> np.ndarray:
        """What is right for each row of a split: classes, int32 (N,), or numbers in their own unit, (N, outputs)."""
        encoded = gather_rows({"target": self.data.encoded["target"]}, self.data.splits[split])["target"]
        values = self.program.target_layer(encoded, self.given.constants["target"])
        return decode_targets(self.target, values)

    def _examined(
        self, rows: np.ndarray, parameters: Any, model_state: Any
    ) -> Iterator[tuple[StepSums, ExampleOutputs, np.ndarray]]:
        """Batch by batch: the sums, what is said of each example, and which examples are no filler."""
        size = self.evaluation_batch_size
        for number, chunk in enumerate(self.batches.chunks(rows, size, 1, pad=True)):
            arguments = self.given, parameters, model_state, chunk.data, chunk.rows[0], chunk.mask
            needed = self._compiled("the evaluation", self.program.evaluate, chunk, *arguments)
            if needed and number == 0 and not self._evaluated:  # later, others may take for a moment what is free
                memory.check_need("the evaluation", (EVALUATION, size), needed.more, warn=self._warn)
                self._evaluated = True
            report, answers = self.program.evaluate(*arguments)
            yield report, answers, chunk.mask

    def _epoch(self, standing: TrainerState, epoch: int, archive: CheckpointManager, profile: Profile) -> bool:
        """The rest of an epoch's steps; False where a signal stopped it."""
        start = standing.step - epoch * self.steps
        end = (epoch + 1) * self.steps
        rows = epoch_order(self.data.splits["train"], self.seed, epoch)[: self.steps * self.training.batch_size]
        pending: list[Any] = []
        looked = saved = before = time.monotonic()
        for chunk in self._timed(
            self.batches.chunks(rows, self.training.batch_size, self.steps_per_dispatch, start=start)
        ):
            pending.append(self._dispatch(standing, chunk))
            profile.dispatched(pending[-1]["last"])
            if len(pending) > AHEAD:
                jax.block_until_ready(pending[-1 - AHEAD]["last"])
            now = time.monotonic()
            self.clock.training, before = self.clock.training + now - before, now
            due = now - saved > 60 * self.training.checkpoint_minutes > 0
            if standing.step < end and (due or self.signals.received):
                pending = self._look(standing, pending, epoch)
                self._save(standing, archive)
                saved = time.monotonic()
                if self.signals.received:
                    return False
            elif now - looked > LOOK_SECONDS:
                pending = self._look(standing, pending, epoch, keep=1)
                looked = time.monotonic()
        self._look(standing, pending, epoch)
        self.clock.training += time.monotonic() - before
        return True

    def _dispatch(self, standing: TrainerState, chunk: Chunk) -> Any:
        pace = RateInputs(np.int32(self._epochs_at(standing.step) * self.steps), np.float32(standing.control.scale))
        arguments = self.given, standing.state, chunk.data, chunk.rows, np.int32(chunk.steps), pace
        before = self.clock.compiling
        self._compiled(TRAINING_STEP, self.program.train, chunk, *arguments)
        self.clock.training -= self.clock.compiling - before
        standing.state, report = self.program.train(*arguments)
        standing.step += chunk.steps
        self.clock.steps += chunk.steps
        return report

    def _epochs_at(self, step: int) -> int:
        """How many epochs the run was to have when it first took a step: a prolonged one may have to repeat it."""
        before = [epochs for epochs, until in self.epochs_until_step.items() if step < until]
        return min([*before, self.training.epochs])

    def _look(self, standing: TrainerState, pending: list[Any], epoch: int, keep: int = 0) -> list[Any]:
        """Takes the reports that have come in, all but the last `keep`, and shows how it goes; gives what is left.

        Raises Diverged where the objective was not finite, or where all are taken and a parameter is not: only what is
        finite is evaluated and saved.
        """
        ready, left = pending[: len(pending) - keep], pending[len(pending) - keep :]
        standing.sums = summing.add_sums(standing.sums, ready, self.metrics)
        if standing.sums:
            if (bad := int(standing.sums["last"]["first_bad"])) >= 0 and self.training.on_nan == "stop":
                raise Diverged(f"the objective is not finite at step {bad}", bad)
            values = summing.compute_metrics(standing.sums, self.metrics, "train")
            self.progress.step(epoch, standing.step - epoch * self.steps, self.clock.steps_per_second(), values)
        if self.training.on_nan == "stop" and not left and not _is_finite(standing.state):
            raise Diverged(f"a parameter is not finite after {standing.step} steps", standing.step)
        return left

    def _close_epoch(self, standing: TrainerState, epoch: int, archive: CheckpointManager) -> bool:
        """Evaluates, decides and saves; whether it is the best so far."""
        record = summing.compute_metrics(standing.sums, self.metrics, "train")
        record["learning_rate"] = float(standing.sums["last"]["learning_rate"])
        if "valid" in self.data.splits:
            record |= self.evaluate("valid", standing.state.parameters, standing.state.model_state)
        standing.control, improved = update_monitor(
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
        archive.add(standing.step, {"epoch": epoch + 1, **record})
        self._save(standing, archive)
        return improved

    def _save(self, standing: TrainerState, archive: CheckpointManager) -> None:
        standing.seconds = self.seconds()
        archive.save(standing)

    def _trace(self) -> None:
        """Traces a training step and an evaluation, so that what doesn't fit together is found early.

        The first of each uses the trace.
        """
        jax.eval_shape(self.program.train, *self._dispatch_like()[1])
        for split in [name for name in ("valid", "test") if name in self.data.splits][:1]:
            size = self.evaluation_batch_size
            chunk = next(iter(self.batches.chunks(self.data.splits[split][:size], size, 1, pad=True)))
            evaluated = self.like.parameters, self.like.model_state, chunk.data, chunk.rows[0], chunk.mask
            jax.eval_shape(self.program.evaluate, self.given, *evaluated)

    def compile(self) -> None:
        """Compiles a training step, before there is a state; raises RunError where it needs more memory than is free.

        What is counted is all that training adds: the state, copies of it, and what a step computes with.
        """
        chunk, arguments = self._dispatch_like()
        held = memory.training_bytes(self.like)
        batch = "training.batch_size", self.training.batch_size
        fits = memory.check_need("training", batch, held, held, warn=self._warn)
        with self._enough_memory():
            needed = self._compiled(TRAINING_STEP, self.program.train, chunk, *arguments)
        if needed:
            more = held + needed.more + (0 if self.batches.resident else memory.byte_count(chunk.data))
            LOG.info(
                "training needs %s, and %s",
                memory.format_bytes(more),
                memory.free_memory() or "nothing says what is free",
            )
            if fits:  # else it was warned of
                memory.check_need("training", batch, more, held, warn=self._warn)

    @property
    def _warn(self) -> Callable[[str], None] | None:
        """What takes a warning of too little memory; None: that is an error."""
        return None if self.training.check_memory else self.progress.note

    def _dispatch_like(self) -> tuple[Chunk, tuple[Any, ...]]:
        """The first dispatch of an epoch, and the arguments of the program that takes it, with shapes for the state."""
        size = self.training.batch_size
        rows = epoch_order(self.data.splits["train"], self.seed, 0)[: size * min(self.steps, self.steps_per_dispatch)]
        chunk = next(iter(self.batches.chunks(rows, size, self.steps_per_dispatch)))
        pace = RateInputs(np.int32(self.training.epochs * self.steps), np.float32(1))
        return chunk, (self.given, self.like, chunk.data, chunk.rows, np.int32(chunk.steps), pace)

    def _enough_memory(
        self, what: str = "training", key: str = "training.batch_size"
    ) -> contextlib.AbstractContextManager[None]:
        """Raises RunError where the memory gives out, with the size to make smaller."""
        size = self.evaluation_batch_size if key == EVALUATION else self.training.batch_size
        return memory.memory_error_location(what, f"Try a smaller {key} (it was {size}).")

    def _with_initial(self, constants: Mapping[str, Any]) -> dict[str, Any]:
        """The constants with those that only the beginning needs, which don't stay on the device."""
        learned = self.data.constants
        return {name: {**one, **learned[name].initial} for name, one in constants.items()}

    def _first(self) -> tuple[Any, ...]:
        """What the initialization takes: it only looks at the shapes of the examples."""
        size = self.training.batch_size
        chunk = next(iter(self.batches.chunks(self.data.splits["train"][:size], size, 1)))
        return self.given, chunk.data, chunk.rows[0]

    def _compiled(self, what: str, function: Any, chunk: Chunk, *arguments: Any) -> memory.Need | None:
        """Compiles a function for a chunk's shapes where that hasn't been done, and shows it; what it needs of memory.

        A call takes what was compiled ahead of it.
        """
        shapes = (what, chunk.rows.shape, *(leaf.shape for leaf in jax.tree.leaves(chunk.data)))
        if shapes not in self.program.compiled:
            with self._compiling(f"{what} for {chunk.rows.shape[1]} examples"):
                self.program.compiled[shapes] = memory.program_need(function.lower(*arguments).compile())
        return self.program.compiled[shapes]

    @contextlib.contextmanager
    def _compiling(self, what: str) -> Iterator[None]:
        asked = time.monotonic()
        with self.progress.working(f"compiling {what}"):
            yield
        self.clock.compiling += time.monotonic() - asked
        LOG.info("compiled %s", what)

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


def _is_finite(state: TrainState) -> bool:
    """Whether all parameters are finite, and no moment or the like is NaN."""
    parameters, model_state = (jax.tree.leaves(tree) for tree in (state.parameters, state.model_state))
    return all(np.isfinite(leaf).all() for leaf in parameters) and not any(np.isnan(leaf).any() for leaf in model_state)
