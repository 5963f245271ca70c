"""The compiled part of a run: pure functions of (inputs, state, data), built from what is static.

Two runs that differ only in their numbers share one program, and the second compiles nothing.
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

from components.types import Batch, Constants, Output, Plateau, Schedule, UserError
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
    example_outputs,
    extra_losses,
    make_batch,
    measure,
)
from runner.program.returns import check_rates
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import format_value

STREAMS = {"init": 0, "train": 1, "augment": 2}  # each use of randomness has its own stream of keys
STEPS_PER_DISPATCH = 64  # of a small model. Where a step is long, its dispatch costs little.
LARGE_MODEL = 1_000_000  # parameters
STEPS_OF_LARGE_MODEL = 8
STEPS_OF_RAGGED_DATA = 4
MAX_ELEMENTS = 2**48  # of one array: a petabyte of float32


class TrainState(NamedTuple):
    """What training changes, on the device.

    Attributes:
        parameters: the model's parameters.
        model_state: the other Flax collections of the model by name, such as running moments.
        optimizer_state: the state of the Optax optimizer.
        step: steps taken, int32 ().
        first_bad: the first step whose objective was not finite, or -1, int32 ().
    """

    parameters: Any
    model_state: Any
    optimizer_state: Any
    step: jax.Array
    first_bad: jax.Array


class RateInputs(NamedTuple):
    """What the learning rate depends on, other than the step.

    Attributes:
        total: steps of the whole run, int32 ().
        scale: the plateau's factor of the rate, float32 ().
    """

    total: Any
    scale: Any


class Program:
    """The compiled functions of an experiment. Their `data` are encoded columns by name, with rows first.

    Attributes:
        init: (inputs, data, rows) -> the state before the first step.
        train: (inputs, state, data, rows, count, rate inputs) -> the state after `count` steps, and metric sums.
        evaluate: (inputs, parameters, model state, data, rows, mask) -> metric sums, and the outputs for each example.
        compiled: the memory that each compiled function needs, by the shapes of its arguments.
    """

    def __init__(self, static: Mapping[str, Any], features: Features, constants: Mapping[str, Constants]) -> None:
        self.static = static
        self.features = features
        self._constants = {name: constant._replace(device={}, init_only={}) for name, constant in constants.items()}
        self.init = jax.jit(self._init)
        self.train = jax.jit(self._train, donate_argnums=1)
        self.evaluate = jax.jit(self._evaluate)
        self.target_layer = features.target.layer(self._constants["target"].static)
        self.compiled: dict[Any, MemoryNeed | None] = {}

    def parts(self, given: ProgramInputs) -> BuiltParts:
        """Builds the parts with their numbers, from plain values."""
        return build_parts(self.static, self.features, self._constants, given)

    def plateau(self, given: ProgramInputs) -> Plateau | None:
        """The plateau of the schedule, if it has one."""
        with error_location("schedule"):
            return self._schedule(given).plateau

    def _init(self, given: ProgramInputs, data: Any, rows: jax.Array) -> TrainState:
        """The state before the first step. Only the shapes of the examples `rows` (B,) matter."""
        keys = jax.random.split(_key(given, "init", 0), 2)
        encoded = _inputs(_gather(data, rows))
        model = self.parts(given).model
        with error_location("architecture"):
            _check_sizes(self.static["architecture"])
            variables = model.init({"params": keys[0], "dropout": keys[1]}, encoded, given.constants, train=True)
            _check_shapes(variables)
        model_state = dict(variables)
        parameters = model_state.pop("params", {})
        optimizer = self._optimizer(given, jnp.int32(0), RateInputs(jnp.int32(1), jnp.float32(1)))[0]
        return TrainState(parameters, model_state, optimizer.init(parameters), jnp.int32(0), jnp.int32(-1))

    def _train(
        self, given: ProgramInputs, state: TrainState, data: Any, rows: jax.Array, count: jax.Array, pace: RateInputs
    ) -> tuple[TrainState, StepSums]:
        """Takes `count` steps. Step i sees the examples `rows[i]`; rows is int32 (steps, B).

        Returns the new state, and the metric sums over these steps.
        """

        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, StepSums]:
            return self._step(given, state, _gather(data, rows), pace)

        if rows.shape[0] == 1:
            return step(state, rows[0])
        report = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(step, state, rows[0])[1])

        def body(index: jax.Array, carry: tuple[TrainState, StepSums]) -> tuple[TrainState, StepSums]:
            state, added = step(carry[0], rows[index])
            return state, jax.tree.map(jnp.add, carry[1], added) | {"last": added["last"]}

        return jax.lax.fori_loop(0, count, body, (state, report))

    def _step(
        self, given: ProgramInputs, state: TrainState, encoded: Any, pace: RateInputs
    ) -> tuple[TrainState, StepSums]:
        parts = self.parts(given)

        def objective(parameters: Any) -> tuple[jax.Array, tuple[Any, StepSums]]:
            variables = {"params": parameters, **state.model_state}
            batch, output, model_state = self.forward(parts, given, variables, encoded, step=state.step)
            report = measure(parts, output, batch, training=True)
            size = batch.target.shape[0]
            value = report["loss"]["sum"] / size
            if more := extra_losses(parts, parameters, output, batch):
                value = sum(more, value)
                report["objective"] = {"sum": value * size, "count": report["loss"]["count"]}
            return value, (model_state, report)

        (value, (model_state, report)), gradients = jax.value_and_grad(objective, has_aux=True)(state.parameters)
        optimizer, rate = self._optimizer(given, state.step, pace)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        bad = (state.first_bad < 0) & ~jnp.isfinite(value)
        first_bad = jnp.where(bad, state.step, state.first_bad)
        report["last"] = {"learning_rate": rate, "first_bad": first_bad}
        return TrainState(parameters, model_state, optimizer_state, state.step + 1, first_bad), report

    def _evaluate(
        self, given: ProgramInputs, parameters: Any, model_state: Any, data: Any, rows: jax.Array, mask: jax.Array
    ) -> tuple[StepSums, ExampleOutputs]:
        """The metric sums over the unmasked examples `rows` (B,), and the outputs for each example."""
        parts = self.parts(given)
        variables = {"params": parameters, **model_state}
        batch, output, _ = self.forward(parts, given, variables, _gather(data, rows), step=None)
        return measure(parts, output, batch._replace(mask=mask), training=False), example_outputs(parts, output, batch)

    def forward(
        self, parts: BuiltParts, given: ProgramInputs, variables: Any, encoded: Any, *, step: jax.Array | None
    ) -> tuple[Batch, Output, Any]:
        """The batch, the model's output for it, and the model's new state.

        Args:
            step: the training step. None: inference.
        """
        target = self.target_layer(encoded["target"], given.constants["target"])
        training: dict[str, Any] = {"train": False, "mutable": []}
        if step is not None:
            change = partial(augment, parts, _key(given, "augment", step)) if parts.augmentations else None
            mutable = [name for name in variables if name != "params"]
            streams = {"dropout": _key(given, "train", step)}
            training = {"train": True, "augment": change, "mutable": mutable, "rngs": streams}
        with error_location("architecture"):
            (inputs, target, output), model_state = parts.model.apply(
                variables, _inputs(encoded), given.constants, target, **training
            )
        return make_batch(parts, inputs, target), output, model_state

    def _schedule(self, given: ProgramInputs) -> Schedule:
        schedule: Schedule = build(self.static["schedule"], given.numbers, SCHEMA["schedule"])
        return schedule

    def _optimizer(
        self, given: ProgramInputs, step: jax.Array, pace: RateInputs
    ) -> tuple[optax.GradientTransformation, jax.Array]:
        """The optimizer with the schedule's numbers at a step, and the learning rate."""
        with error_location("schedule"):
            numbers = self._schedule(given).values(step, pace.total)
            check_rates(numbers, str(self.static["schedule"]["_target_"]))
        rate = numbers["learning_rate"] * pace.scale
        numbers = {**numbers, "learning_rate": rate}
        with error_location("optimizer"):
            return build(self.static["optimizer"], given.numbers, SCHEMA["optimizer"], **numbers), rate


