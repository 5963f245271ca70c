"""The compiled half of a run: pure functions of (numbers, constants, state, data), built from what is static.

Two settings that differ only in their numbers share one program and compile nothing anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from components.types import Batch, BoundTarget, Constants, Loss, Metric, Output, Plateau
from runner.build import build
from runner.data import Features
from runner.model import Model, wire

STREAMS = {"init": 0, "train": 1}  # every use of randomness draws from a stream of its own
STEPS_A_DISPATCH = 64

Numbers = Mapping[str, Any]
Report = dict[str, dict[str, jax.Array]]


class State(NamedTuple):
    """What training changes."""

    parameters: Any
    model_state: Any  # running moments and the like, by Flax collection
    optimizer_state: Any
    step: jax.Array  # (), int32: steps taken
    first_bad: jax.Array  # (), int32: the first step whose objective was not finite, or -1


class Parts(NamedTuple):
    """The parts with their numbers; made anew inside every trace."""

    model: Model
    target: BoundTarget
    loss: Loss
    metrics: Mapping[str, Metric]
    penalties: tuple[Any, ...]


class Program:
    """What is static of an experiment, as compiled functions."""

    def __init__(self, static: Mapping[str, Any], features: Features, constants: Mapping[str, Constants]) -> None:
        self.static = static
        self.features = features
        self.host = {name: constant._replace(device={}) for name, constant in constants.items()}
        self.init = jax.jit(self._init)
        self.train = jax.jit(self._train, donate_argnums=2)
        self.evaluate = jax.jit(self._evaluate)

    def parts(self, numbers: Numbers, constants: Mapping[str, Any]) -> Parts:
        """Everything that has numbers, built from plain values."""
        target = self.features.target.bind(self.host["target"]._replace(device=constants["target"]))
        loss = build(self.static["loss"], numbers)
        architecture = build(self.static["architecture"], numbers, outputs=loss.outputs(target))
        used = {column for columns in self.features.inputs.values() for column in columns}
        model = Model(
            columns={name: column.layer() for name, column in self.features.columns.items() if name in used},
            inputs=wire(self.features.inputs, architecture),
            architecture=architecture,
        )
        metrics = {name: metric.bind(target) for name, metric in build(self.static["metric"] or {}, numbers).items()}
        return Parts(model, target, loss, metrics, tuple(build(self.static["regularizer"] or {}, numbers).values()))

    def plateau(self, numbers: Numbers) -> Plateau | None:
        """The controller of the rate, if the schedule has one."""
        return build(self.static["schedule"], numbers).plateau

    def _init(self, numbers: Numbers, constants: Mapping[str, Any], data: Any, rows: jax.Array) -> State:
        model = self.parts(numbers, constants).model
        keys = jax.random.split(_key(numbers, "init", 0), 2)
        encoded = _inputs(_gather(data, rows))
        variables = dict(model.init({"params": keys[0], "dropout": keys[1]}, encoded, constants, train=True))
        parameters = variables.pop("params", {})
        optimizer = self._optimizer(numbers, jnp.int32(0), jnp.int32(1), jnp.float32(1))[0]
        return State(parameters, variables, optimizer.init(parameters), jnp.int32(0), jnp.int32(-1))

    def _optimizer(
        self, numbers: Numbers, step: jax.Array, total: jax.Array, scale: jax.Array
    ) -> tuple[optax.GradientTransformation, jax.Array]:
        given = dict(build(self.static["schedule"], numbers).values(step, total))
        given["learning_rate"] = given["learning_rate"] * scale
        return build(self.static["optimizer"], numbers, **given), given["learning_rate"]

    def _train(
        self,
        numbers: Numbers,
        constants: Mapping[str, Any],
        state: State,
        data: Any,
        rows: jax.Array,
        count: jax.Array,
        total: jax.Array,
        scale: jax.Array,
    ) -> tuple[State, Report]:
        """Takes `count` steps: step i on the examples `rows[i]` of `data`; rows (steps, B), int32.

        Gives the new state and the sums of the report over those steps; `total` is the steps of the whole run, `scale`
        what the controller makes of the rate.
        """

        def step(state: State, rows: jax.Array) -> tuple[State, Report]:
            return self._step(numbers, constants, state, _gather(data, rows), total, scale)

        if rows.shape[0] == 1:
            return step(state, rows[0])
        report = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(step, state, rows[0])[1])

        def body(index: jax.Array, carry: tuple[State, Report]) -> tuple[State, Report]:
            state, added = step(carry[0], rows[index])
            return state, jax.tree.map(jnp.add, carry[1], added) | {"last": added["last"]}

        return jax.lax.fori_loop(0, count, body, (state, report))

    def _step(
        self,
        numbers: Numbers,
        constants: Mapping[str, Any],
        state: State,
        encoded: Any,
        total: jax.Array,
        scale: jax.Array,
    ) -> tuple[State, Report]:
        parts = self.parts(numbers, constants)
        key = _key(numbers, "train", state.step)

        def objective(parameters: Any) -> tuple[jax.Array, tuple[Any, Report]]:
            (inputs, output), model_state = parts.model.apply(
                {"params": parameters, **state.model_state},
                _inputs(encoded),
                constants,
                train=True,
                rngs={"dropout": key},
                mutable=list(state.model_state),
            )
            batch = _batch(parts.target, inputs, encoded, constants, self.features)
            report = _measure(parts, output, batch, training=True)
            size = batch.target.shape[0]
            value = report["loss"]["sum"] / size
            if extras := _extras(parts, parameters, output, batch):
                value = sum(extras, value)
                report["objective"] = {"sum": value * size, "count": report["loss"]["count"]}
            return value, (model_state, report)

        (value, (model_state, report)), gradients = jax.value_and_grad(objective, has_aux=True)(state.parameters)
        optimizer, rate = self._optimizer(numbers, state.step, total, scale)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.parameters)
        bad = (state.first_bad < 0) & ~jnp.isfinite(value)
        first_bad = jnp.where(bad, state.step, state.first_bad)
        report["last"] = {"learning_rate": rate, "first_bad": first_bad}
        parameters = optax.apply_updates(state.parameters, updates)
        return State(parameters, model_state, optimizer_state, state.step + 1, first_bad), report

    def _evaluate(
        self,
        numbers: Numbers,
        constants: Mapping[str, Any],
        parameters: Any,
        model_state: Any,
        data: Any,
        rows: jax.Array,
        mask: jax.Array,
    ) -> Report:
        """The sums of the report over the unmasked examples `rows` (B,) of `data`."""
        parts = self.parts(numbers, constants)
        encoded = _gather(data, rows)
        applied: Any = parts.model.apply(
            {"params": parameters, **model_state}, _inputs(encoded), constants, train=False
        )
        inputs, output = applied
        batch = _batch(parts.target, inputs, encoded, constants, self.features)
        return _measure(parts, output, batch._replace(mask=mask), training=False)


def steps_a_dispatch(state: Any) -> int:
    """How many steps one dispatch takes: many, but one where convolutions run on the CPU (they crawl inside a loop)."""
    convolves = any(leaf.ndim > 2 for leaf in jax.tree.leaves(state.parameters))
    return 1 if convolves and jax.default_backend() == "cpu" else STEPS_A_DISPATCH


def as_arrays(numbers: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """The numbers as the program takes them: strong float32, so that a change of spelling compiles nothing."""
    return {name: np.asarray(value, np.float32) for name, value in numbers.items()} | {
        "seed": np.asarray(seed, np.uint32)
    }


def _key(numbers: Numbers, stream: str, step: jax.Array | int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(numbers["seed"]), STREAMS[stream]), step)


def _gather(data: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0, mode="clip"), data)


def _inputs(encoded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arrays for name, arrays in encoded.items() if name != "target"}


def _batch(
    target: BoundTarget,
    inputs: Mapping[str, Any],
    encoded: Mapping[str, Any],
    constants: Mapping[str, Any],
    features: Features,
) -> Batch:
    truth = features.target.layer()(encoded["target"], constants["target"])
    everyone = jnp.ones(truth.shape[0], bool)
    weight = jnp.ones(truth.shape[0], jnp.float32) if target.weight is None else target.weight(truth)
    return Batch(inputs, truth, everyone, weight)


def _measure(parts: Parts, output: Output, batch: Batch, *, training: bool) -> Report:
    report: Report = {"loss": {"sum": jnp.float32(0), "count": batch.mask.sum(dtype=jnp.int32)}}
    if output.logits is not None:
        report["loss"]["sum"] = _weighted(parts.loss(output.logits, batch.target), batch)
    return report | {
        name: dict(metric.measure(output, batch))
        for name, metric in parts.metrics.items()
        if not (training and metric.collects)
    }


def _extras(parts: Parts, parameters: Any, output: Output, batch: Batch) -> list[jax.Array]:
    """What the objective holds beside the mean loss: auxiliary and internal losses, and the penalties."""
    size = batch.target.shape[0]
    auxiliary = [w * _weighted(parts.loss(logits, batch.target), batch) / size for w, logits in output.auxiliary]
    internal = [_weighted(losses, batch) / size for losses in output.losses.values()]
    return [*auxiliary, *internal, *(penalty(parameters) for penalty in parts.penalties)]


def _weighted(losses: jax.Array, batch: Batch) -> jax.Array:
    return jnp.sum(jnp.where(batch.mask, losses * batch.weight, jnp.float32(0)))
