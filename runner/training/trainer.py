"""The training loop: takes steps, evaluates, saves checkpoints, and stops after the last epoch or at a signal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from components.types import Weights
from runner import memory
from runner.config.settings import Training
from runner.data.batches import Chunk, epoch_order
from runner.data.load import Data
from runner.display.progress import Progress
from runner.errors import error_location
from runner.log import LOG
from runner.program.initial_weights import architecture_state, replace_weights
from runner.program.metric_sums import add_sums
from runner.program.parts import ProgramInputs
from runner.program.program import Program, RateInputs, TrainState, evaluated_weights, steps_per_dispatch
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


class Trainer(Evaluator):
    """Trains and evaluates one program on its data.

    Attributes:
        state_shapes: the training state, with shapes and dtypes in place of arrays.
        unfrozen_shapes: the training state after the frozen parameters are unfrozen. None: this never happens.
        steps_per_epoch: the number of steps in an epoch.
        unfreeze_step: the number of steps after which the frozen parameters are unfrozen. None: never.
        extended_at: {epochs: step} for each earlier number of epochs of a run that was extended, and the step at which
            it was extended.

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
        weights: Weights | None = None,
        progress: Progress,
        signals: Signals,
    ) -> None:
        super().__init__(program, data, training, numbers, progress)
        self.signals = signals
        self.seed = int(numbers["seed"])
        self.plateau = program.build_plateau(ProgramInputs(numbers, {}))
        rows, batch_size = len(data.splits["train"]), training.batch_size
        self.steps_per_epoch = rows // batch_size if training.drop_remainder else -(-rows // batch_size)
        self.state_shapes: TrainState = jax.eval_shape(program.init, *self._init_arguments())
        self.steps_per_dispatch = steps_per_dispatch(self.state_shapes, ragged=self.batches.is_ragged)
        epoch = self.parts.members.unfreeze_epoch
        self.unfreeze_step = None if epoch is None else epoch * self.steps_per_epoch
        self.unfrozen_shapes: TrainState | None = None
        if self.unfreeze_step is not None:
            self.unfrozen_shapes = jax.eval_shape(program.unfreeze, self.program_inputs, self.state_shapes)
        self._initial_weights: Mapping[str, Any] = {}
        if weights is not None:
            with error_location("weights"):
                self._initial_weights = weights(self.parts.model.architecture, architecture_state(self.state_shapes))
        self._trace()
        self.extended_at: Mapping[int, int] = {}
        self._start_time = time.monotonic()

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher monitored value is better: never for a loss; a metric has its own direction."""
        metric = self.metrics.get(self.training.monitor.partition("/")[2])
        return metric is not None and metric.higher_is_better

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
        rate_inputs = RateInputs(np.int32(self.training.epochs * self.steps_per_epoch), np.float32(1))
        step_count = np.int32(chunk.steps)
        return chunk, (self.program_inputs, self.state_shapes, chunk.data, chunk.rows, step_count, rate_inputs)

    def compile(self) -> None:
        """Compiles a training step before there is a state.

        Raises:
            RunError: training needs more memory than is free. It needs the state, copies of the state, and the
                intermediate values of a step.
        """
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

    def fit(self, trainer_state: TrainerState, checkpoints: CheckpointManager) -> bool:
        """Trains until the last epoch, or until early stopping.

        Returns:
            Whether training is complete. False: a signal stopped it, and a checkpoint was saved.
        """
        self._start_time = time.monotonic() - trainer_state.seconds
        first_epoch = trainer_state.step // self.steps_per_epoch
        self.progress.start(self.training.epochs, self.steps_per_epoch, first_epoch)
        profiler = Profile(checkpoints.folder / "profile" if self.training.profile else None)
        with contextlib.closing(profiler) as profile, self.memory_error_location():
            for epoch in range(first_epoch, self.training.epochs):
                if trainer_state.monitor.stopped:
                    break
                epoch_start = time.monotonic()
                if not self._train_epoch(trainer_state, epoch, checkpoints, profile):
                    return False
                is_best = self._end_epoch(trainer_state, epoch, checkpoints)
                record = trainer_state.history[-1]
                LOG.info("epoch %d: %s", epoch + 1, record)
                self.progress.show_epoch(epoch, record, time.monotonic() - epoch_start, is_best)
                if self.signals.received:
                    return False
        if self.training.profile and not profile.has_traced:
            self.progress.note(
                "warning: training.profile=true: the run took too few steps to trace any. Raise training.epochs."
            )
        return True

    def _train_epoch(
        self, trainer_state: TrainerState, epoch: int, checkpoints: CheckpointManager, profile: Profile
    ) -> bool:
        """Takes the remaining steps of an epoch. Returns False if a signal stopped it before the last one."""
        first_step = epoch * self.steps_per_epoch
        end_step = first_step + self.steps_per_epoch
        batch_size = self.training.batch_size
        rows = epoch_order(self.data.splits["train"], self.seed, epoch)[: self.steps_per_epoch * batch_size]
        chunks = self.batches.chunks(rows, batch_size, self.steps_per_dispatch, start=trainer_state.step - first_step)
        pending: list[Any] = []  # metric sums of the latest dispatches, not yet read from the device
        last_report = last_save = last_time = time.monotonic()
        for chunk in self._time_waiting(chunks):
            pending.append(self._dispatch(trainer_state, chunk))
            profile.after_dispatch(pending[-1]["last"])
            if len(pending) > MAX_IN_FLIGHT:
                jax.block_until_ready(pending[-1 - MAX_IN_FLIGHT]["last"])
            now = time.monotonic()
            self.timings.training += now - last_time
            last_time = now
            is_checkpoint_due = now - last_save > 60 * self.training.checkpoint_minutes > 0
            if trainer_state.step < end_step and (is_checkpoint_due or self.signals.received):
                pending = self._read_sums(trainer_state, pending, epoch)
                self._save(trainer_state, checkpoints)
                last_save = time.monotonic()
                if self.signals.received:
                    return False
            elif now - last_report > REPORT_SECONDS:
                pending = self._read_sums(trainer_state, pending, epoch, leave=1)
                last_report = time.monotonic()
        self._read_sums(trainer_state, pending, epoch)
        self.timings.training += time.monotonic() - last_time
        return True

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
        total_steps = self._total_epochs(trainer_state.step) * self.steps_per_epoch
        rate_inputs = RateInputs(np.int32(total_steps), np.float32(trainer_state.monitor.scale))
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

    def _total_epochs(self, step: int) -> int:
        """The number of epochs that the run had when it first took a step.

        After a crash, an extended run may repeat steps from before it was extended. They need the learning rate of
        the shorter run.
        """
        earlier = [epochs for epochs, last_step in self.extended_at.items() if step < last_step]
        return min([*earlier, self.training.epochs])

    def _read_sums(self, trainer_state: TrainerState, pending: list[Any], epoch: int, leave: int = 0) -> list[Any]:
        """Reads metric sums from the device, adds them to those of the epoch, and shows the metrics.

        Args:
            trainer_state: the state after all dispatches.
            pending: the metric sums of the dispatches that were not read yet.
            epoch: the epoch, from 0.
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
            step = trainer_state.step - epoch * self.steps_per_epoch
            self.progress.show_step(epoch, step, self.timings.steps_per_second(), values)
        if stops_on_nan and not unread and not _is_finite(trainer_state.train_state):
            raise DivergedError(f"a parameter is not finite after {trainer_state.step} steps", trainer_state.step)
        return unread

    def _end_epoch(self, trainer_state: TrainerState, epoch: int, checkpoints: CheckpointManager) -> bool:
        """Evaluates, updates the monitor, and saves. Returns whether the monitored value is the best so far."""
        record = self.compute_metrics(trainer_state.sums, "train")
        record["learning_rate"] = float(trainer_state.sums["last"]["learning_rate"])
        if "skipped_steps" in trainer_state.sums["last"]:
            record["skipped_steps"] = int(trainer_state.sums["last"]["skipped_steps"])
        weights = evaluated_weights(self.parts, trainer_state.train_state)
        if "valid" in self.data.splits:
            record |= self.evaluate("valid", *weights)
        trainer_state.monitor, is_best = update_monitor(
            trainer_state.monitor,
            record[self.training.monitor],
            plateau=self.plateau,
            patience=self.training.patience,
            min_delta=self.training.min_delta,
            higher_is_better=self.higher_is_better,
        )
        if is_best:
            trainer_state.best = jax.tree.map(lambda leaf: leaf.copy(), weights)
            trainer_state.best_step = trainer_state.step
        trainer_state.history.append({"epoch": epoch + 1, "step": trainer_state.step, **record})
        trainer_state.sums = {}
        checkpoints.add_point(trainer_state.step, {"epoch": epoch + 1, **record})
        self._save(trainer_state, checkpoints)
        return is_best

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
