"""The parts of an experiment, built from plain values inside a trace, and the sums that they compute for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Augmentation, Batch, BoundTarget, Constants, Loss, Metric, Output, Regularizer, UserError
from runner.data.load import Features
from runner.errors import error_location
from runner.program.model import Model, match_inputs, sparse_inputs
from runner.program.returns import check_augmented, check_numbers, check_sums
from runner.signature.build import build, check_kind
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import element_hint

StepSums = dict[str, dict[str, jax.Array]]


class ProgramInputs(NamedTuple):
    """The inputs of the program that training doesn't change.

    Attributes:
        numbers: scalars by their keys in the configuration, float32; and `seed`, uint32.
        constants: arrays on the device that each column and the target learned, by name.
    """

    numbers: Mapping[str, Any]
    constants: Mapping[str, Any]


class ExampleOutputs(NamedTuple):
    """The model's outputs for each example.

    Attributes:
        logits: float32 (B, outputs). For a real-valued target they are in its own unit.
        losses: float32 (B,).
    """

    logits: Any
    losses: Any


class BuiltParts(NamedTuple):
    """The parts of an experiment, with their numbers."""

    model: Model
    target: BoundTarget
    loss: Loss
    metrics: Mapping[str, Metric]
    penalties: Mapping[str, Regularizer]
    augmentations: Mapping[str, Augmentation]


def build_parts(
    static: Mapping[str, Any], features: Features, learned: Mapping[str, Constants], given: ProgramInputs
) -> BuiltParts:
    """Builds the parts that the static tree describes.

    Args:
        static: the configuration, with `ScalarSlot`s in place of numbers.
        features: the target and the columns.
        learned: the constants of the target and the columns, without arrays on the device.
        given: numbers and arrays.

    Raises PlacedError if parts don't fit together.
    """
    numbers = given.numbers
    target = features.target.bind(learned["target"]._replace(device=given.constants["target"]))
    with error_location("loss"):
        loss = build(static["loss"], numbers, SCHEMA["loss"])
        outputs = loss.outputs(target)
        if not isinstance(outputs, int | np.integer):
            raise UserError(f"{_name(loss)}.outputs returns {outputs!r}; it must return a whole number")
    with error_location("architecture"):
        architecture = build(static["architecture"], numbers, SCHEMA["architecture"], outputs=outputs)
        inputs = match_inputs(features.inputs, architecture)
    used = {column for columns in features.inputs.values() for column in columns}
    columns = {name: column.layer(learned[name].static) for name, column in features.columns.items() if name in used}
    metrics = {}
    for name, node in static["metric"].items():
        with error_location(f"metric.{name}"):
            metrics[name] = build(node, numbers, element_hint(SCHEMA["metric"], name)).bind(target)
            check_kind(metrics[name], f"{node['_target_']}.bind", ["metric"])
    penalties = _build_group("regularizer", static, numbers)
    augmentations = _build_group("augmentation", static, numbers)
    model = Model(columns, inputs, sparse_inputs(architecture), architecture)
    return BuiltParts(model, target, loss, metrics, penalties, augmentations)


def _build_group(group: str, static: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the parts of a group of which several may be chosen."""
    parts = {}
    for name, node in static[group].items():
        with error_location(f"{group}.{name}"):
            parts[name] = build(node, numbers, element_hint(SCHEMA[group], name))
    return parts


def augment(parts: BuiltParts, key: jax.Array, inputs: Mapping[str, Any], target: jax.Array) -> tuple[Any, jax.Array]:
    """Applies the augmentations to inputs and target, one after another."""
    for number, (name, augmentation) in enumerate(parts.augmentations.items()):
        with error_location(f"augmentation.{name}"):
            changed = augmentation(jax.random.fold_in(key, number), inputs, target)
            check_augmented(changed, inputs, target, _name(augmentation))
            inputs, target = changed
    return inputs, target


def make_batch(parts: BuiltParts, inputs: Mapping[str, Any], target: jax.Array) -> Batch:
    """The batch that losses and metrics see. No example is masked."""
    mask = jnp.ones(target.shape[0], bool)
    weight = jnp.ones(target.shape[0], jnp.float32) if parts.target.weight is None else parts.target.weight(target)
    return Batch(inputs, target, mask, weight)


def measure(parts: BuiltParts, output: Output, batch: Batch, *, training: bool) -> StepSums:
    """The sums of the loss and of each metric over the unmasked examples. Training leaves out metrics that collect."""
    report: StepSums = {"loss": {"sum": jnp.float32(0), "count": batch.mask.sum(dtype=jnp.int32)}}
    if output.logits is not None:
        report["loss"]["sum"] = _weighted(_losses(parts, output.logits, batch), batch)
    for name, metric in parts.metrics.items():
        if not (training and metric.collects):
            with error_location(f"metric.{name}"):
                sums = metric.measure(output, batch)
                check_sums(sums, _name(metric), len(batch.mask) if metric.collects else None)
            report[name] = dict(sums)
    return report


def example_outputs(parts: BuiltParts, output: Output, batch: Batch) -> ExampleOutputs:
    """The outputs for each example, masked or not."""
    if output.logits is None:
        return ExampleOutputs(jnp.zeros((batch.target.shape[0], 0)), jnp.zeros(batch.target.shape[0]))
    return ExampleOutputs(parts.target.decode(output.logits), _losses(parts, output.logits, batch))


def decode_targets(target: BoundTarget, values: Any) -> np.ndarray:
    """Targets as the user knows them: classes, int32 (N,), or numbers in their own unit, (N, outputs).

    Args:
        values: the targets as losses see them.
    """
    if target.classes is not None:
        return np.asarray(values)
    numbers = np.asarray(target.decode(jnp.asarray(values)))
    return numbers.reshape(len(numbers), -1)


def extra_losses(parts: BuiltParts, parameters: Any, output: Output, batch: Batch) -> list[jax.Array]:
    """The terms of the objective other than the mean loss: auxiliary losses, internal losses, penalties."""
    size = batch.target.shape[0]
    auxiliary = [w * _weighted(_losses(parts, logits, batch), batch) / size for w, logits in output.auxiliary]
    internal = [_weighted(losses, batch) / size for losses in output.losses.values()]
    return [*auxiliary, *internal, *(_penalty(*named, parameters) for named in parts.penalties.items())]


def _losses(parts: BuiltParts, logits: jax.Array, batch: Batch) -> jax.Array:
    """(B,)"""
    with error_location("loss"):
        losses = parts.loss(logits, batch.target)
        check_numbers(losses, batch.mask.shape, _name(parts.loss), "a number for each example")
    return losses


def _penalty(name: str, regularizer: Regularizer, parameters: Any) -> jax.Array:
    with error_location(f"regularizer.{name}"):
        penalty = regularizer(parameters)
        check_numbers(penalty, (), _name(regularizer), "one number")
    return penalty


def _name(part: object) -> str:
    return getattr(part, "__name__", type(part).__name__)


def _weighted(losses: jax.Array, batch: Batch) -> jax.Array:
    return jnp.sum(jnp.where(batch.mask, losses * batch.weight, jnp.float32(0)))
