"""The training loop: dispatches steps, evaluates, saves, and stops. A signal may end it after any dispatch."""

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
from runner.program.initial_weights import architecture_state, replace_weights
from runner.program.metric_sums import add_sums, compute_metrics
from runner.program.parts import ExampleOutputs, ProgramInputs, StepSums, decode_targets
from runner.program.program import Program, RateInputs, TrainState, steps_per_dispatch
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.monitor import initial_monitor, update_monitor
from runner.training.profile import Profile
from runner.training.signals import Signals
from runner.training.trainer_state import TrainerState

REPORT_SECONDS = 1.0  # between two reads of the metric sums from the device
MAX_IN_FLIGHT = 2  # dispatches on the device at once, so that a signal is soon obeyed
TRAINING_STEP = "the training step"
EVALUATION = "training.evaluation_batch_size"


class Diverged(RuntimeError):
    """The objective or a parameter is not finite.

    Attributes:
        step: the step of the first state that is not finite.
    """

    def __init__(self, what: str, step: int) -> None:
        super().__init__(what)
        self.step = step


@dataclass
class Timings:
    """The seconds of this process, by what they went into.

    Attributes:
        training: training steps, without their compilation.
        compiling: compilation.
        waiting: waiting for batches, a part of `training`.
        steps: the number of training steps.
    """

    training: float = 0.0
    compiling: float = 0.0
    waiting: float = 0.0
    steps: int = 0

    def steps_per_second(self) -> float:
        """The mean speed of training so far."""
        return self.steps / self.training if self.training > 0 else 0.0


