"""Builds the parts of an experiment, and computes their losses and metrics for a batch.

All functions can be traced, except `decode_targets`: it returns an array on the host.

A target has its own loss, metrics and logits. A single target is called `target`, and its metrics have their own names;
with several, metrics are called `PRICE/rmse`, by target and metric.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from components.types import (
    Batch,
    BindsTargets,
    Constants,
    Constraint,
    Metric,
    Output,
    Regularizer,
    TargetSpec,
    UserError,
)
from runner.data.encode import TARGET
from runner.data.load import Features
from runner.errors import LocatedError, error_location
from runner.program.model import Model, match_inputs, sparse_inputs
from runner.program.returns import (
    check_augmented,
    check_augmented_inputs,
    check_measured,
    check_numbers,
    check_same_shapes,
)
from runner.program.update import Members, build_members
from runner.signature.build import build, check_kind
from runner.signature.parameters import read_parameter_hints
from runner.signature.schema import LOSS, METRIC, SCHEMA
from runner.signature.type_hints import element_hint

STRICT_SHAPES = partial(jax.numpy_rank_promotion, "raise")  # (B,) and (B, 1) don't silently become (B, B)
WEIGHTED = "weighted/"  # starts the names of losses and metrics of weighted examples
RESERVED_NAMES = ("loss", "objective", "learning_rate", "epoch", "step", "last")  # of the record

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
    """The model's outputs for each example, by the name of each target that is no image.

    Attributes:
        logits: float32 (B, outputs). For a real-valued target these are predictions in the target's own unit.
        losses: float32 (B,).
    """

    logits: Mapping[str, Any]
    losses: Mapping[str, Any]


LossFunction: TypeAlias = Callable[[Output, Batch], jax.Array]


class TargetParts(NamedTuple):
    """The parts of one target.

    Attributes:
        spec: the target, as losses and metrics see it.
        head: the shape of the logits of one example, with the number of outputs last.
        loss: its loss: (output, batch), narrowed to the target -> the loss of each element.
        loss_weight: the factor of its mean loss in the objective. None: 1.
        metrics: its metrics, by their names in the configuration.
    """

    spec: TargetSpec
    head: tuple[int, ...]
    loss: LossFunction
    loss_weight: Any | None
    metrics: Mapping[str, Metric]


class BuiltParts(NamedTuple):
    """The parts of an experiment, built with the numbers of the configuration, which may be traced."""

    model: Model
    targets: Mapping[str, TargetParts]
    regularizers: Mapping[str, Regularizer]
    constraints: Mapping[str, Constraint]
    members: Members
    augmentations: Mapping[str, Callable[[jax.Array, Batch], Batch]]

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics, by the names that the record has for them."""
        return {
            record_name(target, name): metric
            for target, parts in self.targets.items()
            for name, metric in parts.metrics.items()
        }


def record_name(target: str, name: str) -> str:
    """The name of a target's metric or loss in the record: `rmse`, or `PRICE/rmse` of one of several targets."""
    return name if target == TARGET else f"{target}/{name}"


def build_parts(
    static: Mapping[str, Any],
    features: Features,
    host_constants: Mapping[str, Constants],
    program_inputs: ProgramInputs,
) -> BuiltParts:
    """Builds the parts of an experiment.

    Args:
        static: the configuration, with a `ScalarSlot` in place of each number.
        features: the targets and the columns.
        host_constants: the constants of the targets and the columns, with `device` empty.
        program_inputs: the numbers, and the arrays `Constants.device`.

    Raises:
        LocatedError: the parts don't fit together.
    """
    numbers = program_inputs.numbers
    # Only targets get their `device` arrays here. The columns get their arrays when the model is applied.
    device = program_inputs.constants
    constants = {name: each._replace(device=device.get(name, {})) for name, each in host_constants.items()}
    augmentations, specs = _build_augmentations(static, numbers, features.bind_targets(constants))
    targets = {name: _build_target(name, spec, static, numbers) for name, spec in specs.items()}
    heads = {name: parts.head for name, parts in targets.items()}
    with error_location("architecture"):
        node = static["architecture"]
        architecture = build(node, numbers, SCHEMA["architecture"], outputs=_architecture_outputs(node, heads))
        inputs = match_inputs(features.inputs, architecture)
    used_columns = {name for names in features.inputs.values() for name in names}
    columns = {
        name: column.layer(host_constants[name].static)
        for name, column in features.columns.items()
        if name in used_columns
    }
    regularizers = _build_group("regularizer", static, numbers)
    constraints = _build_group("constraint", static, numbers)
    model = Model(columns, inputs, sparse_inputs(architecture), heads, architecture)
    members = build_members(static["update"], numbers)
    return BuiltParts(model, targets, regularizers, constraints, members, augmentations)


