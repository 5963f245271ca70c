"""Builds the parts of an experiment, with numbers that may be traced.

A target has its own loss, metrics and logits. A single target is called `target`, and its metrics have their own names;
with several, metrics are called `PRICE/rmse`, by target and metric.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.closest import join_names
from components.types import (
    Batch,
    BindsTargets,
    Constants,
    Constraint,
    HasPixelRange,
    Metric,
    Output,
    Regularizer,
    Step,
    TargetSpec,
    UserError,
    apply_loss,
)
from runner.data.encode import TARGET, is_input_column
from runner.data.load import Features
from runner.errors import LocatedError, error_location
from runner.program.model import Model, match_inputs, sparse_inputs
from runner.program.returns import (
    check_augmented,
    check_augmented_pair,
    check_flag,
    check_kept_targets,
    check_metric,
    check_numbers,
    check_outputs,
)
from runner.program.trees import copy_containers
from runner.program.update import Members, build_members
from runner.signature.build import build, check_kind
from runner.signature.parameters import read_parameter_hints
from runner.signature.schema import LOSS, METRIC, SCHEMA
from runner.signature.type_hints import element_hint


class TeacherInputs(NamedTuple):
    """The inputs of a teacher's program. It shares the constants of the columns with the student.

    Attributes:
        numbers: scalars by their keys in the teacher's configuration, float32.
        variables: its Flax variables: the parameters as `params`, and other collections.
    """

    numbers: Mapping[str, Any]
    variables: Mapping[str, Any]


class ProgramInputs(NamedTuple):
    """The inputs of the program that stay the same during training.

    Attributes:
        numbers: scalars by their keys in the configuration, float32; and `seed`, uint32.
        constants: the arrays `Constants.device` of the target and of each column, by column and name.
        teacher: the inputs of the teacher. None: there is none, or nothing reads its logits.
    """

    numbers: Mapping[str, Any]
    constants: Mapping[str, Any]
    teacher: TeacherInputs | None = None


def numbers_to_arrays(numbers: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """The numbers and the seed as arrays. All numbers are float32, so that 1 and 1.0 share one compiled program."""
    arrays = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    return arrays | {"seed": np.asarray(seed, np.uint32)}


class BatchAugmentation(NamedTuple):
    """An augmentation as a function of a batch.

    Attributes:
        change: (key, batch) -> the changed batch.
        evaluates: whether it also changes the batches of evaluations.
        adds_inputs: whether it may add inputs.
        keeps_targets: whether it changes inputs only.
    """

    change: Callable[[jax.Array, Batch], Batch]
    evaluates: bool
    adds_inputs: bool
    keeps_targets: bool

    @property
    def changes_evaluated_targets(self) -> bool:
        """Whether it may change the targets, masks and weights of evaluations."""
        return self.evaluates and not self.keeps_targets


LossFunction: TypeAlias = Callable[[Output, Batch], jax.Array]


class TargetParts(NamedTuple):
    """The parts of one target.

    Attributes:
        spec: the target, as losses and metrics see it.
        head: the shape of the logits of one example, with the number of outputs last.
        loss: its loss: (output, batch), narrowed to the target -> the loss of each element.
        loss_weight: the factor of its mean loss in the objective. None: 1.
        metrics: its metrics, by their names in the configuration.
        link: makes predictions of the logits (`Loss.link`, or `Loss.head` with parameters). None: they are the logits.
        loss_name: the name of its loss in messages.
    """

    spec: TargetSpec
    head: tuple[int, ...]
    loss: LossFunction
    loss_weight: Any | None
    metrics: Mapping[str, Metric]
    link: Callable[[jax.Array], jax.Array] | None = None
    loss_name: str = ""


class TargetlessParts(NamedTuple):
    """The loss and the metrics of a run without a target.

    Attributes:
        loss: (output, batch) -> the loss of each example. None: the architecture has internal losses only.
        metrics: the metrics, by their names in the configuration.
    """

    loss: LossFunction | None
    metrics: Mapping[str, Metric]


class BuiltParts(NamedTuple):
    """The parts of an experiment, built with the numbers of the configuration, which may be traced.

    Attributes:
        model: the columns and the architecture.
        data_targets: the targets before augmentations change them.
        targets: the parts of each target.
        regularizers: the regularizers.
        constraints: the constraints.
        step: the step.
        members: the members of the update set.
        augmentations: the augmentations.
        targetless: the loss and the metrics without a target. None: there is a target.
    """

    model: Model
    data_targets: Mapping[str, TargetSpec]
    targets: Mapping[str, TargetParts]
    regularizers: Mapping[str, Regularizer]
    constraints: Mapping[str, Constraint]
    step: Step
    members: Members
    augmentations: Mapping[str, BatchAugmentation]
    targetless: TargetlessParts | None = None

    @property
    def augments_evaluated_targets(self) -> bool:
        """Whether an augmentation may change the targets, masks and weights of evaluations."""
        return any(each.changes_evaluated_targets for each in self.augmentations.values())

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics, by the names that the record has for them."""
        of_targets = {
            record_name(target, name): metric
            for target, parts in self.targets.items()
            for name, metric in parts.metrics.items()
        }
        return of_targets if self.targetless is None else {**self.targetless.metrics}


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
    constants = {
        name: each if is_input_column(name) else each._replace(device=device.get(name, {}))
        for name, each in host_constants.items()
    }
    data_targets = features.bind_targets(constants)
    augmentations, specs = build_augmentations(static, numbers, data_targets, features)
    targets = {name: _build_target(name, spec, static, numbers) for name, spec in specs.items()}
    targetless = None if targets else _build_targetless(static, numbers)
    heads = {name: parts.head for name, parts in targets.items()}
    with error_location("architecture"):
        node = static["architecture"]
        architecture = build(node, numbers, SCHEMA["architecture"], outputs=_architecture_outputs(node, heads))
        adding = [name for name, augmentation in augmentations.items() if augmentation.adds_inputs]
        inputs = match_inputs(features.inputs, architecture, adding)
    used_columns = {name for names in features.inputs.values() for name in names}
    columns = {
        name: column.layer(host_constants[name].static)
        for name, column in features.columns.items()
        if name in used_columns
    }
    regularizers = build_group("regularizer", static, numbers)
    constraints = build_group("constraint", static, numbers)
    images = {
        name: column.pixel_range
        for name, column in features.columns.items()
        if name in used_columns and isinstance(column, HasPixelRange)
    }
    calibrated = _find_calibrated(specs) if static.get("calibrate") is not None else frozenset[str]()
    links = {name: parts.link for name, parts in targets.items() if parts.link is not None}
    repeat = None if features.views is None else features.views.repeat
    model = Model(columns, inputs, sparse_inputs(architecture), heads, architecture, images, links, calibrated, repeat)
    members = build_members(static["update"], numbers)
    with error_location("step"):
        step = build(static["step"], numbers, SCHEMA["step"])
    return BuiltParts(model, data_targets, targets, regularizers, constraints, step, members, augmentations, targetless)


