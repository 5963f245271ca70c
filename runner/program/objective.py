"""Computes the losses and metrics of a batch, and the terms of the objective.

All functions can be traced, except `decode_targets` and `decode_logits`: they return arrays on the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, cast

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Batch, Metric, Output, Regularizer, TargetSpec, UserError
from runner.config.check_targets import RESERVED_NAMES, WEIGHTED
from runner.data.encode import TARGET
from runner.errors import LocatedError, error_location
from runner.program.parts import BatchAugmentation, BuiltParts, part_key, part_name, record_name
from runner.program.returns import check_measured, check_numbers, check_same_shapes, check_sums_of_batch
from runner.program.samples import Spread
from runner.program.trees import copy_containers

STRICT_SHAPES = partial(jax.numpy_rank_promotion, "raise")  # (B,) and (B, 1) don't silently become (B, B)

StepSums = dict[str, dict[str, jax.Array]]
"""Sums by metric (or loss) and by name, on the device."""


class ExampleOutputs(NamedTuple):
    """The model's outputs for each example, by the name of each target; those that are images may be left out.

    Attributes:
        logits: float32 (B, outputs), or (B, H, W, outputs). `decode_logits` converts them to the unit of the data.
        losses: float32 (B,). That of an image is the mean over its pixels that count, or 0 if none does.
        batch: the targets, masks and weights as the losses got them, if augmentations change evaluations too; with
            images, also the inputs. None: they are those of the data.
        spread: how far the samples are apart whose mean the logits are. None: there are none.
    """

    logits: Mapping[str, Any]
    losses: Mapping[str, Any]
    batch: Batch | None = None
    spread: Mapping[str, Spread] | None = None


class _NotOfAuxiliary(Mapping[str, jax.Array]):
    """A field of an `Output` that an auxiliary classifier lacks. Reading it is an error.

    If it were empty, a loss of the features could leave out a term, and if it were that of the network, the term would
    count once more for each classifier.
    """

    def __init__(self, field: str) -> None:
        self.field = field

    def _raise(self) -> NoReturn:
        raise UserError(
            f"it reads Output.{self.field}, but it is also the loss of auxiliary classifiers, which have logits only. "
            "Choose another loss, or an architecture without them, as with architecture.auxiliary=null of GoogLeNet. "
            "An architecture of yours can return the term of the features as an internal loss (Output.losses)."
        )

    def __getitem__(self, name: str) -> jax.Array:
        self._raise()

    def __iter__(self) -> Iterator[str]:
        self._raise()

    def __len__(self) -> int:
        self._raise()


# A loss may be compiled by itself.
jax.tree_util.register_pytree_node(
    _NotOfAuxiliary, lambda node: ((), node.field), lambda field, _: _NotOfAuxiliary(field)
)


def augment(augmentations: Mapping[str, BatchAugmentation], key: jax.Array, batch: Batch) -> Batch:
    """Applies augmentations to a batch, one after another."""
    for number, (name, augmentation) in enumerate(augmentations.items()):
        with error_location(f"augmentation.{name}"):
            batch = augmentation.change(jax.random.fold_in(key, number), batch)
    return batch


def constrain(parts: BuiltParts, parameters: Any) -> Any:
    """The parameters that meet all constraints, which are applied in the alphabetical order of their names."""
    for name in sorted(parts.constraints):
        parameters = apply_constraint(parts, name, parameters)
    return parameters


def apply_constraint(parts: BuiltParts, name: str, parameters: Any) -> Any:
    """The parameters that meet one constraint. Raises UserError if it returns another tree than it got."""
    constraint = parts.constraints[name]
    with error_location(f"constraint.{name}"):
        constrained = constraint(copy_containers(parameters))
        check_same_shapes(constrained, parameters, part_name(constraint))
    return constrained


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
            is_missing = jnp.isnan(value) if spec.kind == "real" else value < 0
            targets[name] = jnp.where(is_missing, jnp.zeros_like(value), value)
            if spec.kind != "classes":
                shape = value.shape[:1] if spec.positions is None else (len(value), spec.positions)
                is_missing = is_missing.reshape(*shape, -1).any(-1)
            masks[name] = ~is_missing & present.reshape(-1, *(1,) * (is_missing.ndim - 1))
    return Batch({}, targets, masks, weight, present)


def compute_losses(parts: BuiltParts, output: Output, batch: Batch) -> dict[str, jax.Array]:
    """The loss of each element by target, (B, …). In evaluations, the batch has no weights.

    A loss without a target has the name of a single one.
    """
    loss = None if parts.targetless is None else parts.targetless.loss
    if loss is not None:
        with error_location("loss"), STRICT_SHAPES():
            return {TARGET: loss(output, batch)}
    return {name: _element_losses(parts, name, output, batch) for name in parts.targets}


def compute_sums(
    parts: BuiltParts, output: Output, batch: Batch, losses: Mapping[str, jax.Array], *, training: bool
) -> StepSums:
    """The sums of the losses and of each metric over the elements whose mask is true.

    In training, losses are multiplied by the weights of examples and classes. In evaluations they are not; if examples
    have weights, each loss and metric is summed a second time with them, under the name `weighted/…`. Training leaves
    out the metrics that collect rows instead of sums (`Metric.collects`): it would have to keep those of an epoch.

    Args:
        parts: the parts of the experiment.
        output: the output of the model.
        batch: the batch.
        losses: those of `compute_losses`.
        training: whether it is a training step.
    """
    sums = _sum_losses(parts, output, batch if training else batch._replace(weight=None), losses, training=training)
    if batch.weight is not None and not training:
        weighted = _sum_losses(parts, output, batch, losses, training=False)
        sums |= {f"{WEIGHTED}{name}": values for name, values in weighted.items()}
    return sums | sum_metrics(parts, output, batch, training=training)


def sum_metrics(parts: BuiltParts, output: Output, batch: Batch, *, training: bool) -> StepSums:
    """The sums of each metric; in evaluations with weights, also the weighted ones, as in `compute_sums`."""
    sums = _sum_metrics(parts, output, batch._replace(weight=None), training=training)
    if batch.weight is not None and not training:
        weighted = _sum_metrics(parts, output, batch, training=False)
        sums |= {f"{WEIGHTED}{name}": values for name, values in weighted.items()}
    return sums


def _sum_losses(
    parts: BuiltParts, output: Output, batch: Batch, losses: Mapping[str, jax.Array], *, training: bool
) -> StepSums:
    """The sum and the count of each target's loss and of each internal loss. The arguments are those of `compute_sums`.

    In training, the count is the number of elements, whatever their weights. In evaluations it is their total weight.
    """
    sums: StepSums = {}
    for name, own in losses.items():
        sums[record_name(name, "loss")] = _sum_target(parts, name, own, batch, training=training)
    examples = _sum_elements(jnp.ones(batch.present.shape, bool), batch.present, None if training else batch.weight)
    for name, internal in output.losses.items():
        if name in sums or name in parts.metrics or name in RESERVED_NAMES:
            raise LocatedError("architecture", f"the internal loss {name} has a name that is taken. Rename it.")
        sums[name] = {"sum": _sum_elements(internal, batch.present, batch.weight), "count": examples}
    if not losses:
        if not output.losses:
            when = "training" if training else "evaluations"
            raise LocatedError(
                "architecture",
                f"{type(parts.model.architecture).__name__} returns no internal losses (Output.losses) in {when}, and "
                "there is no target, so there is no loss. Return them in training and in evaluations, or choose a "
                "target.",
            )
        total = sum((sums[name]["sum"] for name in output.losses), jnp.float32(0))
        sums = {"loss": {"sum": total, "count": examples}} | sums
    return sums


def _sum_target(
    parts: BuiltParts, name: str, losses: jax.Array, batch: Batch, *, training: bool
) -> dict[str, jax.Array]:
    """The sum and the count of a target's losses (B, …)."""
    mask, weight = batch.mask_of(name) if name in parts.targets else batch.present, batch.weight
    if training and name in parts.targets:
        weight = _multiply(weight, _class_weights(parts.targets[name].spec, batch, name))
    counted = _sum_elements(jnp.ones(mask.shape, bool), mask, None if training else weight)
    return {"sum": _sum_elements(losses, mask, weight), "count": counted}


