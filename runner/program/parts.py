"""Builds the parts of an experiment, and computes their losses and metrics for a batch.

All functions can be traced, except `decode_targets`: it returns an array on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from components.types import (
    Augmentation,
    Batch,
    BoundTarget,
    Constants,
    Constraint,
    Loss,
    Metric,
    Output,
    Regularizer,
    UserError,
)
from runner.data.load import Features
from runner.errors import error_location
from runner.program.model import Model, match_inputs, sparse_inputs
from runner.program.returns import check_augmented, check_measured, check_numbers, check_same_shapes
from runner.signature.build import build, check_kind
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import element_hint

StepSums = dict[str, dict[str, jax.Array]]
"""Sums by metric (or loss) and by name, on the device."""


class ProgramInputs(NamedTuple):
    """The inputs of the program that stay the same during training.

    Attributes:
        numbers: scalars by their keys in the configuration, float32; and `seed`, uint32.
        constants: the arrays `Constants.device` of the target and of each column, by column and name.
    """

    numbers: Mapping[str, Any]
    constants: Mapping[str, Any]


class ExampleOutputs(NamedTuple):
    """The model's outputs for each example.

    Attributes:
        logits: float32 (B, outputs). For a real-valued target these are predictions in the target's own unit.
        losses: float32 (B,).
    """

    logits: Any
    losses: Any


class BuiltParts(NamedTuple):
    """The parts of an experiment, built with the numbers of the configuration, which may be traced."""

    model: Model
    target: BoundTarget
    loss: Loss
    metrics: Mapping[str, Metric]
    regularizers: Mapping[str, Regularizer]
    constraints: Mapping[str, Constraint]
    augmentations: Mapping[str, Augmentation]


def build_parts(
    static: Mapping[str, Any],
    features: Features,
    host_constants: Mapping[str, Constants],
    program_inputs: ProgramInputs,
) -> BuiltParts:
    """Builds the parts of an experiment.

    Args:
        static: the configuration, with a `ScalarSlot` in place of each number.
        features: the target and the columns.
        host_constants: the constants of the target and the columns, with `device` empty.
        program_inputs: the numbers, and the arrays `Constants.device`.

    Raises:
        LocatedError: the parts don't fit together.
    """
    numbers = program_inputs.numbers
    # Only the target gets its `device` arrays here. The columns get their arrays when the model is applied.
    target = features.target.bind(host_constants["target"]._replace(device=program_inputs.constants["target"]))
    with error_location("loss"):
        loss = build(static["loss"], numbers, SCHEMA["loss"])
        outputs = loss.outputs(target)
        if not isinstance(outputs, int | np.integer):
            raise UserError(f"{_part_name(loss)}.outputs returns {outputs!r}. It must return a whole number.")
    with error_location("architecture"):
        architecture = build(static["architecture"], numbers, SCHEMA["architecture"], outputs=outputs)
        inputs = match_inputs(features.inputs, architecture)
    used_columns = {name for names in features.inputs.values() for name in names}
    columns = {
        name: column.layer(host_constants[name].static)
        for name, column in features.columns.items()
        if name in used_columns
    }
    metrics = {}
    for name, node in static["metric"].items():
        with error_location(f"metric.{name}"):
            metrics[name] = build(node, numbers, element_hint(SCHEMA["metric"], name)).bind(target)
            check_kind(metrics[name], f"{node['_target_']}.bind", ["metric"])
    regularizers = _build_group("regularizer", static, numbers)
    constraints = _build_group("constraint", static, numbers)
    augmentations = _build_group("augmentation", static, numbers)
    model = Model(columns, inputs, sparse_inputs(architecture), architecture)
    return BuiltParts(model, target, loss, metrics, regularizers, constraints, augmentations)


def _build_group(group: str, static: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the parts of a group that may have several."""
    parts = {}
    for name, node in static[group].items():
        with error_location(f"{group}.{name}"):
            parts[name] = build(node, numbers, element_hint(SCHEMA[group], name))
    return parts


def augment(parts: BuiltParts, key: jax.Array, inputs: Mapping[str, Any], target: jax.Array) -> tuple[Any, jax.Array]:
    """Applies the augmentations to inputs and target, one after another."""
    for number, (name, augmentation) in enumerate(parts.augmentations.items()):
        with error_location(f"augmentation.{name}"):
            augmented = augmentation(jax.random.fold_in(key, number), inputs, target)
            check_augmented(augmented, inputs, target, _part_name(augmentation))
            inputs, target = augmented
    return inputs, target