def _find_calibrated(specs: Mapping[str, TargetSpec]) -> frozenset[str]:
    """The targets whose logits get a temperature. Raises LocatedError if there are none."""
    found = frozenset(name for name, spec in specs.items() if spec.classes is not None and not spec.is_image)
    if not found:
        with error_location("calibrate"):
            what = "there is no target" if not specs else "the target has pixels or numbers"
            raise UserError(f"temperature needs a target of classes or labels, and {what}. Set it to null.")
    return found


def _build_target(name: str, spec: TargetSpec, static: Mapping[str, Any], numbers: Mapping[str, Any]) -> TargetParts:
    """Builds the loss and the metrics of a target."""
    loss_node = static["loss"] if name == TARGET else static["loss"][name]
    with error_location(part_key("loss", name)):
        loss = build(loss_node, numbers, LOSS)
        outputs = check_outputs(loss.outputs(spec), part_name(loss))
        loss_function = as_loss_function(loss)
    nodes = static["metric"] if name == TARGET else static["metric"].get(name, {})
    metrics = _build_metrics(nodes, part_key("metric", name), numbers, spec)
    loss_weight = static["loss_weights"].get(name)
    return TargetParts(
        spec,
        (*spec.logits_shape, outputs),
        loss_function,
        None if loss_weight is None else build(loss_weight, numbers),
        metrics,
        _build_head(loss, name, spec) if hasattr(loss, "head") else getattr(loss, "link", None),
        getattr(loss, "option", part_name(loss)),
    )


