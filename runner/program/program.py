"""The compiled part of a run: pure functions that initialize, train and evaluate.

Numbers of the configuration, such as rates, are arguments of these functions. So two runs that differ only in their
numbers share one program, and the second compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from components.types import Batch, Clock, Constants, Output, Plateau, Schedule, UserError
from runner.data.load import Features
from runner.errors import error_location
from runner.memory import MemoryNeed
from runner.program.parts import (
    BuiltParts,
    ExampleOutputs,
    ProgramInputs,
    StepSums,
    augment,
    build_parts,
    compute_sums,
    constrain,
    example_outputs,
    extra_losses,
    make_batch,
)
from runner.program.returns import check_rates
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import format_value

STREAMS = {"init": 0, "train": 1, "augment": 2}  # each use of randomness has its own stream of keys
STEPS_PER_DISPATCH = 64  # of a small model. A step of a large one takes long, so the cost of its dispatch is small.
LARGE_MODEL = 1_000_000  # parameters
STEPS_OF_LARGE_MODEL = 8
STEPS_OF_RAGGED_DATA = 4
MAX_ELEMENTS = 2**48  # of one array: a petabyte of float32


class TrainState(NamedTuple):
    """The training state: all that a training step changes, on the device.

    Attributes:
        parameters: the model's parameters.
        model_state: the other Flax collections of the model by name, such as running moments.
        optimizer_state: the state of the Optax optimizer.
        step: the number of steps taken, int32 ().
        first_bad: the first step whose objective was not finite, int32 (); -1: all were finite.
    """

    parameters: Any
    model_state: Any
    optimizer_state: Any
    step: jax.Array
    first_bad: jax.Array


class RateInputs(NamedTuple):
    """What the learning rate depends on in addition to the step.

    Attributes:
        total_steps: the number of steps of the whole run, int32 ().
        steps_per_epoch: the number of steps of an epoch, int32 ().
        scale: the plateau's factor of the rate, float32 ().
    """

    total_steps: Any
    steps_per_epoch: Any
    scale: Any


class Program:
    """The compiled functions of an experiment. Their `data` are encoded columns by name, with rows first.

    Args:
        static_config: the configuration, with a `ScalarSlot` in place of each number.
        features: the target and the columns.
        constants: the values fitted on the training split, of the target and of each column.

    Attributes:
        init: (program inputs, data, rows) -> the state before the first step.
        train: (program inputs, state, data, rows, step count, rate inputs) -> the state after these steps, and the
            metric sums over them.
        evaluate: (program inputs, parameters, model state, data, rows, mask) -> the metric sums over the rows, and the
            outputs for each row.
        memory_needs: the memory that each compiled function needs, by its name and the shapes of its arguments. The
            evaluator fills this cache. None: the compiler doesn't report it.
    """

    def __init__(
        self, static_config: Mapping[str, Any], features: Features, constants: Mapping[str, Constants]
    ) -> None:
        self.static_config = static_config
        self.features = features
        # The arrays of `device` and `init_only` are arguments of the functions. If they stayed here, they would be
        # compiled in.
        self._constants = {name: constant._replace(device={}, init_only={}) for name, constant in constants.items()}
        self.init = jax.jit(self._init)
        self.train = jax.jit(self._train, donate_argnums=1)
        self.evaluate = jax.jit(self._evaluate)
        self.target_layer = features.target.layer(self._constants["target"].static)
        self.memory_needs: dict[Any, MemoryNeed | None] = {}

    def build_parts(self, program_inputs: ProgramInputs) -> BuiltParts:
        """Builds the parts with their numbers."""
        return build_parts(self.static_config, self.features, self._constants, program_inputs)

    def build_plateau(self, program_inputs: ProgramInputs) -> Plateau | None:
        """Builds the plateau of the schedule; None: the schedule has none."""
        with error_location("schedule"):
            return self._build_schedule(program_inputs).plateau

    def _init(self, program_inputs: ProgramInputs, data: Any, rows: jax.Array) -> TrainState:
        """The state before the first step. Of the examples `rows` (B,) only the shapes matter."""
        keys = jax.random.split(_random_key(program_inputs, "init", 0), 2)
        encoded = _without_target(_take_rows(data, rows))
        model = self.build_parts(program_inputs).model
        with error_location("architecture"):
            _check_sizes(self.static_config["architecture"])
            streams = {"params": keys[0], "dropout": keys[1]}
            variables = model.init(streams, encoded, program_inputs.constants, train=True)
            _check_shapes(variables)
        model_state = dict(variables)
        parameters = model_state.pop("params", {})
        # The initial optimizer state doesn't depend on the rate.
        rate_inputs = RateInputs(jnp.int32(1), jnp.int32(1), jnp.float32(1))
        optimizer, _ = self._build_optimizer(program_inputs, jnp.int32(0), rate_inputs)
        return TrainState(parameters, model_state, optimizer.init(parameters), jnp.int32(0), jnp.int32(-1))

    def _train(
        self,
        program_inputs: ProgramInputs,
        state: TrainState,
        data: Any,
        rows: jax.Array,
        step_count: jax.Array,
        rate_inputs: RateInputs,
    ) -> tuple[TrainState, StepSums]:
        """Takes `step_count` steps. Step i sees the examples `rows[i]`; rows is int32 (steps, B).

        Returns the new state, and the metric sums over these steps.
        """

        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, StepSums]:
            return self._step(program_inputs, state, _take_rows(data, rows), rate_inputs)

        if rows.shape[0] == 1:
            return step(state, rows[0])
        sums_shapes = jax.eval_shape(step, state, rows[0])[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), sums_shapes)

        def body(index: jax.Array, carry: tuple[TrainState, StepSums]) -> tuple[TrainState, StepSums]:
            state, sums = carry
            state, step_sums = step(state, rows[index])
            # `last` holds the schedule's numbers and `first_bad`, which are not summed.
            return state, jax.tree.map(jnp.add, sums, step_sums) | {"last": step_sums["last"]}

        return jax.lax.fori_loop(0, step_count, body, (state, zeros))

    def _step(
        self, program_inputs: ProgramInputs, state: TrainState, encoded: Any, rate_inputs: RateInputs
    ) -> tuple[TrainState, StepSums]:
        """Takes one step on encoded examples. Returns the new state, and the metric sums."""
        parts = self.build_parts(program_inputs)

        def objective(parameters: Any) -> tuple[jax.Array, tuple[Any, StepSums]]:
            variables = {"params": parameters, **state.model_state}
            batch, output, model_state = self.forward(parts, program_inputs, variables, encoded, step=state.step)
            sums = compute_sums(parts, output, batch, training=True)
            size = batch.target.shape[0]  # the count of the sums, because training masks no example
            value = sums["loss"]["sum"] / size
            terms = extra_losses(parts, parameters, output, batch)
            if terms:
                value = sum(terms, value)
                sums["objective"] = {"sum": value * size, "count": sums["loss"]["count"]}
            return value, (model_state, sums)

        (value, (model_state, sums)), gradients = jax.value_and_grad(objective, has_aux=True)(state.parameters)
        optimizer, scheduled = self._build_optimizer(program_inputs, state.step, rate_inputs)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.parameters)
        parameters = constrain(parts, optax.apply_updates(state.parameters, updates))
        is_first_bad = (state.first_bad < 0) & ~jnp.isfinite(value)
        first_bad = jnp.where(is_first_bad, state.step, state.first_bad)
        numbers = {name: jnp.asarray(number, jnp.float32) for name, number in scheduled.items()}
        sums["last"] = {**numbers, "first_bad": first_bad}
        return TrainState(parameters, model_state, optimizer_state, state.step + 1, first_bad), sums

    def _evaluate(
        self,
        program_inputs: ProgramInputs,
        parameters: Any,
        model_state: Any,
        data: Any,
        rows: jax.Array,
        mask: jax.Array,
    ) -> tuple[StepSums, ExampleOutputs]:
        """The metric sums over the examples `rows` (B,) with a true `mask` (B,), and the outputs for all of them."""
        parts = self.build_parts(program_inputs)
        variables = {"params": parameters, **model_state}
        batch, output, _ = self.forward(parts, program_inputs, variables, _take_rows(data, rows), step=None)
        sums = compute_sums(parts, output, batch._replace(mask=mask), training=False)
        return sums, example_outputs(parts, output, batch)

    def forward(
        self, parts: BuiltParts, program_inputs: ProgramInputs, variables: Any, encoded: Any, *, step: jax.Array | None
    ) -> tuple[Batch, Output, Any]:
        """The batch, the model's output for it, and the model's new state.

        Args:
            parts: the parts of the experiment.
            program_inputs: numbers and constants.
            variables: the Flax variables of the model.
            encoded: the encoded columns of the examples, with the target.
            step: the training step. None: inference.
        """
        target = self.target_layer(encoded["target"], program_inputs.constants["target"])
        arguments: dict[str, Any] = {"train": False, "mutable": []}
        if step is not None:
            arguments = {
                "train": True,
                "augment": partial(augment, parts, _random_key(program_inputs, "augment", step))
                if parts.augmentations
                else None,
                "mutable": [name for name in variables if name != "params"],
                "rngs": {"dropout": _random_key(program_inputs, "train", step)},
            }
        with error_location("architecture"):
            # The model applies the augmentation, which may change inputs and target.
            (inputs, target, output), model_state = parts.model.apply(
                variables, _without_target(encoded), program_inputs.constants, target, **arguments
            )
        return make_batch(parts, inputs, target), output, model_state

    def _build_schedule(self, program_inputs: ProgramInputs) -> Schedule:
        schedule: Schedule = build(self.static_config["schedule"], program_inputs.numbers, SCHEMA["schedule"])
        return schedule

    def _build_optimizer(
        self, program_inputs: ProgramInputs, step: jax.Array, rate_inputs: RateInputs
    ) -> tuple[optax.GradientTransformation, Mapping[str, jax.Array]]:
        """Builds the optimizer with the schedule's numbers at a step. Returns it and these numbers."""
        with error_location("schedule"):
            clock = Clock(step, rate_inputs.total_steps, rate_inputs.steps_per_epoch)
            scheduled = self._build_schedule(program_inputs).at(clock)
            check_rates(scheduled, str(self.static_config["schedule"]["_target_"]))
        scheduled = {**scheduled, "learning_rate": scheduled["learning_rate"] * rate_inputs.scale}
        with error_location("optimizer"):
            static_config = self.static_config["optimizer"]
            return build(static_config, program_inputs.numbers, SCHEMA["optimizer"], **scheduled), scheduled


