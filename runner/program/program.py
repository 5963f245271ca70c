"""The compiled part of a run: pure functions that initialize, train and evaluate.

Numbers of the configuration, such as rates, are arguments of these functions. So two runs that differ only in their
numbers share one program, and the second compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from components.types import Batch, Clock, Constants, Output, Schedule, UserError
from runner.data.load import Features
from runner.data.steps import take_examples
from runner.errors import error_location
from runner.memory import MemoryNeed
from runner.program.column_groups import find_kinds, list_numbers
from runner.program.dispatch import is_slow_in_loops, run_uncompiled, training_options
from runner.program.forward import ForwardPass
from runner.program.freeze import find_frozen, freeze_modules, split
from runner.program.microbatches import accumulate, split_batch
from runner.program.moments import MOMENTS, add_moments, replace_moments
from runner.program.monte_carlo import Draw, add_sample, start_samples
from runner.program.objective import (
    Counts,
    ExampleOutputs,
    StepSums,
    compute_losses,
    compute_penalties,
    compute_sums,
    constrain,
    count_batch,
    example_outputs,
    objective_terms,
)
from runner.program.optimizer import OptimizerFactory, average_schedule_free, find_schedule_free, is_joint
from runner.program.parts import BuiltParts, ProgramInputs, build_parts, part_name
from runner.program.returns import check_rates, check_shapes, check_step
from runner.program.samples import Samples, average_samples
from runner.program.state import RateInputs, TrainState
from runner.program.trees import carry_over, copy_containers, list_in_order, list_paths, merge
from runner.program.update import (
    Members,
    apply_after,
    apply_before_evaluation,
    build_members,
    constrain_changes,
    describe_members,
    init_update_state,
    skip_step,
)
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import format_value


class Program:
    """The compiled functions of an experiment. Their `data` are encoded columns by name, with rows first.

    Args:
        static_config: the configuration, with a `ScalarSlot` in place of each number.
        features: the targets and the columns.
        constants: the values fitted on the training split, of the targets and of each column.
        teacher: the program of the teacher. None: there is none.
        compiled: False: the functions run operation by operation. Parts see arrays with values, so prints and
            breakpoints in them work.

    Attributes:
        is_compiled: whether the functions are compiled.
        parameter_order: the position of each parameter, by path, in the order in which the network uses them. `init`
            fills it, also where it is only traced.
        forward: the forward pass, uncompiled.
        init: (program inputs, data, rows) -> the state before the first step.
        restart: (program inputs, state) -> the state before the first step, for the parameters of another state.
        unfreeze: (program inputs, state, ended) -> the state with which the parameters of some turns are trained.
            `ended` is static: the names of these turns, a sorted tuple.
        train: (program inputs, state, data, rows, step count, rate inputs, ended) -> the state after these steps, and
            the metric sums over them. `ended` is the last one with which `unfreeze` has returned the state.
        evaluate: (program inputs, parameters, model state, data, rows, mask, number of the batch) -> the metric sums
            over the rows, and the outputs for each row, without those of targets that are images. One more argument
            may be samples of the same rows, as `sample` returns them: the outputs are then their mean.
        evaluate_images: the same, with them.
        count_moments: (program inputs, parameters, model state, data, rows, step, number, ended) -> the model state
            with moments of BatchNorm that are a mean over the training batches before, `number` of them, and the rows.
        sample: (samples, random key, program inputs, parameters, model state, data, rows) -> the samples of the rows
            with one more, of Monte Carlo dropout. The key is that of the rows. None: dropout is off.
        rates: (program inputs, a clock with arrays of steps and total steps (N,)) -> the numbers of the schedule, (N,).
        memory_needs: the memory that each compiled function needs, by its name and the shapes of its arguments. The
            evaluator fills this cache. None: the compiler doesn't report it.
    """

    def __init__(
        self,
        static_config: Mapping[str, Any],
        features: Features,
        constants: Mapping[str, Constants],
        teacher: Program | None = None,
        *,
        compiled: bool = True,
    ) -> None:
        self.static_config = static_config
        self.features = features
        self.parameter_order: Mapping[str, int] = {}
        # The arrays of `device` and `init_only` are arguments of the functions. If they stayed here, they would be
        # compiled in.
        self._constants = {name: constant._replace(device={}, init_only={}) for name, constant in constants.items()}
        self.is_compiled = compiled
        jit: Callable[..., Any] = jax.jit if compiled else run_uncompiled
        self.init = jit(self._init)
        self.restart = jit(self._restart)
        self.unfreeze = jit(self._unfreeze, donate_argnums=1, static_argnames="ended")
        self.train = jit(self._train, donate_argnums=1, static_argnames="ended", compiler_options=training_options())
        self.evaluate = jit(self._evaluate)
        self.evaluate_images = jit(partial(self._evaluate, images=True))
        self.count_moments = jit(self._count_moments, static_argnames="ended")
        self.sample = jit(self._sample)
        self.rates = jit(self._compute_rates)
        self._constrain_average = jit(self._constrain_average_parameters)
        self._average_schedule_free = jit(average_schedule_free)
        self._before_evaluation = jit(self._apply_before_evaluation)
        training = static_config.get("training", {})
        self._microbatches, weighs_training = training.get("microbatches", 1), training.get("sampling") != "weighted"
        build_teacher = teacher.build_parts if teacher else None
        self.forward = ForwardPass(features, self._constants, build_teacher, weighs_training=weighs_training)
        self.memory_needs: dict[Any, MemoryNeed | None] = {}

    @cached_property
    def _layers(self) -> dict[str, Any]:
        """The layers of the columns of all inputs."""
        names = {name for names in self.features.inputs.values() for name in names}
        return {name: self.features.columns[name].layer(self._constants[name].static) for name in sorted(names)}

    @cached_property
    def column_kinds(self) -> dict[str, Any]:
        """The kinds of columns that are computed as one, by column. Their arrays may be stacked."""
        return find_kinds(self._layers) if self.is_compiled else {}

    @property
    def stack_numbers(self) -> tuple[Any, ...]:
        """The numbers for `StackedColumns` of the constants with which the program is trained."""
        return list_numbers(self._layers) if self.is_compiled else ()

    def state_shapes(
        self, program_inputs: ProgramInputs, data: Any, rows: Any, *, ended: tuple[str, ...] = ()
    ) -> TrainState:
        """The training state, with shapes and dtypes in place of arrays.

        Args:
            program_inputs: as `init` gets them, and so are `data` and `rows`.
            ended: the turns whose parameters are unfrozen.
        """

        def make_state(program_inputs: ProgramInputs, data: Any, rows: Any) -> TrainState:
            state: TrainState = self.init(program_inputs, data, rows)
            return self.unfreeze(program_inputs, state, ended) if ended else state

        if self.is_compiled:
            shapes: TrainState = jax.eval_shape(make_state, program_inputs, data, rows)
            return shapes
        state = make_state(program_inputs, data, rows)  # is not traced: prints need arrays with values
        return jax.eval_shape(lambda: state)

    def build_parts(self, program_inputs: ProgramInputs) -> BuiltParts:
        """Builds the parts with their numbers."""
        return build_parts(self.static_config, self.features, self._constants, program_inputs)

    def build_schedule(self, program_inputs: ProgramInputs) -> Schedule:
        """Builds the schedule of the run."""
        with error_location("schedule"):
            schedule: Schedule = build(self.static_config["schedule"], program_inputs.numbers, SCHEMA["schedule"])
        return schedule

    def _compute_rates(self, program_inputs: ProgramInputs, clocks: Clock) -> Mapping[str, jax.Array]:
        """The numbers of the run's schedule at some clocks."""
        schedule = self.build_schedule(program_inputs)
        with error_location("schedule"):
            at = jax.vmap(lambda step, total: _read_schedule(schedule, Clock(step, total, clocks.steps_per_epoch)))
            numbers = at(clocks.step, clocks.total_steps)
        return {name: jnp.asarray(number, jnp.float32) for name, number in numbers.items()}

    def _init(self, program_inputs: ProgramInputs, data: Any, rows: jax.Array) -> TrainState:
        """The state before the first step. Of the examples `rows` (B,) only the shapes matter."""
        parts, encoded = self.build_parts(program_inputs), take_examples(data, rows)
        with error_location("architecture"):
            _check_sizes(self.static_config["architecture"])
            variables = self.forward.init(parts, program_inputs, encoded)
            check_shapes(variables)
        model_state = dict(variables)
        parameters = model_state.pop("params", {})
        # Flax creates parameters where they are used. JAX sorts them at the end of a compiled function.
        self.parameter_order = {path: position for position, path in enumerate(list_in_order(parameters))}
        return self._start(program_inputs, parameters, model_state)

    def _restart(self, program_inputs: ProgramInputs, state: TrainState) -> TrainState:
        """The state before the first step, with the parameters and the model state of another state."""
        return self._start(program_inputs, state.parameters, state.model_state)

    def _start(
        self, program_inputs: ProgramInputs, parameters: Any, model_state: Any, ended: tuple[str, ...] = ()
    ) -> TrainState:
        """The state before the first step, for the initial values of the model."""
        members = build_members(self.static_config["update"], program_inputs.numbers)
        # The initial optimizer state doesn't depend on the rate.
        rate_inputs = RateInputs(jnp.int32(1), jnp.int32(1), jnp.float32(1))
        optimizer, _ = self._build_optimizer(program_inputs, members, parameters, jnp.int32(0), rate_inputs)
        free, _ = split(parameters, find_frozen(members.freeze, parameters, ended=ended))
        # Optax's L-BFGS starts with weakly typed arrays. With these, the second step would be compiled again.
        optimizer_state = jax.tree.map(
            lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), optimizer.init(free)
        )
        if members.evaluated is not None and find_schedule_free(optimizer_state):
            with error_location(f"update.{members.evaluated}"):
                raise UserError(
                    "the optimizer is schedule-free: it averages the weights that are evaluated itself. Leave one of "
                    "the two out."
                )
        update_state = init_update_state(members, {"params": parameters, **model_state})
        return TrainState(parameters, model_state, optimizer_state, jnp.int32(0), jnp.int32(-1), update_state)

    def _unfreeze(self, program_inputs: ProgramInputs, state: TrainState, ended: tuple[str, ...]) -> TrainState:
        """The state with which the parameters of some turns are trained. Those new to it get a fresh optimizer state.

        So do all parameters in states with something for all of them, such as a counter of steps.
        """
        fresh = self._start(program_inputs, state.parameters, state.model_state, ended)
        return state._replace(
            optimizer_state=carry_over(fresh.optimizer_state, state.optimizer_state, is_whole=is_joint)
        )

    def _train(
        self,
        program_inputs: ProgramInputs,
        state: TrainState,
        data: Any,
        rows: jax.Array,
        step_count: jax.Array,
        rate_inputs: RateInputs,
        ended: tuple[str, ...] = (),
    ) -> tuple[TrainState, StepSums]:
        """Takes `step_count` steps. Step i sees the examples `rows[i]`; rows is int32 (steps, B).

        Returns the new state, and the metric sums over these steps.
        """

        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, StepSums]:
            return self._step(program_inputs, state, take_examples(data, rows), rate_inputs, ended=ended)

        if rows.shape[0] == 1:
            return step(state, rows[0])
        step = jax.jit(step, inline=True)  # is traced once, for its shapes and for the loop
        sums_shapes = jax.eval_shape(step, state, rows[0])[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), sums_shapes)

        def body(index: jax.Array, carry: tuple[TrainState, StepSums]) -> tuple[TrainState, StepSums]:
            state, sums = carry
            state, step_sums = step(state, rows[index])
            # `last` holds the schedule's numbers and `first_bad`, which are not summed.
            return state, jax.tree.map(jnp.add, sums, step_sums) | {"last": step_sums["last"]}

        return jax.lax.fori_loop(0, step_count, body, (state, zeros))

    def _step(
        self,
        program_inputs: ProgramInputs,
        state: TrainState,
        encoded: Any,
        rate_inputs: RateInputs,
        *,
        ended: tuple[str, ...],
    ) -> tuple[TrainState, StepSums]:
        """Takes one step on encoded examples. Returns the new state, and the metric sums."""
        parts = self.build_parts(program_inputs)
        frozen = find_frozen(parts.members.freeze, state.parameters, ended=ended)
        free, frozen_parameters = split(state.parameters, frozen)

        def forward_pass(free: Any, model_state: Any, encoded: Any, number: Any) -> tuple[Batch, Output, Any]:
            variables = {"params": merge(free, frozen_parameters), **model_state}
            with freeze_modules(frozen):
                return self.forward(parts, program_inputs, variables, encoded, step=state.step, part=number)

        def add_terms(output: Output, batch: Batch, counts: Counts) -> tuple[jax.Array, StepSums]:
            sums = compute_sums(parts, output, batch, compute_losses(parts, output, batch), training=True)
            losses, others = objective_terms(parts, output, batch, sums, counts)
            if others:
                sums["objective"] = {"sum": jnp.float32(0), "count": jnp.int32(0)}  # set below
            terms = [*losses, *others] or [jnp.float32(0)]
            return sum(terms[1:], terms[0]), sums

        def objective_of_part(free: Any, model_state: Any, encoded: Any, number: Any) -> Any:
            batch, output, model_state = forward_pass(free, model_state, encoded, number)
            value, sums = add_terms(output, batch, counts)
            return value, (model_state, sums)

        def objective_at_once(free: Any) -> tuple[jax.Array, tuple[Any, StepSums]]:
            model_state, passes = state.model_state, []
            for number, part in enumerate(microbatches):
                batch, output, model_state = forward_pass(free, model_state, part, number if is_divided else None)
                passes.append((output, batch))
            counts = count_batch([batch for _, batch in passes])
            first, *others = (add_terms(output, batch, counts) for output, batch in passes)
            for other in others:
                first = jax.tree.map(jnp.add, first, other)
            return first[0], (model_state, first[1])

        def objective(free: Any) -> tuple[jax.Array, tuple[Any, StepSums]]:
            value, (model_state, sums) = objective_of_batch(free)
            penalties = compute_penalties(parts, merge(free, frozen_parameters))
            value = sum(penalties, value)
            if penalties or "objective" in sums:
                sums["objective"] = {"sum": value * size, "count": jnp.int32(size)}
            return value, (model_state, sums)

        size, is_divided = len(jax.tree.leaves(encoded)[0]), self._microbatches > 1
        microbatches = split_batch(encoded, self._microbatches) if is_divided else [encoded]
        if is_divided and self.is_compiled:
            counts = self._count_microbatches(parts, program_inputs, state, microbatches)
            objective_of_batch = accumulate(
                objective_of_part, microbatches, state.model_state, unroll=is_slow_in_loops(state.parameters)
            )
        else:  # uncompiled, each part runs once, so that prints appear once; the activations of all are in memory
            objective_of_batch = objective_at_once
        with error_location("step"):
            returned = parts.step(objective, copy_containers(free))
            check_step(returned, free, part_name(parts.step))
            (value, (model_state, sums)), gradients = returned
        optimizer, scheduled = self._build_optimizer(
            program_inputs, parts.members, state.parameters, state.step, rate_inputs
        )
        # L-BFGS needs these three. Other optimizers ignore them.
        line_search = {"value": value, "grad": gradients, "value_fn": lambda free: objective(free)[0]}
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, free, **line_search)

        def constrain_free(parameters: Any) -> Any:
            """The parameters that meet all constraints. The frozen ones don't change."""
            return merge(constrain(parts, parameters), frozen_parameters)

        parameters = constrain_free(merge(optax.apply_updates(free, updates), frozen_parameters))
        variables, update_state = apply_after(
            parts.members,
            {"params": parameters, **model_state},
            state.update_state,
            rate_inputs.run_clock(state.step),
            constrain_free,
            frozen_parameters,
        )
        new_model_state = dict(variables)
        parameters = new_model_state.pop("params")
        is_bad = ~jnp.isfinite(value)
        new = TrainState(parameters, new_model_state, optimizer_state, state.step + 1, state.first_bad, update_state)
        if parts.members.skip:
            new, sums, is_bad = skip_step(parts.members.skip, state, new, sums, value, gradients)
        first_bad = jnp.where((state.first_bad < 0) & is_bad, state.step, state.first_bad)
        scheduled = {name: jnp.asarray(number, jnp.float32) for name, number in scheduled.items()}
        sums["last"] = {**scheduled, "first_bad": first_bad, **describe_members(parts.members, new.update_state)}
        return new._replace(first_bad=first_bad), sums

    def forward_parameters(self, program_inputs: ProgramInputs, variables: Any, encoded: Any) -> Any:
        """The parameters after the forward pass of the first step, in which modules may change them; uncompiled."""
        parts, step = self.build_parts(program_inputs), jnp.int32(0)
        return self.forward(parts, program_inputs, variables, encoded, step=step, changes_parameters=True)[2]["params"]

    def evaluated_weights(self, program_inputs: ProgramInputs, state: TrainState) -> tuple[Any, Any]:
        """The parameters and the model state that evaluations, the best weights and predictions use.

        They are an average if a member of the update set or a schedule-free optimizer provides one. It meets the
        constraints here, not in the state.
        """
        members = build_members(self.static_config["update"], program_inputs.numbers)
        parameters, model_state = state.parameters, state.model_state
        if members.evaluated is not None:
            averaged = state.update_state[members.evaluated]
            parameters, model_state = averaged["params"], {name: averaged[name] for name in model_state}
        elif find_schedule_free(state.optimizer_state):
            parameters = self._average_schedule_free(state.optimizer_state, parameters)
        if parameters is not state.parameters and self.static_config["constraint"]:
            parameters = self._constrain_average(program_inputs, state.parameters, parameters)
        if members.before_evaluation:
            variables = self._before_evaluation(program_inputs, {"params": parameters, **model_state})
            model_state = dict(variables)
            parameters = model_state.pop("params")
        return parameters, model_state

    def _apply_before_evaluation(self, program_inputs: ProgramInputs, variables: Any) -> Any:
        """The variables as the members of the update set change them for evaluations."""
        return apply_before_evaluation(build_members(self.static_config["update"], program_inputs.numbers), variables)

    def _constrain_average_parameters(self, program_inputs: ProgramInputs, parameters: Any, average: Any) -> Any:
        """The average of the parameters that meets the constraints, but where it equals them, as if they are frozen."""
        return constrain_changes(partial(constrain, self.build_parts(program_inputs)), parameters, average)

    def _count_microbatches(
        self, parts: BuiltParts, program_inputs: ProgramInputs, state: TrainState, microbatches: Sequence[Any]
    ) -> Counts:
        """Counts the examples and elements of a batch. XLA removes all of the forward passes but the masks."""
        variables = {"params": state.parameters, **state.model_state}
        batches = [
            self.forward(parts, program_inputs, variables, encoded, step=state.step, part=number)[0]
            for number, encoded in enumerate(microbatches)
        ]
        return count_batch(batches)

    def _evaluate(
        self,
        program_inputs: ProgramInputs,
        parameters: Any,
        model_state: Any,
        data: Any,
        rows: jax.Array,
        mask: jax.Array,
        number: jax.Array | int = 0,
        samples: Mapping[str, Samples] | None = None,
        *,
        images: bool = False,
    ) -> tuple[StepSums, ExampleOutputs]:
        """The metric sums over the examples `rows` (B,) with a true `mask` (B,), and the outputs for all of them.

        `number` is that of the batch in the evaluation, and `images` as in `example_outputs`. With `samples`, the
        outputs are the mean of these.
        """
        parts = self.build_parts(program_inputs)
        variables = {"params": parameters, **model_state}
        encoded = take_examples(data, rows)
        batch, output, _ = self.forward(parts, program_inputs, variables, encoded, step=None, part=number, present=mask)
        spread = None
        if samples is not None:
            outputs, spread = average_samples(parts, samples)
            output = output._replace(outputs=outputs)
        losses = compute_losses(parts, output, batch._replace(weight=None))
        sums = compute_sums(parts, output, batch, losses, training=False)
        return sums, example_outputs(parts, output, batch, losses, images=images)._replace(spread=spread)

    def _count_moments(
        self,
        program_inputs: ProgramInputs,
        parameters: Any,
        model_state: Any,
        data: Any,
        rows: jax.Array,
        step: jax.Array,
        number: jax.Array,
        ended: tuple[str, ...] = (),
    ) -> Any:
        """The model state with the moments of one more training batch, the examples `rows` (B,)."""
        parts, variables = self.build_parts(program_inputs), {"params": parameters, **model_state}
        frozen = find_frozen(parts.members.freeze, parameters, ended=ended)
        with replace_moments() as modules, freeze_modules(frozen):
            encoded = take_examples(data, rows)
            _, _, new = self.forward(parts, program_inputs, variables, encoded, step=step, part=number)
        return {**model_state, MOMENTS: add_moments(model_state[MOMENTS], new[MOMENTS], modules, number)}

    def _sample(self, samples: Mapping[str, Samples], key: jax.Array | None, *arguments: Any) -> dict[str, Samples]:
        """The samples of some examples with one more. The arguments after the random key are those of `_draw`."""
        parts, draw = self._draw(*arguments)
        return add_sample(parts, samples, draw, key)

    def start_samples(self, *arguments: Any, drops: bool) -> dict[str, Samples]:
        """The samples of some examples before the first one. The arguments are those of `sample` after the key.

        Raises:
            UserError: dropout is on (`drops`), and the model draws no random numbers: all samples would be equal.
        """
        return start_samples(*self._draw(*arguments), drops=drops)

    def _draw(
        self, program_inputs: ProgramInputs, parameters: Any, model_state: Any, data: Any, rows: jax.Array
    ) -> tuple[BuiltParts, Draw]:
        """The parts, and the output of the model for the examples `rows` (B,) as a function of a random key."""
        parts, variables = self.build_parts(program_inputs), {"params": parameters, **model_state}
        encoded = take_examples(data, rows)

        def draw(key: jax.Array | None) -> Output:
            return self.forward(parts, program_inputs, variables, encoded, step=None, mc_key=key)[1]

        return parts, draw

    def _build_optimizer(
        self,
        program_inputs: ProgramInputs,
        members: Members,
        parameters: Any,
        step: jax.Array,
        rate_inputs: RateInputs,
    ) -> tuple[optax.GradientTransformationExtraArgs, Mapping[str, jax.Array]]:
        """Builds the optimizer with the schedule's numbers at a step. Returns it and these numbers.

        Args:
            program_inputs: numbers and constants.
            members: the update set.
            parameters: all parameters of the model.
            step: the training step.
            rate_inputs: what the learning rate depends on in addition.
        """

        def rates(schedule: Schedule) -> dict[str, jax.Array]:
            with error_location("schedule"):
                clock = Clock(step, rate_inputs.total_steps, rate_inputs.steps_per_epoch)
                scheduled = _read_schedule(schedule, clock)
                check_rates(scheduled, str(self.static_config["schedule"]["_target_"]))
            scale = jnp.float32(1) if schedule.plateau is None else rate_inputs.scale
            return {**scheduled, "learning_rate": scheduled["learning_rate"] * scale}

        schedule = self.build_schedule(program_inputs)
        optimizer = build(self.static_config["optimizer"], program_inputs.numbers, SCHEMA["optimizer"])
        paths = sorted(list_paths(parameters), key=self.parameter_order.__getitem__)
        return OptimizerFactory(members, optimizer, schedule, rates, paths).build()


def _check_sizes(node: Any) -> None:
    """Raises UserError for a size that JAX can't count. JAX's own error names neither the number nor its key."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(node):
        if isinstance(leaf, int) and abs(leaf) >= 2**63:
            key = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(f"{key}: {format_value(leaf)} is too large. Sizes are smaller than 2^63.")


def _read_schedule(schedule: Schedule, clock: Clock) -> Mapping[str, jax.Array]:
    """The numbers of a schedule at a clock. After its last step, they are those of the last step."""
    return schedule.at(clock._replace(step=jnp.minimum(clock.step, clock.total_steps - 1)))