def _build_head(loss: Any, target: str, spec: TargetSpec) -> nn.Module:
    """The module that a loss applies to the logits of a target. Its parameters are `links_NAME` with that name."""
    head = loss.head(spec)
    if not isinstance(head, nn.Module):
        raise LocatedError(part_key("loss", target), f"{part_name(loss)}.head must return a Flax module.")
    return head


def _build_targetless(static: Mapping[str, Any], numbers: Mapping[str, Any]) -> TargetlessParts:
    """Builds the loss and the metrics of a run without a target. The check of the configuration says which may be."""
    with error_location("loss"):
        loss = None if static["loss"] is None else as_loss_function(build(static["loss"], numbers, LOSS))
    return TargetlessParts(loss, _build_metrics(static["metric"], "metric", numbers, None))


def _build_metrics(
    nodes: Mapping[str, Any], key: str, numbers: Mapping[str, Any], spec: TargetSpec | None
) -> dict[str, Metric]:
    """Builds the metrics of a target, at a key of the configuration. `spec` None: there is no target."""
    metrics = {}
    for name, node in nodes.items():
        with error_location(f"{key}.{name}"):
            metric = build(node, numbers, METRIC)
            if spec is not None:
                metric = metric.bind(spec)
                check_kind(metric, f"{node['_target_']}.bind", ["metric"])
            check_metric(metric, part_name(metric))
            metrics[name] = metric
    return metrics


def part_key(group: str, target: str) -> str:
    """The key of the loss or the metrics of a target in the configuration."""
    return group if target == TARGET else f"{group}.{target}"


def as_loss_function(loss: Any) -> LossFunction:
    """A loss as a function of (output, batch). It may take these, or (logits, target), or (logits, target, soft).

    Without a head, a loss of (output, batch) still computes, and a loss of logits is 0 beside internal losses.

    Raises:
        UserError: it takes other parameters.
    """
    part, signature = part_name(loss), inspect.signature(loss)
    names = list(signature.parameters)
    if not can_take(signature, 2, *(["soft"] if "soft" in names[2:] and names[0] != "output" else [])):
        raise UserError(
            f"{part} takes {signature}. A loss must take (logits, target), (logits, target, soft) or (output, batch)."
        )

    def compute_losses(output: Output, batch: Batch) -> jax.Array:
        if names[0] != "output" and output.logits is None and output.losses:
            return jnp.zeros(batch.mask.shape, jnp.float32)
        losses = apply_loss(loss, output, batch)
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


def build_augmentations(
    static: Mapping[str, Any], numbers: Mapping[str, Any], specs: Mapping[str, TargetSpec], features: Features
) -> tuple[dict[str, BatchAugmentation], Mapping[str, TargetSpec]]:
    """Builds the augmentations and binds them to the targets. Returns the targets as the augmentations change them.

    Args:
        static: the configuration without the numbers.
        numbers: the numbers.
        specs: the targets of the data.
        features: says whether each row, or view, of an example is augmented by itself, in evaluations too if they are
            views. What changes targets changes the whole example.
    """
    augmentations: dict[str, BatchAugmentation] = {}
    for name, augmentation in build_group("augmentation", static, numbers).items():
        with error_location(f"augmentation.{name}"):
            part = part_name(augmentation)
            if features.augments_rows and _changes_inputs_alone(augmentation):
                by_row = _augment_rows(augmentation, part)
                augmentations[name] = by_row._replace(evaluates=by_row.evaluates or features.views is not None)
                continue
            if isinstance(augmentation, BindsTargets):
                bound = augmentation.bind(specs)
                if not isinstance(bound, tuple) or len(bound) != 2:
                    raise UserError(f"{part}.bind must return the augmentation and the targets by name.")
                augmentation, changed = bound
                _check_changed_targets(augmentation, specs, changed, part)
                specs = changed
            augmentations[name] = _as_batch_augmentation(augmentation, specs, part)
    return augmentations, specs