class Trainer:
    """Trains and evaluates one program on its data. Raises UserError if program, data and settings don't fit together.

    Attributes:
        program: the compiled functions.
        data: encoded rows and their splits.
        training: the settings below `training`.
        given: numbers and constants that enter the program, on the device.
        like: the shapes and dtypes of the training state.
        steps: steps of an epoch.
        target: the target with its constants.
        metrics: the metrics, by name.
        clock: the seconds of this process.
        epochs_until_step: for a prolonged run, {epochs: step}: up to this step it was a run of so many epochs.
    """

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
        rows, batch_size = len(data.splits["train"]), training.batch_size
        self.steps = rows // batch_size if training.drop_remainder else -(-rows // batch_size)
        self.like: TrainState = jax.eval_shape(program.init, *self._init_arguments())
        self.steps_per_dispatch = steps_per_dispatch(self.like, ragged=self.batches.ragged)
        with error_location("weights"):
            self._weights = weights(parts.model.architecture, architecture_state(self.like)) if weights else {}
        self._trace()
        self.epochs_until_step: Mapping[int, int] = {}
        self._began = time.monotonic()
        self._evaluation_fits = False

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher monitored value is better: of a metric, as the metric says; of a loss, no."""
        metric = self.metrics.get(self.training.monitor.partition("/")[2])
        return metric is not None and metric.higher_is_better

    @property
    def evaluation_batch_size(self) -> int:
        """`training.evaluation_batch_size`, or the rows of the largest evaluated split if those are fewer."""
        held_out = [len(rows) for name, rows in self.data.splits.items() if name != "train"]
        return min(self.training.evaluation_batch_size, max(held_out or [len(self.data.splits["train"])]))

    def begin(self) -> TrainerState:
        """The state of a run before its first step."""
        with self._show_compilation("the initialization"), self._locate_memory_error():
            given, *rest = self._init_arguments()
            state = self.program.init(given._replace(constants=self._add_initial(given.constants)), *rest)
        return TrainerState(replace_weights(state, self._weights), initial_monitor(self.higher_is_better))

    def fit(self, standing: TrainerState, archive: CheckpointManager) -> bool:
        """Trains until the last epoch, or until early stopping.

        Returns whether training came to its end. False: a signal stopped it, and a checkpoint was saved.
        """
        self._began = time.monotonic() - standing.seconds
        first = standing.step // self.steps
        self.progress.start(self.training.epochs, self.steps, first)
        profiler = Profile(archive.folder / "profile" if self.training.profile else None)
        with contextlib.closing(profiler) as profile, self._locate_memory_error():
            for epoch in range(first, self.training.epochs):
                if standing.monitor.stopped:
                    break
                epoch_began = time.monotonic()
                if not self._train_epoch(standing, epoch, archive, profile):
                    return False
                improved = self._end_epoch(standing, epoch, archive)
                LOG.info("epoch %d: %s", epoch + 1, standing.history[-1])
                self.progress.show_epoch(epoch, standing.history[-1], time.monotonic() - epoch_began, improved)
                if self.signals.received:
                    return False
        if self.training.profile and not profile.traced:
            self.progress.note("warning: training.profile found too few steps to trace; raise training.epochs")
        return True

    def seconds(self) -> float:
        """The seconds that the run has trained, in all of its processes."""
        return time.monotonic() - self._began

    def _train_epoch(self, standing: TrainerState, epoch: int, archive: CheckpointManager, profile: Profile) -> bool:
        """Takes the remaining steps of an epoch. Returns False if a signal stopped it."""
        start = standing.step - epoch * self.steps
        end = (epoch + 1) * self.steps
        rows = epoch_order(self.data.splits["train"], self.seed, epoch)[: self.steps * self.training.batch_size]
        pending: list[Any] = []
        reported = saved = before = time.monotonic()
        for chunk in self._time_waiting(
            self.batches.chunks(rows, self.training.batch_size, self.steps_per_dispatch, start=start)
        ):
            pending.append(self._dispatch(standing, chunk))
            profile.dispatched(pending[-1]["last"])
            if len(pending) > MAX_IN_FLIGHT:
                jax.block_until_ready(pending[-1 - MAX_IN_FLIGHT]["last"])
            now = time.monotonic()
            self.clock.training, before = self.clock.training + now - before, now
            is_checkpoint_due = now - saved > 60 * self.training.checkpoint_minutes > 0
            if standing.step < end and (is_checkpoint_due or self.signals.received):
                pending = self._take_reports(standing, pending, epoch)
                self._save(standing, archive)
                saved = time.monotonic()
                if self.signals.received:
                    return False
            elif now - reported > REPORT_SECONDS:
                pending = self._take_reports(standing, pending, epoch, keep=1)
                reported = time.monotonic()
        self._take_reports(standing, pending, epoch)
        self.clock.training += time.monotonic() - before
        return True

    def _dispatch(self, standing: TrainerState, chunk: Chunk) -> Any:
        """Starts the steps of a chunk on the device. Returns their metric sums, which the device still computes."""
        total_steps = self._total_epochs(standing.step) * self.steps
        rate_inputs = RateInputs(np.int32(total_steps), np.float32(standing.monitor.scale))
        arguments = self.given, standing.state, chunk.data, chunk.rows, np.int32(chunk.steps), rate_inputs
        before = self.clock.compiling
        self._compile(TRAINING_STEP, self.program.train, chunk, *arguments)
        self.clock.training -= self.clock.compiling - before
        standing.state, report = self.program.train(*arguments)
        standing.step += chunk.steps
        self.clock.steps += chunk.steps
        return report

    def _total_epochs(self, step: int) -> int:
        """The epochs that the run had when it first took a step. A prolonged run may have to repeat the step."""
        before = [epochs for epochs, until in self.epochs_until_step.items() if step < until]
        return min([*before, self.training.epochs])

    def _take_reports(self, standing: TrainerState, pending: list[Any], epoch: int, keep: int = 0) -> list[Any]:
        """Adds the metric sums of all dispatches but the last `keep` to those of the epoch, and shows them.

        Returns the last `keep`. Raises Diverged if the objective was not finite, or if none is kept and a parameter is
        not finite: only finite parameters are evaluated and saved.
        """
        ready, kept = pending[: len(pending) - keep], pending[len(pending) - keep :]
        standing.sums = add_sums(standing.sums, ready, self.metrics)
        if standing.sums:
            if (bad := int(standing.sums["last"]["first_bad"])) >= 0 and self.training.on_nan == "stop":
                raise Diverged(f"the objective is not finite at step {bad}", bad)
            values = compute_metrics(standing.sums, self.metrics, "train")
            self.progress.show_step(epoch, standing.step - epoch * self.steps, self.clock.steps_per_second(), values)
        if self.training.on_nan == "stop" and not kept and not _is_finite(standing.state):
            raise Diverged(f"a parameter is not finite after {standing.step} steps", standing.step)
        return kept

    def _end_epoch(self, standing: TrainerState, epoch: int, archive: CheckpointManager) -> bool:
        """Evaluates, updates the monitor, and saves. Returns whether the monitored value is the best so far."""
        record = compute_metrics(standing.sums, self.metrics, "train")
        record["learning_rate"] = float(standing.sums["last"]["learning_rate"])
        if "valid" in self.data.splits:
            record |= self.evaluate("valid", standing.state.parameters, standing.state.model_state)
        standing.monitor, improved = update_monitor(
            standing.monitor,
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

    def evaluate(self, split: str, parameters: Any, model_state: Any) -> dict[str, float]:
        """The metrics of a split: {"valid/loss": …, …}."""
        with self._locate_memory_error("evaluating", EVALUATION):
            sums = [sums for sums, _, _ in self._evaluate_batches(self.data.splits[split], parameters, model_state)]
            return compute_metrics(add_sums({}, sums, self.metrics), self.metrics, split)

    def examine(self, split: str, parameters: Any, model_state: Any) -> tuple[dict[str, float], ExampleOutputs]:
        """The metrics of a split, and the outputs for each of its rows in their order."""
        sums, outputs = [], []
        with self._locate_memory_error("evaluating", EVALUATION):
            for batch_sums, batch_outputs, mask in self._evaluate_batches(
                self.data.splits[split], parameters, model_state
            ):
                sums.append(batch_sums)
                outputs.append([np.asarray(leaf)[mask] for leaf in batch_outputs])
            metrics = compute_metrics(add_sums({}, sums, self.metrics), self.metrics, split)
            return metrics, ExampleOutputs(*(np.concatenate(pieces) for pieces in zip(*outputs, strict=True)))

    def targets(self, split: str) -> np.ndarray:
        """The targets of a split's rows: classes, int32 (N,), or numbers in the target's own unit, (N, outputs)."""
        encoded = gather_rows({"target": self.data.encoded["target"]}, self.data.splits[split])["target"]
        values = self.program.target_layer(encoded, self.given.constants["target"])
        return decode_targets(self.target, values)

    def _evaluate_batches(
        self, rows: np.ndarray, parameters: Any, model_state: Any
    ) -> Iterator[tuple[StepSums, ExampleOutputs, np.ndarray]]:
        """Batch by batch: the metric sums, the outputs for each example, and which examples are no padding."""
        size = self.evaluation_batch_size
        for number, chunk in enumerate(self.batches.chunks(rows, size, 1, pad=True)):
            arguments = self.given, parameters, model_state, chunk.data, chunk.rows[0], chunk.mask
            need = self._compile("the evaluation", self.program.evaluate, chunk, *arguments)
            if need and number == 0 and not self._evaluation_fits:  # later, other work may hold memory for a moment
                memory.check_need("the evaluation", (EVALUATION, size), need.more, warn=self._warn)
                self._evaluation_fits = True
            sums, outputs = self.program.evaluate(*arguments)
            yield sums, outputs, chunk.mask

    def compile(self) -> None:
        """Compiles a training step before there is a state.

        Raises RunError if training needs more memory than is free: the state, copies of it, and what a step computes
        with.
        """
        chunk, arguments = self._first_dispatch()
        held = memory.estimate_training_bytes(self.like)
        batch = "training.batch_size", self.training.batch_size
        fits = memory.check_need("training", batch, held, held, warn=self._warn)
        with self._locate_memory_error():
            need = self._compile(TRAINING_STEP, self.program.train, chunk, *arguments)
        if need:
            more = held + need.more + (0 if self.batches.resident else memory.count_bytes(chunk.data))
            free = memory.measure_free_memory() or "the free memory is unknown"
            LOG.info("training needs %s, and %s", memory.format_bytes(more), free)
            if fits:  # otherwise the user was warned already
                memory.check_need("training", batch, more, held, warn=self._warn)

    def _trace(self) -> None:
        """Traces a training step and an evaluation, to find early what doesn't fit together. Their first runs reuse
        the traces."""
        jax.eval_shape(self.program.train, *self._first_dispatch()[1])
        for split in [name for name in ("valid", "test") if name in self.data.splits][:1]:
            size = self.evaluation_batch_size
            chunk = next(iter(self.batches.chunks(self.data.splits[split][:size], size, 1, pad=True)))
            arguments = self.like.parameters, self.like.model_state, chunk.data, chunk.rows[0], chunk.mask
            jax.eval_shape(self.program.evaluate, self.given, *arguments)

    def _init_arguments(self) -> tuple[Any, ...]:
        """The arguments of the initialization, which reads only the shapes of the examples."""
        size = self.training.batch_size
        chunk = next(iter(self.batches.chunks(self.data.splits["train"][:size], size, 1)))
        return self.given, chunk.data, chunk.rows[0]

    def _first_dispatch(self) -> tuple[Chunk, tuple[Any, ...]]:
        """The first chunk of an epoch, and the arguments of the training step for it, with shapes for the state."""
        size = self.training.batch_size
        rows = epoch_order(self.data.splits["train"], self.seed, 0)[: size * min(self.steps, self.steps_per_dispatch)]
        chunk = next(iter(self.batches.chunks(rows, size, self.steps_per_dispatch)))
        rate_inputs = RateInputs(np.int32(self.training.epochs * self.steps), np.float32(1))
        return chunk, (self.given, self.like, chunk.data, chunk.rows, np.int32(chunk.steps), rate_inputs)

    def _add_initial(self, constants: Mapping[str, Any]) -> dict[str, Any]:
        """The constants with those that only the initialization needs. They don't stay on the device."""
        learned = self.data.constants
        return {name: {**one, **learned[name].init_only} for name, one in constants.items()}

    def _compile(self, what: str, function: Any, chunk: Chunk, *arguments: Any) -> memory.MemoryNeed | None:
        """Compiles a function for the shapes of a chunk, unless that is done. The next call uses what was compiled.

        Returns the memory that it needs.
        """
        shapes = (what, chunk.rows.shape, *(leaf.shape for leaf in jax.tree.leaves(chunk.data)))
        if shapes not in self.program.compiled:
            with self._show_compilation(f"{what} for {chunk.rows.shape[1]} examples"):
                self.program.compiled[shapes] = memory.measure_program_need(function.lower(*arguments).compile())
        return self.program.compiled[shapes]

    @contextlib.contextmanager
    def _show_compilation(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        with self.progress.working(f"compiling {what}"):
            yield
        self.clock.compiling += time.monotonic() - began
        LOG.info("compiled %s", what)

    def _locate_memory_error(
        self, what: str = "training", key: str = "training.batch_size"
    ) -> contextlib.AbstractContextManager[None]:
        """Turns an error of memory into a RunError that names the batch size to lower."""
        size = self.evaluation_batch_size if key == EVALUATION else self.training.batch_size
        return memory.memory_error_location(what, f"Try a smaller {key} (it was {size}).")

    @property
    def _warn(self) -> Callable[[str], None] | None:
        """What takes a warning of too little memory. None: too little memory is an error."""
        return None if self.training.check_memory else self.progress.note

    def _time_waiting(self, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """The chunks. Adds the seconds until each is ready to `clock.waiting`."""
        source = iter(chunks)
        while True:
            began = time.monotonic()
            chunk = next(source, None)
            self.clock.waiting += time.monotonic() - began
            if chunk is None:
                return
            yield chunk


def _is_finite(state: TrainState) -> bool:
    """Whether all parameters are finite, and nothing in the model's state is NaN."""
    parameters, model_state = (jax.tree.leaves(tree) for tree in (state.parameters, state.model_state))
    return all(np.isfinite(leaf).all() for leaf in parameters) and not any(np.isnan(leaf).any() for leaf in model_state)