def _build_target(name: str, spec: TargetSpec, static: Mapping[str, Any], numbers: Mapping[str, Any]) -> TargetParts:
    """Builds the loss and the metrics of a target."""
    loss_node = static["loss"] if name == TARGET else static["loss"][name]
    with error_location(part_key("loss", name)):
        loss = build(loss_node, numbers, LOSS)
        outputs = loss.outputs(spec)
        if not isinstance(outputs, int | np.integer):
            raise UserError(f"{_part_name(loss)}.outputs returns {outputs!r}. It must return a whole number.")
    metrics = {}
    for metric, node in (static["metric"] if name == TARGET else static["metric"].get(name, {})).items():
        with error_location(f"{part_key('metric', name)}.{metric}"):
            metrics[metric] = build(node, numbers, METRIC).bind(spec)
            check_kind(metrics[metric], f"{node['_target_']}.bind", ["metric"])
    loss_weight = static["loss_weights"].get(name)
    return TargetParts(
        spec,
        (*spec.logits_shape, int(outputs)),
        _as_loss_function(loss),
        None if loss_weight is None else build(loss_weight, numbers),
        metrics,
    )


def part_key(group: str, target: str) -> str:
    """The key of the loss or the metrics of a target in the configuration."""
    return group if target == TARGET else f"{group}.{target}"


def _as_loss_function(loss: Any) -> LossFunction:
    """A loss as a function of (output, batch). It may take these, or (logits, target), or (logits, target, soft)."""
    names = list(inspect.signature(loss).parameters)
    part = _part_name(loss)

    def compute_losses(output: Output, batch: Batch) -> jax.Array:
        if batch.soft and names[0] != "output" and "soft" not in names[2:]:
            raise UserError(
                f"{part} doesn't take the probabilities of mixed classes, a parameter `soft`. "
                "Choose loss=softmax_cross_entropy, or remove the augmentation that mixes examples."
            )
        if names[0] == "output":
            losses = loss(output, batch)
        elif "soft" in names[2:]:
            losses = loss(output.logits, batch.target, soft=next(iter(batch.soft.values()), None))
        else:
            losses = loss(output.logits, batch.target)
        element = "pixel" if batch.mask.ndim > 1 else "example"
        check_numbers(losses, batch.mask.shape, part, f"a number for each {element}")
        return cast(jax.Array, losses)

    return compute_losses


def _architecture_outputs(node: Mapping[str, Any], heads: Mapping[str, tuple[int, ...]]) -> Any:
    """The argument `outputs` of the architecture: the number of outputs by target if it takes a mapping, else the sum.

    Raises:
        UserError: targets of different shapes can't share the logits of the architecture.
    """
    by_target = {name: shape[-1] for name, shape in heads.items()}
    if _takes_mapping(node["_target_"]):
        return by_target
    if len({shape[:-1] for shape in heads.values()}) > 1:
        shapes = ", ".join(f"{name} {shape}" for name, shape in heads.items())
        raise UserError(
            f"{node['_target_']} returns one array of logits, but the targets need {shapes}. Choose an architecture "
            "that takes `outputs: Mapping[str, int]`, the number of outputs of each target."
        )
    return sum(by_target.values())


def _takes_mapping(target: str) -> bool:
    """Whether an architecture annotates `outputs` as a mapping, the number of outputs of each target."""
    return element_hint(read_parameter_hints(target).get("outputs", Any), "name") is int