def _check_changed_targets(
    augmentation: Any, specs: Mapping[str, TargetSpec], changed: Mapping[str, TargetSpec], part: str
) -> None:
    """Raises UserError if an augmentation changes targets that losses and metrics read in evaluations without it."""
    for name, spec in specs.items():
        fields = ("kind", "shape", "classes")
        new = changed.get(name)
        if new is None or changed.keys() != specs.keys():
            raise UserError(f"{part}.bind returns the targets {join_names(changed)}. Return {join_names(specs)}.")
        different = [field for field in fields if getattr(new, field) != getattr(spec, field)]
        if different and not getattr(augmentation, "evaluates", False):
            raise UserError(
                f"{part}.bind changes `{different[0]}` of the target {name}, but evaluations get the target unchanged. "
                "Set the attribute `evaluates = True`."
            )


def _as_batch_augmentation(augmentation: Any, specs: Mapping[str, TargetSpec], part: str) -> BatchAugmentation:
    """An augmentation as a function of (key, batch), also if it has the parameters (key, inputs, target).

    Args:
        augmentation: the augmentation.
        specs: the targets as it changes them.
        part: its name.
    """
    flags = {name: getattr(augmentation, name, False) for name in ("evaluates", "adds_inputs", "keeps_targets")}
    for name, flag in flags.items():
        check_flag(flag, f"{part}.{name}")
    signature = inspect.signature(augmentation)
    takes_batch, takes_pair = (can_take(signature, count) for count in (2, 3))
    if not takes_batch and not takes_pair:
        raise UserError(f"{part} takes {signature}. An augmentation must take (key, batch) or (key, inputs, target).")

    def augment(key: jax.Array, batch: Batch) -> Batch:
        own = copy_containers(batch)  # it may change the mappings in place
        if takes_batch:
            augmented = augmentation(key, own)
        else:
            pair = augmentation(key, own.inputs, own.target)
            check_augmented_pair(pair, part)
            inputs, target = pair
            augmented = batch._replace(inputs=inputs, targets=dict.fromkeys(batch.targets, target))
        changed = check_augmented(augmented, batch, specs, part, adds_inputs=flags["adds_inputs"])
        if flags["keeps_targets"]:
            check_kept_targets(changed, batch, part)
        return changed

    return BatchAugmentation(augment, **flags)


def _changes_inputs_alone(augmentation: Any) -> bool:
    """Whether an augmentation needs no target that isn't an image: it mixes no examples, and takes (key, batch)."""
    mixes = isinstance(augmentation, BindsTargets) or getattr(augmentation, "mixes_classes", False)
    return not mixes and can_take(inspect.signature(augmentation), 2)


def _augment_rows(augmentation: Any, part: str) -> BatchAugmentation:
    """An augmentation of examples of several rows, which changes each row as if it were an example without targets."""
    single = _as_batch_augmentation(augmentation, {}, part)

    def augment(key: jax.Array, batch: Batch) -> Batch:
        steps = next(jnp.shape(leaf)[1] for leaf in jax.tree.leaves(batch.inputs))
        inputs = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch.inputs)
        rows = Batch(inputs, {}, {}, weight=None, present=jnp.repeat(batch.present, steps), pixels=batch.pixels)
        changed = single.change(key, rows)
        if changed.weight is not None:
            raise UserError(f"{part} sets weights, and a row of a pair, or a view, has none. Remove it.")
        joined = jax.tree.map(lambda leaf: leaf.reshape(-1, steps, *leaf.shape[1:]), changed.inputs)
        return batch._replace(inputs=joined)

    return single._replace(change=augment, keeps_targets=True)


def build_group(group: str, static: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the parts of a group that may have several, in the order of their names, as the group is a set."""
    parts = {}
    for name, node in sorted(static[group].items()):
        with error_location(f"{group}.{name}"):
            parts[name] = build(node, numbers, element_hint(SCHEMA[group], name))
    return parts


def can_take(signature: inspect.Signature, count: int, *keywords: str) -> bool:
    """Whether a function with a signature can be called with `count` arguments by position, and others by keyword."""
    try:
        signature.bind(*[None] * count, **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def part_name(part: object) -> str:
    """The name of a part in messages."""
    return getattr(part, "__name__", type(part).__name__)