def steps_per_dispatch(state: TrainState, *, ragged: bool) -> int:
    """The number of steps that one dispatch takes.

    Many, but one for convolutions on the CPU: inside a compiled loop they are 20 times slower. Few for ragged data,
    because a dispatch is padded to its longest row.
    """
    leaves = jax.tree.leaves(state.parameters)
    if jax.default_backend() == "cpu" and any(leaf.ndim > 2 for leaf in leaves):
        return 1
    most = STEPS_OF_RAGGED_DATA if ragged else STEPS_PER_DISPATCH
    return most if sum(leaf.size for leaf in leaves) < LARGE_MODEL else min(most, STEPS_OF_LARGE_MODEL)


def as_arrays(numbers: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """The numbers as arrays. Their dtype is strong float32, so that 1 and 1.0 share one compiled program."""
    arrays = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    return arrays | {"seed": np.asarray(seed, np.uint32)}


def _check_sizes(node: Any) -> None:
    """Raises UserError for a whole number that is no possible size. JAX's own errors name neither it nor its key."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(node):
        if isinstance(leaf, int) and abs(leaf) >= 2**63:
            key = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(f"{key}: {format_value(leaf)} is too large; sizes are smaller than 2^63")


def _check_shapes(variables: Any) -> None:
    """Raises UserError for an array with more elements than any machine holds. `memory` checks smaller ones."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if math.prod(leaf.shape) > MAX_ELEMENTS:
            name = "/".join(str(key.key) for key in path[1:])
            raise UserError(f"`{name}` would have the shape {leaf.shape}, more numbers than any machine holds")


def _key(given: ProgramInputs, stream: str, step: jax.Array | int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(given.numbers["seed"]), STREAMS[stream]), step)


def _gather(data: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0, mode="clip"), data)


def _inputs(encoded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arrays for name, arrays in encoded.items() if name != "target"}
