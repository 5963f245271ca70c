"""The training loop: takes steps, evaluates, saves checkpoints, and stops after the last step or at a signal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from components.types import Clock, Weights
from runner import memory
from runner.config.settings import Training
from runner.data.batches import Chunk, epoch_order
from runner.data.load import Data
from runner.display.progress import Progress, RunLength
from runner.errors import error_location
from runner.log import LOG
from runner.program.dispatch import steps_per_dispatch
from runner.program.initial_weights import architecture_state, replace_weights
from runner.program.metric_sums import add_sums
from runner.program.parts import ProgramInputs, TeacherInputs
from runner.program.program import Program, RateInputs, TrainState, evaluated_weights
from runner.program.update import MAX_SKIPPED
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.evaluator import BATCH_SIZE_KEY, Evaluator
from runner.training.monitor import initial_monitor, update_monitor
from runner.training.profile import Profile
from runner.training.signals import Signals
from runner.training.trainer_state import TrainerState

REPORT_SECONDS = 1.0  # between two reads of the metric sums from the device
MAX_IN_FLIGHT = 2  # dispatches on the device at once; with more, a signal would wait longer
TRAINING_STEP = "the training step"
UNFROZEN_STEP = "the training step of all parameters"


class DivergedError(RuntimeError):
    """The objective or a parameter is not finite.

    Attributes:
        step: the step of the first state that is not finite.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class Extension(NamedTuple):
    """The end of a run that was extended later.

    After a crash, an extended run may repeat steps from before it was extended. They need the learning rates and the
    evaluations of the shorter run.

    Attributes:
        total_steps: the number of steps that the run would have had.
        step: the last step before it was extended.
        is_evaluated: whether the run had finished there, which ends with an evaluation.
    """

    total_steps: int
    step: int
    is_evaluated: bool


