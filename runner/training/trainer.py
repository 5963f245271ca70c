"""The training loop: takes steps, evaluates, saves checkpoints, and stops after the last step or at a signal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from components.closest import suggest_name
from components.types import Clock, Event, FitsBatch, RowNumbers, UserError, Weights, as_index
from runner.config.check_targets import WEIGHTED
from runner.config.settings import Training
from runner.data.batches import Chunk, gather_rows
from runner.data.load import Data
from runner.data.stacked_columns import StackedColumns, stack_columns
from runner.data.steps import take_examples
from runner.data.training_order import TrainingOrder
from runner.display.progress import Progress, RunLength
from runner.errors import LocatedError, error_location
from runner.log import LOG
from runner.program.dispatch import steps_per_dispatch
from runner.program.freeze import REST, list_turns
from runner.program.initial_weights import find_initial_weights, replace_weights
from runner.program.metric_sums import LAST, MetricSums, add_sums
from runner.program.moments import MOMENTS
from runner.program.parts import ProgramInputs, TeacherInputs, record_name
from runner.program.program import Program
from runner.program.state import RateInputs, TrainState, copy_arrays, is_finite
from runner.program.update import AVERAGED_WEIGHTS, MAX_SKIPPED, SKIPPED_STEPS
from runner.run_folder import OBSERVERS_FOLDER
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.evaluator import Evaluator
from runner.training.monitor import initial_monitor, update_monitor
from runner.training.observers import Observers
from runner.training.precompile import check_longest_lists, compile_step, measure_training_bytes, trace_calls
from runner.training.profile import Profile
from runner.training.sampling import accumulate_weights
from runner.training.signals import Signals
from runner.training.step_plan import StepPlan
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
        order: the order of the training examples.
        later_shapes: the training state after each step at which frozen parameters are unfrozen.
        schedule: the schedule of the run.
        weights_source: the part that gives the initial weights. None: they are random, or those of a checkpoint.
        initial_weights: what it gives, a subtree of the variables of the model.
        plan: the steps at which it is evaluated, frozen parameters are unfrozen, and it ends.

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
        progress: Progress,
        signals: Signals,
    ) -> None:
        super().__init__(program, data, training, numbers, progress, teacher)
        self.check_padding()
        self.data = replace(data, warnings=(*data.warnings, *self._check_values()))
        self.signals = signals
        self.seed = int(numbers["seed"])
        self.schedule = program.build_schedule(ProgramInputs(numbers, {}))
        rows = len(data.splits["train"])
        steps_per_epoch, freeze = training.steps_per_epoch(rows), self.parts.members.freeze
        self.plan = StepPlan(
            steps_per_epoch=steps_per_epoch,
            total_steps=training.total_steps(rows),
            evaluation_interval=training.evaluate_steps or steps_per_epoch,
            turns=list_turns(freeze),
            schedule_length=training.schedule_length,
        )
        self.state_shapes = program.state_shapes(*self._init_arguments())
        self.steps_per_dispatch = 1
        if program.is_compiled:
            self.steps_per_dispatch = steps_per_dispatch(
                self.state_shapes.parameters,
                ragged=self.batches.is_ragged,
                counts_pixels=any(spec.is_image and spec.kind == "classes" for spec in self.targets.values()),
                labels=training.batch_size * self._count_labels(),
                gathered_bytes=training.batch_size * self.batches.gathered_bytes(data.splits["train"]),
            )
        phases = dict.fromkeys(map(self.plan.ended_turns, sorted(self.plan.unfreeze_steps.values())))
        self.later_shapes = tuple(program.state_shapes(*self._init_arguments(), ended=ended) for ended in phases)
        self.weights_source: Weights | None = None
        self.initial_weights: Mapping[str, Any] = {}
        cumulative = accumulate_weights(training, data, self.data_targets, self._load_training_column)
        self.order = TrainingOrder(data, training, self.seed, cumulative)
        if self.plan.total_steps:
            self._check_monitor()
        if program.is_compiled:  # tracing would call prints and breakpoints of parts with arrays without values
            self._trace_last_batch()
        self._start_time = time.monotonic()

    def set_weights(self, weights: Weights) -> None:
        """Takes the initial weights of a part. Raises LocatedError if they don't fit."""
        self.weights_source = weights
        with error_location("weights"):
            self.initial_weights = find_initial_weights(weights, self.parts.model.architecture, self.state_shapes)

    def _check_values(self) -> Iterator[str]:
        """Yields a warning for losses and metrics that are NaN; raises UserError if a run with them makes no sense."""
        if self.weights is not None and not self.weights[as_index(self.data.splits["train"])].any():
            raise UserError("feature.weight: all weights of the training split are 0. One must be above 0.")
        for split in self.data.splits:
            for undefined in self.find_undefined(split, f"the {split} split"):
                *first, last = undefined.names
                names = f"{', '.join(first)} and {last} are" if first else f"{last} is"
                yield f"{undefined.reason}, so {names} NaN"
                if undefined.includes(self.training.monitor):
                    raise LocatedError(
                        "training.monitor",
                        f"{self.training.monitor} is NaN at each evaluation: {undefined.reason}. Monitor another "
                        "metric, or hold out other rows.",
                    )

    def _check_monitor(self) -> None:
        """Traces the program, and raises LocatedError if the monitored metric is not among those of the traces.

        Tracing calls prints and breakpoints of parts with arrays without values. So an uncompiled program is only
        traced if the configuration doesn't show that there is such a metric, as for an internal loss.
        """
        monitor = self.training.monitor
        split, _, name = monitor.partition("/")
        known = {"loss", *(record_name(target, "loss") for target in self.targets)}
        known |= {each for each, metric in self.metrics.items() if split == "valid" or not metric.collects}
        if name in known and not self.program.is_compiled:
            return
        names = trace_calls(self, self._first_dispatch()[1])
        if monitor not in names:
            raise LocatedError("training.monitor", f"there is no metric {monitor}. {suggest_name(monitor, names)}")

    def _count_labels(self) -> int:
        """The largest number of labels of an example."""
        counts = [len(spec.classes) for spec in self.targets.values() if spec.kind == "multilabel" and spec.classes]
        return max(counts, default=0)

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher monitored value is better: never for a loss; a metric has its own direction."""
        metric = self.metrics.get(self.training.monitor.partition("/")[2].removeprefix(WEIGHTED))
        return metric is not None and metric.higher_is_better

    def _init_arguments(self) -> tuple[Any, ...]:
        """The arguments of the initialization, which reads only the shapes of the examples."""
        size = self.training.batch_size
        chunk = next(iter(self.batches.chunks(self.data.splits["train"][:size], size, 1)))
        return self.program_inputs, chunk.data, chunk.rows[0]

    def _first_dispatch(self) -> tuple[Chunk, tuple[Any, ...]]:
        """The first chunk of an epoch, and the arguments of `program.train` for it, with shapes for the state."""
        steps = min(self.plan.steps_per_epoch, self.steps_per_dispatch)
        return self._plan_dispatch(self.order.epoch(0)[: self.training.batch_size * steps])

    def _load_training_column(self, column: str) -> Any:
        """What the layer of an encoded column returns for the training rows."""
        encoded = gather_rows({column: self.data.encoded[column]}, self.data.splits["train"])
        return self.program.forward.apply_layers(self.program_inputs, encoded)[column]

    def _plan_dispatch(self, rows: RowNumbers) -> tuple[Chunk, tuple[Any, ...]]:
        """The first chunk of rows, and the arguments of `program.train` for it, with shapes for the state."""
        chunk = next(iter(self.batches.chunks(rows, self.training.batch_size, self.steps_per_dispatch)))
        step_count, rate_inputs = np.int32(chunk.steps), self.rate_inputs(0, 1.0)
        # `ended` is among the arguments as in `_dispatch`: JAX compiles again where a default was left out.
        examples, ended = (chunk.data, chunk.rows), ()
        return chunk, (self.program_inputs, self.state_shapes, *examples, step_count, rate_inputs, ended)

    def _trace_last_batch(self) -> None:
        """Traces a step of an epoch's last batch if that or a microbatch of it is a single example, which some layers
        can't learn from: `BatchNorm`. Otherwise it raises no other error than the first batch."""
        rows, microbatches = self.data.splits["train"], self.training.microbatches
        remainder = 0 if self.training.drop_remainder else len(rows) % self.training.batch_size
        if not 0 < remainder < 2 * microbatches or not self.plan.total_steps >= self.plan.steps_per_epoch > 1:
            return
        try:
            jax.eval_shape(self.program.train, *self._plan_dispatch(rows[:remainder])[1])
        except LocatedError as error:
            parts = f" in {microbatches} microbatches" if microbatches > 1 else ""
            raise LocatedError(
                "training.batch_size",
                f"the last batch of an epoch has {remainder} of the {len(rows):,} examples{parts}. {error} "
                "training.drop_remainder=true leaves this batch out.",
            ) from error

    def compile(self) -> None:
        """Compiles a training step before there is a state. Raises RunError if it needs more memory than is free."""
        if self.program.is_compiled and self.plan.total_steps:
            chunk, arguments = self._first_dispatch()
            need = compile_step(self, TRAINING_STEP, chunk, arguments)
            check_longest_lists(self, TRAINING_STEP, chunk, arguments, need)

    def measure_bytes(self) -> int | None:
        """The bytes that training needs at most. None: the compiler doesn't report them."""
        return measure_training_bytes(self, TRAINING_STEP, *self._first_dispatch())

    def initial_state(self) -> TrainerState:
        """The state of a run before its first step."""
        with self.show_compilation("the initialization"), self.memory_error_location():
            program_inputs, *examples = self._init_arguments()
            constants = self._add_initial_constants(program_inputs.constants)
            state = self.program.init(program_inputs._replace(constants=constants), *examples)
            if self.initial_weights:
                state = self.program.restart(self.program_inputs, replace_weights(state, self.initial_weights))
            if isinstance(self.weights_source, FitsBatch):
                state = self._fit_weights(self.weights_source, state)
        return TrainerState(state, initial_monitor(self.higher_is_better))

    def _fit_weights(self, weights: FitsBatch, state: TrainState) -> TrainState:
        """The state before the first step, with weights that depend on the first batch, or on its first microbatch."""
        size = self.training.batch_size // self.training.microbatches
        chunk = next(iter(self.batches.chunks(self.order.epoch(0)[:size], size, 1, seed=(self.seed, 0))))

        def forward(parameters: Any, inputs: Any) -> Any:
            program_inputs, model_state, encoded = inputs
            return self.program.forward_parameters(program_inputs, {"params": parameters, **model_state}, encoded)

        inputs = self.program_inputs, state.model_state, take_examples(chunk.data, chunk.rows[0])
        context = contextlib.nullcontext() if self.program.is_compiled else jax.disable_jit()
        with context, error_location("weights"):
            parameters = weights.fit(forward, state.parameters, inputs)
        return self.program.restart(self.program_inputs, state._replace(parameters=parameters))

    def _add_initial_constants(self, constants: StackedColumns) -> StackedColumns:
        """Adds the constants that only the initialization reads. They are not kept on the device afterwards."""
        initial = {name: self.data.constants[name].init_only for name in constants}
        if not any(initial.values()):
            return constants
        both = {name: {**arrays, **initial[name]} for name, arrays in constants.items()}
        kinds = {name: kind for name, kind in self.program.column_kinds.items() if not initial.get(name)}
        return stack_columns(both, 0, kinds, constants.numbers)

    def fit(self, trainer_state: TrainerState, checkpoints: CheckpointManager, observers: Observers) -> str | None:
        """Trains until the end of the run.

        Args:
            trainer_state: the state from which it goes on.
            checkpoints: the checkpoints of the run.
            observers: are called at each evaluation.

        Returns:
            The setting that ended the run, such as `training.epochs`. None: a signal stopped it, and a checkpoint was
            saved.
        """
        self._start_time = time.monotonic() - trainer_state.seconds
        self.progress.start(self._run_length(), trainer_state.step, self.training.monitor)
        profiler = Profile(checkpoints.folder / "profile" if self.training.profile else None)
        with contextlib.closing(profiler) as profile, self.memory_error_location():
            while (ended_by := self._ended_by(trainer_state)) is None:
                start = time.monotonic()
                if not self._train(trainer_state, self.plan.next_evaluation(trainer_state.step), checkpoints, profile):
                    return None
                is_best = self._evaluate_and_save(trainer_state, checkpoints, observers)
                record = trainer_state.history[-1]
                LOG.info("step %d: %s", trainer_state.step, record)
                self.progress.show_evaluation(trainer_state.step, record, time.monotonic() - start, is_best)
                if self.signals.received:
                    return None
        if self.training.profile and not profile.has_traced:
            self.progress.note(
                "warning: training.profile=true: the run took too few steps to trace any. Raise training.epochs."
            )
        if skipped := trainer_state.history[-1].get(SKIPPED_STEPS):
            self.progress.note(f"warning: {skipped:,} of the {trainer_state.step:,} steps were skipped")
        if trainer_state.best_step is None:
            warning = (
                f"warning: {self.training.monitor} (training.monitor) is NaN or infinite at each evaluation "
                f"({len(trainer_state.history):,}), so the last weights count as the best, and none is an improvement"
            )
            LOG.info(warning)
            self.progress.note(warning)
        return ended_by

    def _run_length(self) -> RunLength:
        counts_epochs = self.training.evaluate_steps is None and self.plan.total_steps % self.plan.steps_per_epoch == 0
        minutes = self.training.max_minutes
        end_time = None if minutes is None else self._start_time + 60 * minutes
        return RunLength(self.plan.total_steps, self.plan.steps_per_epoch, counts_epochs, end_time)

    def _ended_by(self, trainer_state: TrainerState) -> str | None:
        """The setting that ends the run now, after an evaluation. None: it goes on."""
        if trainer_state.monitor.stopped:
            return "training.patience"
        if trainer_state.step >= self.plan.total_steps and trainer_state.history:  # without steps, it is evaluated once
            return "training.steps" if self.plan.total_steps == self.training.steps else "training.epochs"
        is_evaluated = trainer_state.history and not trainer_state.sums  # else a resumed run first takes more steps
        return "training.max_minutes" if is_evaluated and self._is_time_up() else None

    def _is_time_up(self) -> bool:
        return self.training.max_minutes is not None and self.seconds() >= 60 * self.training.max_minutes

    def _train(self, trainer_state: TrainerState, end: int, checkpoints: CheckpointManager, profile: Profile) -> bool:
        """Takes the steps until the step `end`, or until the time is up. Returns False if a signal stopped it."""
        pending: list[Any] = []  # metric sums of the latest dispatches, not yet read from the device
        last_report = last_save = last_time = time.monotonic()
        for sums in self.take_steps(trainer_state, end):
            pending.append(sums)
            profile.after_dispatch(pending[-1]["last"])
            if len(pending) > MAX_IN_FLIGHT:
                jax.block_until_ready(pending[-1 - MAX_IN_FLIGHT]["last"])
            now = time.monotonic()
            self.timings.training += now - last_time
            last_time = now
            if trainer_state.step == end or self._is_time_up():
                break
            if self._is_point_due(trainer_state.step):
                pending = self._read_sums(trainer_state, pending, checks_parameters=False)
                epoch = self.plan.count_epochs(trainer_state.step)
                values = self._take_point(trainer_state) | _last_values(trainer_state.sums)
                checkpoints.add_point(trainer_state.step, {"epoch": epoch, **values})
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

    def take_steps(self, trainer_state: TrainerState, end: int) -> Iterator[Any]:
        """Takes the steps until the step `end`. Yields the metric sums of each dispatch, which the device computes."""
        for chunk in self.timings.time_waiting(self._chunks(trainer_state.step, end)):
            yield self._dispatch(trainer_state, chunk)

    def _is_point_due(self, step: int) -> bool:
        return self.training.log_steps is not None and step % self.training.log_steps == 0

    def _take_point(self, trainer_state: TrainerState) -> dict[str, float]:
        """The metrics of the steps since the last point of `training.log_steps`, such as `train_step/loss`."""
        sums, trainer_state.point_sums = trainer_state.point_sums, {}
        return self.compute_metrics(sums, "train_step")

    def _chunks(self, step: int, end: int) -> Iterator[Chunk]:
        """The chunks of the steps from `step` to `end`.

        No chunk has steps of two epochs, frozen and other steps, or steps before and after a point of `log_steps`.
        """
        batch_size = self.training.batch_size
        while step < end:
            epoch, start = divmod(step, self.plan.steps_per_epoch)
            next_end = min(end, self.plan.next_change(step))
            if self.training.log_steps is not None:
                next_end = min(next_end, (step // self.training.log_steps + 1) * self.training.log_steps)
            stop = min(start + next_end - step, self.plan.steps_per_epoch)
            order = self.order.epoch(epoch)
            seed, size = (self.seed, epoch), self.steps_per_dispatch
            yield from self.batches.chunks(order, batch_size, size, start=start, stop=stop, seed=seed)
            step += stop - start

    def _dispatch(self, trainer_state: TrainerState, chunk: Chunk) -> Any:
        """Starts the steps of a chunk on the device. Returns their metric sums, which the device still computes."""
        rate_inputs = self.rate_inputs(trainer_state.step, trainer_state.monitor.scale)
        step_count = np.int32(chunk.steps)
        compiling_before = self.timings.compiling
        ended = self.plan.ended_turns(trainer_state.step)
        if trainer_state.step in self.plan.unfreeze_steps.values():
            with self.show_compilation("the unfreezing of parameters"):
                trainer_state.train_state = self.program.unfreeze(self.program_inputs, trainer_state.train_state, ended)
        state = trainer_state.train_state
        arguments = self.program_inputs, state, chunk.data, chunk.rows, step_count, rate_inputs, ended
        is_whole = REST in ended and len(ended) == len(self.plan.turns)
        name = UNFROZEN_STEP if is_whole else f"{TRAINING_STEP}{_describe_turns(ended)}"
        self.compile_function(name, self.program.train, chunk, *arguments)
        self.timings.training -= self.timings.compiling - compiling_before
        trainer_state.train_state, sums = self.program.train(*arguments)
        trainer_state.step += chunk.steps
        self.timings.steps += chunk.steps
        return sums

    def rate_inputs(self, step: int, scale: float) -> RateInputs:
        """What the learning rate depends on, for the dispatch that starts at a step."""
        schedule_steps = self.plan.schedule_steps_at(step)
        steps_per_epoch, run_steps = np.int32(self.plan.steps_per_epoch), np.int32(self.plan.total_steps_at(step))
        return RateInputs(np.int32(schedule_steps), steps_per_epoch, np.float32(scale), run_steps)

    def _read_sums(
        self, trainer_state: TrainerState, pending: list[Any], leave: int = 0, *, checks_parameters: bool = True
    ) -> list[Any]:
        """Reads metric sums from the device, adds them to those since the last evaluation, and shows the metrics.

        Args:
            trainer_state: the state after all dispatches.
            pending: the metric sums of the dispatches that were not read yet.
            leave: how many of the latest dispatches are not read, because the device may still compute them. With 0
                the parameters are checked too, so that only finite ones are evaluated and saved.
            checks_parameters: whether parameters are checked at all, which copies them from the device.

        Returns:
            The sums that were not read.

        Raises:
            DivergedError: the objective or a parameter is not finite.
        """
        ready, unread = pending[: len(pending) - leave], pending[len(pending) - leave :]
        ready = jax.device_get(ready)
        trainer_state.sums = add_sums(trainer_state.sums, ready, self.metrics)
        if self.training.log_steps is not None:
            trainer_state.point_sums = add_sums(trainer_state.point_sums, ready, self.metrics)
        stops_on_nan = self.training.on_nan == "stop"
        if trainer_state.sums:
            first_bad = int(trainer_state.sums["last"]["first_bad"])
            if first_bad >= 0 and stops_on_nan:
                reason = f"the objective is not finite at step {first_bad}"
                if self.parts.members.skip:
                    reason = f"{MAX_SKIPPED} steps in a row were skipped, the last of them step {first_bad}"
                raise DivergedError(reason, first_bad)
            values = self.compute_metrics(trainer_state.sums, "train")
            self.progress.show_step(trainer_state.step, self.timings.steps_per_second(), values)
        if stops_on_nan and checks_parameters and not unread and not is_finite(trainer_state.train_state):
            raise DivergedError(f"a parameter is not finite after {trainer_state.step} steps", trainer_state.step)
        return unread

    def _evaluate_and_save(
        self, trainer_state: TrainerState, checkpoints: CheckpointManager, observers: Observers
    ) -> bool:
        """Evaluates, updates the monitor, calls the observers, and saves.

        Returns whether the monitored value is the best so far.
        """
        step = trainer_state.step
        record = self.compute_metrics(trainer_state.sums, "train")
        record |= _last_values(trainer_state.sums)
        weights = self._evaluated_weights(trainer_state, record)
        if "valid" in self.data.splits:
            record |= self.evaluate("valid", *weights)
        is_best = self._update_monitor(trainer_state, record)
        if is_best:
            trainer_state.best = copy_arrays(weights)
            trainer_state.best_step = step
        epoch = self.plan.count_epochs(step)
        trainer_state.history.append({"epoch": epoch, "step": step, **record})
        trainer_state.sums = {}
        point = self._take_point(trainer_state) if self._is_point_due(step) else {}
        trainer_state.point_sums = {}
        checkpoints.add_point(step, {"epoch": epoch, **record, **point})
        event = Event("evaluation", step, epoch, checkpoints.folder / OBSERVERS_FOLDER)
        observers.notify(event, trainer_state.history[-1], weights)  # before it is saved: after a kill it comes again
        self._save(trainer_state, checkpoints)
        return is_best

    def _update_monitor(self, trainer_state: TrainerState, record: Mapping[str, float]) -> bool:
        """Updates the monitor after an evaluation. Returns whether the monitored value is the best so far."""
        step = trainer_state.step
        if step == 0 and self.training.monitor not in record:  # there is no train/loss before the first step
            return True
        trainer_state.monitor, is_best = update_monitor(
            trainer_state.monitor,
            record[self.training.monitor],
            clock=Clock(step, self.plan.total_steps_at(step - 1), self.plan.steps_per_epoch),
            plateau=self.schedule.plateau,
            patience=self.training.patience,
            min_delta=self.training.min_delta,
            higher_is_better=self.higher_is_better,
        )
        return is_best

    def _evaluated_weights(self, trainer_state: TrainerState, record: Mapping[str, float]) -> tuple[Any, Any]:
        """The parameters and the model state to evaluate. If the parameters are a mean, the state gets its moments."""
        state, averaging = trainer_state.train_state, self.parts.members.averaging
        parameters, model_state = self.program.evaluated_weights(self.program_inputs, state)
        if averaging is None or not record.get(AVERAGED_WEIGHTS) or MOMENTS not in model_state:
            return parameters, model_state
        name, member = averaging
        model_state = self.count_moments(parameters, model_state, trainer_state.step, member.batches)
        averages = {**state.update_state, name: {**state.update_state[name], **model_state}}
        trainer_state.train_state = state._replace(update_state=averages)
        return parameters, model_state

    def count_moments(self, parameters: Any, model_state: Any, step: int, batches: int | None) -> Any:
        """The model state with moments of BatchNorm that are counted with some parameters, over training batches.

        The batches are the first ones of the epoch of the last step, augmented. The moments are the mean of theirs.

        Args:
            parameters: the parameters.
            model_state: the model state, with other moments.
            step: the number of steps taken.
            batches: the number of batches. None: an epoch.
        """
        epoch, size = (step - 1) // self.plan.steps_per_epoch, self.training.batch_size // self.training.microbatches
        order = self.order.epoch(epoch)
        whole = max(len(order) // size, 1)  # without a last batch that is smaller, unless it is the only one
        stop = whole if batches is None else min(batches, whole)
        ended = self.plan.ended_turns(step - 1)
        function, name = self.program.count_moments, f"the moments of BatchNorm{_describe_turns(ended)}"
        for number, chunk in enumerate(self.batches.chunks(order, size, 1, stop=stop, seed=(self.seed, epoch))):
            examples, numbers = (chunk.data, chunk.rows[0]), (np.int32(step), np.int32(number))
            arguments = self.program_inputs, parameters, model_state, *examples, *numbers, ended
            self.compile_function(name, function, chunk, *arguments)
            model_state = function(*arguments)
        return model_state

    def _save(self, trainer_state: TrainerState, checkpoints: CheckpointManager) -> None:
        trainer_state.seconds = self.seconds()
        checkpoints.save(trainer_state)

    def seconds(self) -> float:
        """The seconds of training, including those before the run was resumed."""
        return time.monotonic() - self._start_time


def _describe_turns(ended: tuple[str, ...]) -> str:
    """The turns of `freeze` that have ended, to tell apart what is compiled in each phase of a run."""
    names = [name or "the rest" for name in ended]
    return f" with {', '.join(names)} unfrozen" if names else ""


def _last_values(sums: MetricSums) -> dict[str, float]:
    """The values of the latest step that are not added up, such as the learning rate. Before a step there are none."""
    return {name: value.item() for name, value in sums.get(LAST, {}).items() if name != "first_bad"}