def _build_augmentations(
    static: Mapping[str, Any], numbers: Mapping[str, Any], specs: Mapping[str, TargetSpec]
) -> tuple[dict[str, Callable[[jax.Array, Batch], Batch]], Mapping[str, TargetSpec]]:
    """Builds the augmentations and binds them to the targets. Returns the targets as the augmentations change them."""
    augmentations: dict[str, Callable[[jax.Array, Batch], Batch]] = {}
    for name, augmentation in _build_group("augmentation", static, numbers).items():
        with error_location(f"augmentation.{name}"):
            part = _part_name(augmentation)
            if isinstance(augmentation, BindsTargets):
                bound = augmentation.bind(specs)
                if not isinstance(bound, tuple) or len(bound) != 2:
                    raise UserError(f"{part}.bind must return the augmentation and the targets by name.")
                augmentation, specs = bound
            augmentations[name] = _as_batch_augmentation(augmentation, part)
    return augmentations, specs


def _as_batch_augmentation(augmentation: Any, part: str) -> Callable[[jax.Array, Batch], Batch]:
    """An augmentation as a function of (key, batch), also if it has the parameters (key, inputs, target)."""
    if len(inspect.signature(augmentation).parameters) != 3:

        def augment(key: jax.Array, batch: Batch) -> Batch:
            augmented = augmentation(key, batch)
            check_augmented(augmented, batch, part)
            return cast(Batch, augmented)

        return augment

    def augment_inputs(key: jax.Array, batch: Batch) -> Batch:
        augmented = augmentation(key, batch.inputs, batch.target)
        check_augmented_inputs(augmented, batch.inputs, batch.target, part)
        inputs, target = augmented
        return batch._replace(inputs=inputs, targets=dict.fromkeys(batch.targets, target))

    return augment_inputs