class Trainer(Evaluator):
    """Trains and evaluates one program on its data.

    Attributes:
        state_shapes: the training state, with shapes and dtypes in place of arrays.
        unfrozen_shapes: the training state after the frozen parameters are unfrozen. None: this never happens.
        steps_per_epoch: the number of steps in an epoch.
        total_steps: the number of steps of the whole run.
        unfreeze_step: the number of steps after which the frozen parameters are unfrozen. None: never.
        extensions: the earlier ends of a run that was extended.

    Raises:
        UserError: program, data and settings don't fit together.
    """

    def __init__(
        self,
        program: Program,
        data: Data,
        training: Training,
        numbers: Mapping[str, np.ndarray],
        *,
        teacher: TeacherInputs | None = None,
        weights: Weights | None = None,
        progress: Progress,
        signals: Signals,
    ) -> None:
        super().__init__(program, data, training, numbers, progress, teacher)
        self.signals = signals
        self.seed = int(numbers["seed"])
        self.plateau = program.build_plateau(ProgramInputs(numbers, {}))
        rows = len(data.splits["train"])
        self.steps_per_epoch, self.total_steps = training.steps_per_epoch(rows), training.total_steps(rows)
        self.extensions: Sequence[Extension] = ()
        self.state_shapes = program.state_shapes(*self._init_arguments())
        self.steps_per_dispatch = 1
        if program.is_compiled:
            self.steps_per_dispatch = steps_per_dispatch(
                self.state_shapes,
                ragged=self.batches.is_ragged,
                counts_pixels=any(spec.is_image and spec.kind == "classes" for spec in self.targets.values()),
            )
        self.unfreeze_step = self._find_unfreeze_step()
        self.unfrozen_shapes: TrainState | None = None
        if self.unfreeze_step is not None:
            self.unfrozen_shapes = jax.eval_shape(program.unfreeze, self.program_inputs, self.state_shapes)
        self._initial_weights: Mapping[str, Any] = {}
        if weights is not None:
            with error_location("weights"):
                self._initial_weights = weights(self.parts.model.architecture, architecture_state(self.state_shapes))
        if program.is_compiled:  # tracing would call prints and breakpoints of parts with arrays without values
            self._trace()
        self._order: tuple[int, np.ndarray] | None = None  # the epoch whose order was computed last, and its rows
        self._start_time = time.monotonic()

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher monitored value is better: never for a loss; a metric has its own direction."""
        metric = self.metrics.get(self.training.monitor.partition("/")[2])
        return metric is not None and metric.higher_is_better

    @property
    def evaluation_interval(self) -> int:
        """The number of steps between two evaluations."""
        return self.training.evaluate_steps or self.steps_per_epoch

    def _init_arguments(self) -> tuple[Any, ...]:
        """The arguments of the initialization, which reads only the shapes of the examples."""
        size = self.training.batch_size
        chunk = next(iter(self.batches.chunks(self.data.splits["train"][:size], size, 1)))
        return self.program_inputs, chunk.data, chunk.rows[0]

    def _trace(self) -> None:
        """Traces a training step and an evaluation, so that parts which don't fit together raise errors early.

        The first training step and the first evaluation reuse the traces.
        """
        jax.eval_shape(self.program.train, *self._first_dispatch()[1])
        split = next((name for name in ("valid", "test") if name in self.data.splits), None)
        if split is not None:
            size = self.evaluation_batch_size
            chunk = next(iter(self.batches.chunks(self.data.splits[split][:size], size, 1, pad=True)))
            weights = evaluated_weights(self.parts, self.state_shapes)
            jax.eval_shape(self.program.evaluate, self.program_inputs, *weights, chunk.data, chunk.rows[0], chunk.mask)

    def _first_dispatch(self) -> tuple[Chunk, tuple[Any, ...]]:
        """The first chunk of an epoch, and the arguments of `program.train` for it, with shapes for the state."""
        size = self.training.batch_size
        steps = min(self.steps_per_epoch, self.steps_per_dispatch)
        rows = epoch_order(self.data.splits["train"], self.seed, 0)[: size * steps]
        chunk = next(iter(self.batches.chunks(rows, size, self.steps_per_dispatch)))
        step_count, rate_inputs = np.int32(chunk.steps), self.rate_inputs(0, 1.0)
        # `unfrozen` is among the arguments as in `_dispatch`: JAX compiles again where a default was left out.
        examples, unfrozen = (chunk.data, chunk.rows), False
        return chunk, (self.program_inputs, self.state_shapes, *examples, step_count, rate_inputs, unfrozen)

    def compile(self) -> None:
        """Compiles a training step before there is a state.

        Raises:
            RunError: training needs more memory than is free. It needs the state, copies of the state, and the
                intermediate values of a step.
        """
        if not self.program.is_compiled:
            return
        chunk, arguments = self._first_dispatch()
        state_bytes = memory.estimate_training_bytes(self.state_shapes)
        batch = BATCH_SIZE_KEY, self.training.batch_size
        state_fits = memory.check_need("training", batch, state_bytes, state_bytes, warn=self.warn_of_memory)
        with self.memory_error_location():
            need = self.compile_function(TRAINING_STEP, self.program.train, chunk, *arguments)
        if need:
            batch_bytes = memory.count_bytes(chunk.data) if self.batches.device_data is None else 0
            total = state_bytes + need.additional + batch_bytes
            free = memory.measure_free_memory() or "the free memory is unknown"
            LOG.info("training needs %s, and %s", memory.format_bytes(total), free)
            if state_fits:  # otherwise the user was warned already
                memory.check_need("training", batch, total, state_bytes, warn=self.warn_of_memory)

    def initial_state(self) -> TrainerState:
        """The state of a run before its first step."""
        with self.show_compilation("the initialization"), self.memory_error_location():
            program_inputs, *examples = self._init_arguments()
            constants = self._add_initial_constants(program_inputs.constants)
            state = self.program.init(program_inputs._replace(constants=constants), *examples)
            if self._initial_weights:
                state = self.program.restart(self.program_inputs, replace_weights(state, self._initial_weights))
        return TrainerState(state, initial_monitor(self.higher_is_better))

    def _add_initial_constants(self, constants: Mapping[str, Any]) -> dict[str, Any]:
        """Adds the constants that only the initialization reads. They are not kept on the device afterwards."""
        return {name: {**arrays, **self.data.constants[name].init_only} for name, arrays in constants.items()}

    def fit(self, trainer_state: TrainerState, checkpoints: CheckpointManager) -> str | None:
        """Trains until the end of the run.

        Returns:
            The setting that ended the run, such as `training.epochs`. None: a signal stopped it, and a checkpoint was
            saved.
        """
        self._start_time = time.monotonic() - trainer_state.seconds
        self.unfreeze_step = self._find_unfreeze_step()  # again, because `extensions` are known now
        self.progress.start(self._run_length(), trainer_state.step)
        profiler = Profile(checkpoints.folder / "profile" if self.training.profile else None)
        with contextlib.closing(profiler) as profile, self.memory_error_location():
            while (ended_by := self._ended_by(trainer_state)) is None:
                start = time.monotonic()
                if not self._train(trainer_state, self._next_evaluation(trainer_state.step), checkpoints, profile):
                    return None
                is_best = self._evaluate_and_save(trainer_state, checkpoints)
                record = trainer_state.history[-1]
                LOG.info("step %d: %s", trainer_state.step, record)
                self.progress.show_evaluation(trainer_state.step, record, time.monotonic() - start, is_best)
                if self.signals.received:
                    return None
        if self.training.profile and not profile.has_traced:
            self.progress.note(
                "warning: training.profile=true: the run took too few steps to trace any. Raise training.epochs."
            )
        return ended_by

    def _find_unfreeze_step(self) -> int | None:
        """The step before which all parameters are unfrozen. None: never.

        If it depends on the length of a run that was extended, the first length counts with which it was reached.
        """
        until = self.parts.members.frozen_until
        if until is None:
            return None
        for end in sorted(self.extensions, key=lambda end: end.step):
            step = round(float(until.steps(Clock(0, end.total_steps, self.steps_per_epoch))))
            if step < end.step:
                return step
        return round(float(until.steps(Clock(0, self.total_steps, self.steps_per_epoch))))

    def _run_length(self) -> RunLength:
        counts_epochs = self.training.evaluate_steps is None and self.total_steps % self.steps_per_epoch == 0
        minutes = self.training.max_minutes
        end_time = None if minutes is None else self._start_time + 60 * minutes
        return RunLength(self.total_steps, self.steps_per_epoch, counts_epochs, end_time)

    def _ended_by(self, trainer_state: TrainerState) -> str | None:
        """The setting that ends the run now, after an evaluation. None: it goes on."""
        if trainer_state.monitor.stopped:
            return "training.patience"
        if trainer_state.step >= self.total_steps:
            return "training.steps" if self.total_steps == self.training.steps else "training.epochs"
        is_evaluated = trainer_state.history and not trainer_state.sums  # else a resumed run first takes more steps
        return "training.max_minutes" if is_evaluated and self._is_time_up() else None

    def _is_time_up(self) -> bool:
        return self.training.max_minutes is not None and self.seconds() >= 60 * self.training.max_minutes

    def _next_evaluation(self, step: int) -> int:
        """The first step after `step` that ends with an evaluation, unless the time is up earlier."""
        interval = self.evaluation_interval
        earlier_ends = [end.step for end in self.extensions if end.is_evaluated and end.step > step]
        return min([(step // interval + 1) * interval, self.total_steps, *earlier_ends])

    def _train(self, trainer_state: TrainerState, end: int, checkpoints: CheckpointManager, profile: Profile) -> bool:
        """Takes the steps until the step `end`, or until the time is up. Returns False if a signal stopped it."""
        pending: list[Any] = []  # metric sums of the latest dispatches, not yet read from the device
        last_report = last_save = last_time = time.monotonic()
        for chunk in self._time_waiting(self._chunks(trainer_state.step, end)):
            pending.append(self._dispatch(trainer_state, chunk))
            profile.after_dispatch(pending[-1]["last"])
            if len(pending) > MAX_IN_FLIGHT:
                jax.block_until_ready(pending[-1 - MAX_IN_FLIGHT]["last"])
            now = time.monotonic()
            self.timings.training += now - last_time
            last_time = now
            if trainer_state.step == end or self._is_time_up():
                break
            is_checkpoint_due = now - last_save > 60 * self.training.checkpoint_minutes > 0
            if is_checkpoint_due or self.signals.received:
                pending = self._read_sums(trainer_state, pending)
                self._save(trainer_state, checkpoints)
                last_save = time.monotonic()
                if self.signals.received:
                    return False
            elif now - last_report > REPORT_SECONDS:
                pending = self._read_sums(trainer_state, pending, leave=1)
                last_report = time.monotonic()
        self._read_sums(trainer_state, pending)
        self.timings.training += time.monotonic() - last_time
        return True

    def _chunks(self, step: int, end: int) -> Iterator[Chunk]:
        """The chunks of the steps from `step` to `end`. No chunk has steps of two epochs, or frozen and other steps."""
        batch_size = self.training.batch_size
        while step < end:
            epoch, start = divmod(step, self.steps_per_epoch)
            if self._order is None or self._order[0] != epoch:
                self._order = epoch, epoch_order(self.data.splits["train"], self.seed, epoch)
            is_unfrozen = self.unfreeze_step is None or self.unfreeze_step <= step
            next_end = end if is_unfrozen or self.unfreeze_step is None else min(end, self.unfreeze_step)
            stop = min(start + next_end - step, self.steps_per_epoch)
            rows = self._order[1][: stop * batch_size]
            yield from self.batches.chunks(rows, batch_size, self.steps_per_dispatch, start=start)
            step += stop - start

    def _time_waiting(self, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """Yields the chunks. Adds the seconds until each is ready to `timings.waiting`."""
        iterator = iter(chunks)
        while True:
            start = time.monotonic()
            chunk = next(iterator, None)
            self.timings.waiting += time.monotonic() - start
            if chunk is None:
                return
            yield chunk

    def _dispatch(self, trainer_state: TrainerState, chunk: Chunk) -> Any:
        """Starts the steps of a chunk on the device. Returns their metric sums, which the device still computes."""
        rate_inputs = self.rate_inputs(trainer_state.step, trainer_state.monitor.scale)
        step_count = np.int32(chunk.steps)
        compiling_before = self.timings.compiling
        if trainer_state.step == self.unfreeze_step:
            with self.show_compilation("the unfreezing of parameters"):
                trainer_state.train_state = self.program.unfreeze(self.program_inputs, trainer_state.train_state)
        unfrozen = self.unfreeze_step is not None and trainer_state.step >= self.unfreeze_step
        state = trainer_state.train_state
        arguments = self.program_inputs, state, chunk.data, chunk.rows, step_count, rate_inputs, unfrozen
        self.compile_function(UNFROZEN_STEP if unfrozen else TRAINING_STEP, self.program.train, chunk, *arguments)
        self.timings.training -= self.timings.compiling - compiling_before
        trainer_state.train_state, sums = self.program.train(*arguments)
        trainer_state.step += chunk.steps
        self.timings.steps += chunk.steps
        return sums

    def rate_inputs(self, step: int, scale: float) -> RateInputs:
        """What the learning rate depends on, for the dispatch that starts at a step."""
        total_steps = self._total_steps_at(step)
        return RateInputs(np.int32(total_steps), np.int32(self.steps_per_epoch), np.float32(scale))

    def _total_steps_at(self, step: int) -> int:
        """The number of steps that the run had when it first took a step."""
        return min([self.total_steps, *(end.total_steps for end in self.extensions if step < end.step)])

    def _read_sums(self, trainer_state: TrainerState, pending: list[Any], leave: int = 0) -> list[Any]:
        """Reads metric sums from the device, adds them to those since the last evaluation, and shows the metrics.

        Args:
            trainer_state: the state after all dispatches.
            pending: the metric sums of the dispatches that were not read yet.
            leave: how many of the latest dispatches are not read, because the device may still compute them. With 0
                the parameters are checked too, so that only finite ones are evaluated and saved.

        Returns:
            The sums that were not read.

        Raises:
            DivergedError: the objective or a parameter is not finite.
        """
        ready, unread = pending[: len(pending) - leave], pending[len(pending) - leave :]
        trainer_state.sums = add_sums(trainer_state.sums, ready, self.metrics)
        stops_on_nan = self.training.on_nan == "stop"
        if trainer_state.sums:
            first_bad = int(trainer_state.sums["last"]["first_bad"])
            if first_bad >= 0 and stops_on_nan:
                skipped = f"{MAX_SKIPPED} steps in a row were skipped, and " if self.parts.members.skip else ""
                raise DivergedError(f"{skipped}the objective is not finite at step {first_bad}", first_bad)
            values = self.compute_metrics(trainer_state.sums, "train")
            self.progress.show_step(trainer_state.step, self.timings.steps_per_second(), values)
        if stops_on_nan and not unread and not _is_finite(trainer_state.train_state):
            raise DivergedError(f"a parameter is not finite after {trainer_state.step} steps", trainer_state.step)
        return unread

    def _evaluate_and_save(self, trainer_state: TrainerState, checkpoints: CheckpointManager) -> bool:
        """Evaluates, updates the monitor, and saves. Returns whether the monitored value is the best so far."""
        step = trainer_state.step
        record = self.compute_metrics(trainer_state.sums, "train")
        last = dict(trainer_state.sums["last"])
        del last["first_bad"]
        record |= {name: value.item() for name, value in last.items()}
        weights = evaluated_weights(self.parts, trainer_state.train_state)
        if "valid" in self.data.splits:
            record |= self.evaluate("valid", *weights)
        trainer_state.monitor, is_best = update_monitor(
            trainer_state.monitor,
            record[self.training.monitor],
            clock=Clock(step, self._total_steps_at(step - 1), self.steps_per_epoch),
            plateau=self.plateau,
            patience=self.training.patience,
            min_delta=self.training.min_delta,
            higher_is_better=self.higher_is_better,
        )
        if is_best:
            trainer_state.best = jax.tree.map(lambda leaf: leaf.copy(), weights)
            trainer_state.best_step = step
        epoch = self.count_epochs(step)
        trainer_state.history.append({"epoch": epoch, "step": step, **record})
        trainer_state.sums = {}
        checkpoints.add_point(step, {"epoch": epoch, **record})
        self._save(trainer_state, checkpoints)
        return is_best

    def count_epochs(self, step: int) -> float:
        """The number of epochs that the first `step` steps are, an int if it is whole."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return step / self.steps_per_epoch if rest else epochs

    def _save(self, trainer_state: TrainerState, checkpoints: CheckpointManager) -> None:
        trainer_state.seconds = self.seconds()
        checkpoints.save(trainer_state)

    def seconds(self) -> float:
        """The seconds of training, including those before the run was resumed."""
        return time.monotonic() - self._start_time


def _is_finite(state: TrainState) -> bool:
    """Whether all parameters are finite, and no array of the model's state holds NaN."""
    parameters, model_state = jax.tree.leaves(state.parameters), jax.tree.leaves(state.model_state)
    return all(np.isfinite(leaf).all() for leaf in parameters) and not any(np.isnan(leaf).any() for leaf in model_state)