def steps_per_dispatch(state: TrainState, *, ragged: bool) -> int:
    """The number of steps that one dispatch takes.

    It is one for convolutions on the CPU, which are 20 times slower inside a compiled loop. It is small for ragged
    data, because all rows of a dispatch are padded to its longest row.

    Args:
        state: the training state, or its shapes.
        ragged: whether a column has rows of different lengths.
    """
    leaves = jax.tree.leaves(state.parameters)
    if jax.default_backend() == "cpu" and any(leaf.ndim > 2 for leaf in leaves):
        return 1
    steps = STEPS_OF_RAGGED_DATA if ragged else STEPS_PER_DISPATCH
    return steps if sum(leaf.size for leaf in leaves) < LARGE_MODEL else min(steps, STEPS_OF_LARGE_MODEL)


def numbers_to_arrays(numbers: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """The numbers and the seed as arrays. All numbers are float32, so that 1 and 1.0 share one compiled program."""
    arrays = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    return arrays | {"seed": np.asarray(seed, np.uint32)}


def _check_sizes(node: Any) -> None:
    """Raises UserError for a size that JAX can't count. JAX's own error names neither the number nor its key."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(node):
        if isinstance(leaf, int) and abs(leaf) >= 2**63:
            key = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(f"{key}: {format_value(leaf)} is too large. Sizes are smaller than 2^63.")


def _check_shapes(variables: Any) -> None:
    """Raises UserError for an array with more elements than any machine holds. `memory` checks smaller ones."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if math.prod(leaf.shape) > MAX_ELEMENTS:
            name = "/".join(str(key.key) for key in path[1:])
            raise UserError(
                f"`{name}` would have the shape {leaf.shape}, too large for any machine. Choose smaller sizes."
            )


def _random_key(program_inputs: ProgramInputs, stream: str, step: jax.Array | int) -> jax.Array:
    seed_key = jax.random.key(program_inputs.numbers["seed"])
    return jax.random.fold_in(jax.random.fold_in(seed_key, STREAMS[stream]), step)


def _take_rows(data: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0, mode="clip"), data)


def _without_target(encoded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arrays for name, arrays in encoded.items() if name != "target"}