def _build_group(group: str, static: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the parts of a group that may have several."""
    parts = {}
    for name, node in static[group].items():
        with error_location(f"{group}.{name}"):
            parts[name] = build(node, numbers, element_hint(SCHEMA[group], name))
    return parts


def augment(parts: BuiltParts, key: jax.Array, batch: Batch) -> Batch:
    """Applies the augmentations to a batch, one after another."""
    for number, (name, augmentation) in enumerate(parts.augmentations.items()):
        with error_location(f"augmentation.{name}"):
            batch = augmentation(jax.random.fold_in(key, number), batch)
    return batch


def constrain(parts: BuiltParts, parameters: Any) -> Any:
    """The parameters that meet all constraints, which are applied in the alphabetical order of their names."""
    for name, constraint in sorted(parts.constraints.items()):
        with error_location(f"constraint.{name}"):
            constrained = constraint(parameters)
            check_same_shapes(constrained, parameters, _part_name(constraint))
            parameters = constrained
    return parameters


def make_targets(
    specs: Mapping[str, TargetSpec], values: Mapping[str, jax.Array], present: jax.Array, weight: jax.Array | None
) -> Batch:
    """The batch before it has inputs.

    A missing target becomes 0 and its mask false: NaN would make the gradient NaN even where the loss is masked.

    Args:
        specs: the targets by name.
        values: the arrays that the layers of the targets return, by name.
        present: bool (B,), false for padding.
        weight: float32 (B,), or None.
    """
    targets, masks = dict(values), {}
    for name, spec in specs.items():
        if spec.can_be_missing:
            value = values[name]
            is_missing = value < 0 if spec.kind == "classes" else jnp.isnan(value)
            targets[name] = jnp.where(is_missing, jnp.zeros_like(value), value)
            if spec.kind == "real":
                is_missing = is_missing.any(tuple(range(1, value.ndim)))
            masks[name] = ~is_missing & present.reshape(-1, *(1,) * (is_missing.ndim - 1))
    return Batch({}, targets, masks, weight, present)


def compute_sums(parts: BuiltParts, output: Output, batch: Batch, *, training: bool) -> StepSums:
    """The sums of the losses and of each metric over the elements whose mask is true.

    In training, losses are multiplied by the weights of examples and classes. In evaluations they are not; if examples
    have weights, each loss and metric is summed a second time with them, under the name `weighted/…`. Training leaves
    out the metrics that collect rows instead of sums (`Metric.collects`): it would have to keep those of an epoch.
    """
    unweighted = batch._replace(weight=None)
    sums = _sum_losses(parts, output, batch if training else unweighted, training=training)
    sums |= _sum_metrics(parts, output, unweighted, training=training)
    if batch.weight is not None and not training:
        weighted = _sum_losses(parts, output, batch, training=False)
        weighted |= _sum_metrics(parts, output, batch, training=False)
        sums |= {f"{WEIGHTED}{name}": values for name, values in weighted.items()}
    return sums


def _sum_losses(parts: BuiltParts, output: Output, batch: Batch, *, training: bool) -> StepSums:
    """The sum and the count of each target's loss and of each internal loss.

    In training, the count is the number of elements, whatever their weights. In evaluations it is their total weight.
    """
    sums: StepSums = {}
    for name in parts.targets:
        sums[record_name(name, "loss")] = _sum_target(parts, name, output, batch, training=training)
    examples = _sum_elements(jnp.ones(batch.present.shape, bool), batch.present, None if training else batch.weight)
    for name, losses in output.losses.items():
        if name in sums or name in parts.metrics or name in RESERVED_NAMES:
            raise LocatedError("architecture", f"the internal loss {name} has a name that is taken. Rename it.")
        sums[name] = {"sum": _sum_elements(losses, batch.present, batch.weight), "count": examples}
    if not parts.targets:
        total = sum((sums[name]["sum"] for name in output.losses), jnp.float32(0))
        sums = {"loss": {"sum": total, "count": examples}} | sums
    return sums


def _sum_target(parts: BuiltParts, name: str, output: Output, batch: Batch, *, training: bool) -> dict[str, jax.Array]:
    """The sum and the count of a target's loss."""
    mask, weight = batch.mask_of(name), batch.weight
    losses = _element_losses(parts, name, output, batch)
    if losses is None:
        losses = jnp.zeros(mask.shape, jnp.float32)
    if training:
        weight = _multiply(weight, _class_weights(parts.targets[name].spec, batch, name))
    counted = _sum_elements(jnp.ones(mask.shape, bool), mask, None if training else weight)
    return {"sum": _sum_elements(losses, mask, weight), "count": counted}


def _element_losses(parts: BuiltParts, name: str, output: Output, batch: Batch) -> jax.Array | None:
    """The loss of each element of a target, (B, …). None: the network has no head."""
    if output.outputs is None:
        return None
    narrowed = output._replace(outputs={name: cast(Mapping[str, jax.Array], output.outputs)[name]})
    with error_location(part_key("loss", name)), STRICT_SHAPES():
        return parts.targets[name].loss(narrowed, batch.narrow(name))


def _class_weights(spec: TargetSpec, batch: Batch, name: str) -> jax.Array | None:
    """The weight of the class of each element, (B, …). For probabilities of classes, it is their weighted mean."""
    if spec.class_weights is None:
        return None
    if name in batch.soft:
        return jnp.sum(batch.soft[name] * spec.class_weights[None], axis=-1)
    return spec.class_weights[batch.targets[name]]


def _multiply(weight: jax.Array | None, other: jax.Array | None) -> jax.Array | None:
    """The product of weights (B,) and (B, …). None: all are 1."""
    if weight is None or other is None:
        return other if weight is None else weight
    return weight.reshape(-1, *(1,) * (other.ndim - 1)) * other


def _sum_elements(values: jax.Array, mask: jax.Array, weight: jax.Array | None) -> jax.Array:
    """The weighted sum of values over the elements whose mask is true; without weights, an int32 count of bools.

    Args:
        values: (B, …).
        mask: bool (B, …).
        weight: (B,) or (B, …); None: all are 1.
    """
    if weight is not None:
        values = values.astype(jnp.float32) * weight.reshape(*weight.shape, *(1,) * (values.ndim - weight.ndim))
    if values.dtype == bool:
        return jnp.sum(values & mask, dtype=jnp.int32)
    return jnp.sum(jnp.where(mask, values, jnp.float32(0)))


def _sum_metrics(parts: BuiltParts, output: Output, batch: Batch, *, training: bool) -> StepSums:
    """The sums of each metric. With weights, only of the metrics that read them."""
    sums: StepSums = {}
    for target, target_parts in parts.targets.items():
        heads = cast("Mapping[str, jax.Array] | None", output.outputs)
        narrowed = output._replace(outputs=None if heads is None else {target: heads[target]})
        own_batch = batch.narrow(target)
        for name, metric in target_parts.metrics.items():
            if training and metric.collects:
                continue
            with error_location(f"{part_key('metric', target)}.{name}"), STRICT_SHAPES():
                if batch.weight is not None and not _reads_weight(metric, narrowed, own_batch):
                    continue
                measured = metric.measure(narrowed, own_batch)
                check_measured(measured, _part_name(metric), len(batch.present) if metric.collects else None)
            sums[record_name(target, name)] = dict(measured)
    return sums


def _reads_weight(metric: Metric, output: Output, batch: Batch) -> bool:
    """Whether the result of `Metric.measure` depends on the weights of examples."""
    jaxpr = jax.make_jaxpr(lambda weight: metric.measure(output, batch._replace(weight=weight)))(batch.weight).jaxpr
    used = [*jaxpr.outvars, *(variable for equation in jaxpr.eqns for variable in equation.invars)]
    return any(variable is jaxpr.invars[0] for variable in used)


def objective_terms(
    parts: BuiltParts, parameters: Any, output: Output, batch: Batch, sums: StepSums
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The terms of the objective: the mean loss of each target, and all others.

    The others are the losses of auxiliary classifiers, the internal losses, and the penalties.

    Args:
        parts: the parts of the experiment.
        parameters: the parameters of the model.
        output: the output of the model.
        batch: the batch.
        sums: the sums of `compute_sums` in training.
    """
    size = len(batch.present)
    means, others = [], []
    for name, target in parts.targets.items():
        mean = _scale(sums[record_name(name, "loss")]["sum"] / _count_elements(batch, name), target.loss_weight)
        means.append(mean)
        for weight, logits in output.auxiliary:
            auxiliary = _sum_target(parts, name, Output(logits), batch, training=True)["sum"]
            others.append(weight * _scale(auxiliary / _count_elements(batch, name), target.loss_weight))
    others += [sums[name]["sum"] / size for name in output.losses]
    others += [_penalty(name, regularizer, parameters) for name, regularizer in parts.regularizers.items()]
    return means, others


def _count_elements(batch: Batch, name: str) -> Any:
    """The number of elements of a target in the objective; at least 1, so that a batch without any adds 0."""
    if name not in batch.masks:
        return batch.mask_of(name).size  # training pads no batch
    return jnp.maximum(batch.masks[name].sum(), 1).astype(jnp.float32)


def _scale(mean: jax.Array, factor: Any | None) -> jax.Array:
    return mean if factor is None else jnp.asarray(factor, jnp.float32) * mean


def example_outputs(parts: BuiltParts, output: Output, batch: Batch) -> ExampleOutputs:
    """The outputs for each example, whatever its mask, for the targets that aren't images.

    Without logits, there are no outputs, and each loss is 0.
    """
    names = [name for name, target in parts.targets.items() if not target.spec.is_image]
    size = len(batch.present)
    if output.outputs is None:
        return ExampleOutputs(dict.fromkeys(names, jnp.zeros((size, 0))), dict.fromkeys(names, jnp.zeros(size)))
    logits = decode_outputs(parts, output)
    losses = {name: cast(jax.Array, _element_losses(parts, name, output, batch)) for name in names}
    return ExampleOutputs({name: logits[name] for name in names}, losses)


def decode_outputs(parts: BuiltParts, output: Output) -> dict[str, jax.Array]:
    """The logits by target; for a real-valued target in the target's own unit."""
    heads = cast(Mapping[str, jax.Array], output.outputs)
    return {name: target.spec.decode(heads[name]) for name, target in parts.targets.items()}


def decode_targets(target: TargetSpec, values: Any) -> np.ndarray:
    """Targets in the user's own terms: classes, int32 (N, …), or numbers in their own unit, (N, outputs).

    Args:
        target: the target with its constants.
        values: the targets that the losses see.
    """
    if target.classes is not None:
        return np.asarray(values)
    numbers = np.asarray(target.decode(jnp.asarray(values)))
    return numbers.reshape(len(numbers), -1)


def _penalty(name: str, regularizer: Regularizer, parameters: Any) -> jax.Array:
    with error_location(f"regularizer.{name}"), STRICT_SHAPES():
        penalty = regularizer(parameters)
        check_numbers(penalty, (), _part_name(regularizer), "one number")
    return penalty


def _part_name(part: object) -> str:
    return getattr(part, "__name__", type(part).__name__)