def _element_losses(parts: BuiltParts, name: str, output: Output, batch: Batch) -> jax.Array:
    """The loss of each element of a target, (B, …). Where numbers are missing by themselves, each has its own."""
    loss, own, narrowed = parts.targets[name].loss, batch.narrow(name), _narrow(output, name)
    positions = parts.targets[name].spec.positions
    with error_location(part_key("loss", name)), STRICT_SHAPES():
        if positions is None or name not in batch.masks or narrowed.outputs is None:
            return loss(narrowed, own)
        heads = cast("Mapping[str, jax.Array]", narrowed.outputs)

        def compute(logits: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
            at_position = own._replace(targets={name: target}, masks={name: mask})
            return loss(narrowed._replace(outputs={name: logits}), at_position)

        logits, target = (array.reshape(len(array), positions, -1) for array in (heads[name], own.targets[name]))
        return jax.vmap(compute, 1, 1)(logits, target, own.masks[name])


def _narrow(output: Output, name: str) -> Output:
    """The output with the logits of one target only; unchanged if there is no head."""
    heads = cast("Mapping[str, jax.Array] | None", output.outputs)
    return output if heads is None else output._replace(outputs={name: heads[name]})


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
    by_target = {name: (own.metrics, _narrow(output, name), batch.narrow(name)) for name, own in parts.targets.items()}
    if parts.targetless is not None:
        by_target = {TARGET: (parts.targetless.metrics, output, batch)}
    for target, (metrics, narrowed, own_batch) in by_target.items():
        for name, metric in metrics.items():
            if training and metric.collects:
                continue
            with error_location(f"{part_key('metric', target)}.{name}"), STRICT_SHAPES():
                if batch.weight is not None and not _reads_weight(metric, narrowed, own_batch):
                    continue
                measured = metric.measure(narrowed, own_batch)
                check_measured(measured, part_name(metric), len(batch.present) if metric.collects else None)
                if not metric.collects:
                    _check_sums(metric, narrowed, own_batch, measured)
            sums[record_name(target, name)] = dict(measured)
    return sums


def _check_sums(metric: Metric, output: Output, batch: Batch, sums: Mapping[str, Any]) -> None:
    """Raises UserError if `Metric.measure` returns values of each example, whose shapes depend on the batch's size."""
    rows = len(batch.present)
    if not any(rows in jnp.shape(value) for value in sums.values()):
        return

    def add_row(leaf: Any) -> Any:
        if jnp.shape(leaf)[:1] != (rows,):
            return leaf
        return jax.ShapeDtypeStruct((rows + 1, *leaf.shape[1:]), leaf.dtype)

    larger = jax.eval_shape(metric.measure, *jax.tree.map(add_row, (output, batch)))
    check_sums_of_batch(sums, larger, part_name(metric))


def _reads_weight(metric: Metric, output: Output, batch: Batch) -> bool:
    """Whether the result of `Metric.measure` depends on the weights of examples."""
    if not isinstance(batch.weight, jax.core.Tracer):
        return _reads_known_weight(metric, output, batch)
    jaxpr = jax.make_jaxpr(lambda weight: metric.measure(output, batch._replace(weight=weight)))(batch.weight).jaxpr
    used = [*jaxpr.outvars, *(variable for equation in jaxpr.eqns for variable in equation.invars)]
    return any(variable is jaxpr.invars[0] for variable in used)


def _reads_known_weight(metric: Metric, output: Output, batch: Batch) -> bool:
    """The same in an uncompiled program. Under `vmap`, only what depends on the weights has no values."""
    leaves: list[Any] = []

    def measure(weight: jax.Array) -> jax.Array:
        leaves.extend(jax.tree.leaves(metric.measure(output, batch._replace(weight=weight))))
        return weight

    try:
        jax.vmap(measure)(jnp.asarray(batch.weight)[None])
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):  # the metric needs the values of the weights
        return True
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


