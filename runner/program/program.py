"""The compiled half of a run: pure functions of (given, state, data), built from what is static.

Two settings that differ only in their numbers share one program and compile nothing anew.
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
from runner.memory import Need
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

STREAMS = {"init": 0, "train": 1, "augment": 2}  # every use of randomness draws from a stream of its own
STEPS_A_DISPATCH = 64  # of a small model: where steps are long, dispatching them costs little
LARGE, STEPS_OF_A_LARGE_ONE = 1_000_000, 8  # parameters
STEPS_OF_RAGGED_DATA = 4
MOST_ELEMENTS = 2**48  # of one array, a petabyte of float32


class TrainState(NamedTuple):
    """What training changes."""

    parameters: Any
    model_state: Any  # running moments and the like, by Flax collection
    optimizer_state: Any
    step: jax.Array  # (), int32: steps taken
    first_bad: jax.Array  # (), int32: the first step whose objective was not finite, or -1


class RateInputs(NamedTuple):
    """What the rate depends on beside the step."""

    total: Any  # (), int32: steps of the whole run
    scale: Any  # (), float32: what the plateau's controller makes of the rate


class Program:
    """What is static of an experiment, as compiled functions; `data` are encoded columns by name, rows first."""

    def __init__(self, static: Mapping[str, Any], features: Features, constants: Mapping[str, Constants]) -> None:
        self.static = static
        self.features = features
        self._learned = {name: constant._replace(device={}, initial={}) for name, constant in constants.items()}
        self.init = jax.jit(self._init)
        self.train = jax.jit(self._train, donate_argnums=1)
        self.evaluate = jax.jit(self._evaluate)
        self.target_layer = features.target.layer(self._learned["target"].static)
        self.compiled: dict[Any, Need | None] = {}  # by shapes, what programs that are compiled need of memory

    def parts(self, given: ProgramInputs) -> BuiltParts:
        """Everything that has numbers, built from plain values."""
        return build_parts(self.static, self.features, self._learned, given)

    def plateau(self, given: ProgramInputs) -> Plateau | None:
        """The controller of the rate, if the schedule has one."""
        with error_location("schedule"):
            return self._schedule(given).plateau

    def _init(self, given: ProgramInputs, data: Any, rows: jax.Array) -> TrainState:
        """The state before the first step; of the examples `rows` (B,) only the shapes matter."""
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
        """Takes `count` steps, step i on the examples `rows[i]`; rows (steps, B), int32.

        Gives the new state and the sums of the report over those steps.
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
        """The sums of the report over the unmasked examples `rows` (B,), and what the model says of each."""
        parts = self.parts(given)
        variables = {"params": parameters, **model_state}
        batch, output, _ = self.forward(parts, given, variables, _gather(data, rows), step=None)
        return measure(parts, output, batch._replace(mask=mask), training=False), example_outputs(parts, output, batch)

    def forward(
        self, parts: BuiltParts, given: ProgramInputs, variables: Any, encoded: Any, *, step: jax.Array | None
    ) -> tuple[Batch, Output, Any]:
        """The batch, what the model makes of it, and its new state; `step` is that of training, None: inference."""
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
        """The optimizer with the schedule's numbers of a step, and the rate among them."""
        with error_location("schedule"):
            numbers = self._schedule(given).values(step, pace.total)
            check_rates(numbers, str(self.static["schedule"]["_target_"]))
        rate = numbers["learning_rate"] * pace.scale
        numbers = {**numbers, "learning_rate": rate}
        with error_location("optimizer"):
            return build(self.static["optimizer"], given.numbers, SCHEMA["optimizer"], **numbers), rate


def steps_per_dispatch(state: TrainState, *, ragged: bool) -> int:
    """How many steps one dispatch takes: many, but one where convolutions run on the CPU (they crawl inside a loop).

    Of `ragged` data few, because all of a dispatch is padded to its longest row.
    """
    leaves = jax.tree.leaves(state.parameters)
    if jax.default_backend() == "cpu" and any(leaf.ndim > 2 for leaf in leaves):
        return 1
    most = STEPS_OF_RAGGED_DATA if ragged else STEPS_A_DISPATCH
    return most if sum(leaf.size for leaf in leaves) < LARGE else min(most, STEPS_OF_A_LARGE_ONE)


def as_arrays(numbers: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """The numbers as the program takes them: strong float32, so that a change of spelling compiles nothing."""
    arrays = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    return arrays | {"seed": np.asarray(seed, np.uint32)}


def _check_sizes(node: Any) -> None:
    """Raises UserError for a whole number that no shape can hold: JAX's own errors name neither it nor its key."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(node):
        if isinstance(leaf, int) and abs(leaf) >= 2**63:
            key = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(f"{key}: {format_value(leaf)} is too large; sizes are smaller than 2^63")


def _check_shapes(variables: Any) -> None:
    """Raises UserError for an array with more elements than can be counted; that of memory is told with the rest."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if math.prod(leaf.shape) > MOST_ELEMENTS:
            name = "/".join(str(key.key) for key in path[1:])
            raise UserError(f"`{name}` would have the shape {leaf.shape}, more numbers than any machine holds")


def _key(given: ProgramInputs, stream: str, step: jax.Array | int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(given.numbers["seed"]), STREAMS[stream]), step)


def _gather(data: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0, mode="clip"), data)


def _inputs(encoded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arrays for name, arrays in encoded.items() if name != "target"}