def constrain(parts: BuiltParts, parameters: Any) -> Any:
    """The parameters that meet all constraints, which are applied in the alphabetical order of their names."""
    for name, constraint in sorted(parts.constraints.items()):
        with error_location(f"constraint.{name}"):
            constrained = constraint(parameters)
            check_same_shapes(constrained, parameters, _part_name(constraint))
            parameters = constrained
    return parameters


def make_batch(parts: BuiltParts, inputs: Mapping[str, Any], target: jax.Array) -> Batch:
    """The batch that losses and metrics see. Its mask is true for all examples."""
    mask = jnp.ones(target.shape[0], bool)
    weight = jnp.ones(target.shape[0], jnp.float32) if parts.target.weight is None else parts.target.weight(target)
    return Batch(inputs, target, mask, weight)


def compute_sums(parts: BuiltParts, output: Output, batch: Batch, *, training: bool) -> StepSums:
    """The sums of the loss and of each metric over the examples whose mask is true.

    Without logits, as in a network without a head, the sum of the loss is 0. Training leaves out the metrics that
    collect rows instead of sums (`Metric.collects`): it would have to keep the rows of a whole epoch.
    """
    sums: StepSums = {"loss": {"sum": jnp.float32(0), "count": batch.mask.sum(dtype=jnp.int32)}}
    if output.logits is not None:
        sums["loss"]["sum"] = _weighted_sum(_example_losses(parts, output.logits, batch), batch)
    for name, metric in parts.metrics.items():
        if training and metric.collects:
            continue
        with error_location(f"metric.{name}"):
            metric_sums = metric.measure(output, batch)
            check_measured(metric_sums, _part_name(metric), len(batch.mask) if metric.collects else None)
        sums[name] = dict(metric_sums)
    return sums


def example_outputs(parts: BuiltParts, output: Output, batch: Batch) -> ExampleOutputs:
    """The outputs for each example, whatever its mask. Without logits, there are no outputs, and each loss is 0."""
    if output.logits is None:
        return ExampleOutputs(jnp.zeros((batch.target.shape[0], 0)), jnp.zeros(batch.target.shape[0]))
    return ExampleOutputs(parts.target.decode(output.logits), _example_losses(parts, output.logits, batch))


def decode_targets(target: BoundTarget, values: Any) -> np.ndarray:
    """Targets in the user's own terms: classes, int32 (N,), or numbers in their own unit, (N, outputs).

    Args:
        target: the target with its constants.
        values: the targets that the losses see.
    """
    if target.classes is not None:
        return np.asarray(values)
    numbers = np.asarray(target.decode(jnp.asarray(values)))
    return numbers.reshape(len(numbers), -1)


def extra_losses(parts: BuiltParts, parameters: Any, output: Output, batch: Batch) -> list[jax.Array]:
    """The terms of the objective but the mean loss: auxiliary losses, losses that the model returns, penalties."""
    size = batch.target.shape[0]
    auxiliary = [
        weight * _weighted_sum(_example_losses(parts, logits, batch), batch) / size
        for weight, logits in output.auxiliary
    ]
    model_losses = [_weighted_sum(losses, batch) / size for losses in output.losses.values()]
    penalties = [_penalty(name, regularizer, parameters) for name, regularizer in parts.regularizers.items()]
    return [*auxiliary, *model_losses, *penalties]


def _example_losses(parts: BuiltParts, logits: jax.Array, batch: Batch) -> jax.Array:
    """The loss of each example, (B,)."""
    with error_location("loss"):
        losses = parts.loss(logits, batch.target)
        check_numbers(losses, batch.mask.shape, _part_name(parts.loss), "a number for each example")
    return losses


def _penalty(name: str, regularizer: Regularizer, parameters: Any) -> jax.Array:
    with error_location(f"regularizer.{name}"):
        penalty = regularizer(parameters)
        check_numbers(penalty, (), _part_name(regularizer), "one number")
    return penalty


def _part_name(part: object) -> str:
    return getattr(part, "__name__", type(part).__name__)


def _weighted_sum(losses: jax.Array, batch: Batch) -> jax.Array:
    """The weighted sum over the examples whose mask is true."""
    return jnp.sum(jnp.where(batch.mask, losses * batch.weight, jnp.float32(0)))