class Counts(NamedTuple):
    """The numbers that the sums of a step are divided by.

    Attributes:
        examples: the number of examples.
        elements: the number of elements that count, by target; at least 1, so that a batch without any adds 0.
    """

    examples: int
    elements: Mapping[str, Any]


def count_batch(batches: Sequence[Batch]) -> Counts:
    """Counts the examples and elements of a batch, which may come in several parts."""
    elements: dict[str, Any] = {}
    for name in batches[0].targets:
        # A Python number where no element can be missing, because training pads no batch.
        elements[name] = sum(batch.mask_of(name).size for batch in batches)
        if name in batches[0].masks:
            known = sum((batch.masks[name].sum() for batch in batches), jnp.int32(0))
            elements[name] = jnp.maximum(known, 1).astype(jnp.float32)
    return Counts(sum(len(batch.present) for batch in batches), elements)


def objective_terms(
    parts: BuiltParts, output: Output, batch: Batch, sums: StepSums, counts: Counts
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The terms of the objective that depend on examples: the mean loss of each target, and all others.

    The others are the losses of auxiliary classifiers and the internal losses.

    Args:
        parts: the parts of the experiment.
        output: the output of the model.
        batch: the batch, or a part of it.
        sums: the sums of `compute_sums` in training.
        counts: the counts of the whole batch.
    """
    means, others = [], []
    if parts.targetless is not None and parts.targetless.loss is not None:
        means.append(sums["loss"]["sum"] / counts.examples)
    for name, target in parts.targets.items():
        count = counts.elements[name]
        means.append(_scale(sums[record_name(name, "loss")]["sum"] / count, target.loss_weight))
        for weight, logits in output.auxiliary:
            own = Output(logits, _NotOfAuxiliary("losses"), features=_NotOfAuxiliary("features"))
            losses = _element_losses(parts, name, own, batch)
            auxiliary = _sum_target(parts, name, losses, batch, training=True)["sum"]
            others.append(weight * _scale(auxiliary / count, target.loss_weight))
    others += [sums[name]["sum"] / counts.examples for name in output.losses]
    return means, others


def compute_penalties(parts: BuiltParts, parameters: Any) -> list[jax.Array]:
    """The penalties on the parameters, which are terms of the objective."""
    return [_penalty(name, regularizer, parameters) for name, regularizer in parts.regularizers.items()]


def _scale(mean: jax.Array, factor: Any | None) -> jax.Array:
    return mean if factor is None else jnp.asarray(factor, jnp.float32) * mean


def example_outputs(
    parts: BuiltParts, output: Output, batch: Batch, losses: Mapping[str, jax.Array], *, images: bool = False
) -> ExampleOutputs:
    """The outputs for each example, whatever its mask.

    A model without a head has logits (B, 0). The other arguments are those of `compute_sums`.

    Args:
        images: whether those of targets that are images, and the inputs, are among them. Otherwise they are left out.
    """
    names = [name for name, target in parts.targets.items() if images or not target.spec.is_image]
    heads = cast("Mapping[str, jax.Array] | None", output.outputs)
    logits = {name: jnp.zeros((len(batch.present), 0)) if heads is None else heads[name] for name in names}
    losses = {name: _average_pixels(losses[name], batch.mask_of(name)) for name in names}
    if not (parts.augments_evaluated_targets or images):
        return ExampleOutputs(logits, losses)
    targets, masks = ({name: values(name) for name in names} for values in (batch.targets.__getitem__, batch.mask_of))
    inputs = batch.inputs if images else {}
    return ExampleOutputs(logits, losses, Batch(inputs, targets, masks, batch.weight, batch.present))


def _average_pixels(losses: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean loss of each example, (B,), over its elements whose mask is true, (B, …)."""
    if losses.ndim == 1:
        return losses
    axes = tuple(range(1, losses.ndim))
    return jnp.where(mask, losses, 0).sum(axes) / jnp.maximum(mask.sum(axes), 1)


def decode_logits(target: TargetSpec, logits: np.ndarray) -> np.ndarray:
    """The predictions for a real-valued target in the unit of the data, float64 where that is more precise.

    The logits of classes are returned unchanged, as are those of a model without outputs, (N, 0).
    """
    return np.asarray(target.decode(logits)) if target.classes is None and logits.shape[-1] else logits


def decode_targets(target: TargetSpec, values: Any) -> np.ndarray:
    """Targets in the user's own terms: classes, int32 (N, …), labels, int32 (N, classes), or numbers in their own unit,
    (N, outputs) or (N, H, W, C).

    Args:
        target: the target with the constants of the data.
        values: the targets that the losses see.
    """
    if target.classes is not None:
        return np.asarray(values)
    numbers = np.asarray(target.decode(np.asarray(values)))
    return numbers if target.is_image else numbers.reshape(len(numbers), -1)


def _penalty(name: str, regularizer: Regularizer, parameters: Any) -> jax.Array:
    with error_location(f"regularizer.{name}"), STRICT_SHAPES():
        penalty = regularizer(copy_containers(parameters))
        check_numbers(penalty, (), part_name(regularizer), "one number")
    return penalty
