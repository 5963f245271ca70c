"""Checks the values that the parts of a program return: architecture, loss, metrics, schedule and so on.

The checks run while the program is traced, so a wrong shape is an error before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from components.closest import join_names, suggest_name
from components.types import Batch, Duration, Group, Output, Schedule, TargetSpec, UserError
from runner.data.encode import config_key, target_column
from runner.errors import LocatedError

MAX_ELEMENTS = 2**48  # of one array: a petabyte of float32


def check_numbers(value: Any, shape: tuple[int, ...], part: str, expected: str) -> None:
    """Raises UserError unless a value is an array of floats with a given shape, or for the shape () any number.

    Args:
        value: the value that a part returned.
        shape: the expected shape.
        part: the name of the part, for the message.
        expected: the expected value in words, for the message.
    """
    has_shape = _is_numeric(value) and jnp.shape(value) == shape
    if not has_shape or (shape and not jnp.issubdtype(jnp.result_type(value), jnp.floating)):
        raise UserError(f"{part} returns {_describe(value)}. It must return {expected}, float32 {shape}.")


def check_truth(value: Any, part: str) -> None:
    """Raises UserError unless a value is one truth value, bool ()."""
    if not _is_numeric(value) or jnp.shape(value) != () or not _is_truth(value):
        raise UserError(f"{part} returns {_describe(value)}. It must return one truth value, bool ().")


def check_outputs(outputs: Any, part: str) -> int:
    """The number of logits that `Loss.outputs` returns. Raises UserError unless it is a whole number above 0."""
    is_whole = isinstance(outputs, int | np.integer) and not isinstance(outputs, bool)
    if not is_whole or outputs < 1:
        raise UserError(f"{part}.outputs returns {outputs!r}. It must return a whole number above 0.")
    return int(outputs)


def check_step(returned: Any, parameters: Any, part: str) -> None:
    """Raises UserError unless a step returns ((value, auxiliary results), gradients)."""
    is_pair = isinstance(returned, tuple) and len(returned) == 2
    result = returned[0] if is_pair else None
    if not isinstance(result, tuple) or len(result) != 2 or isinstance(result[0], Mapping):
        first = f", the first of which is {_describe(result)}" if is_pair else ""
        raise UserError(
            f"{part} returns {_describe(returned)}{first}. It must return ((value, auxiliary results), gradients), as "
            "jax.value_and_grad(objective, has_aux=True)(parameters) does."
        )
    value, auxiliary = result
    check_numbers(value, (), part, "the value of the objective")
    if not isinstance(auxiliary, tuple) or len(auxiliary) != 2 or not isinstance(auxiliary[1], Mapping):
        raise UserError(
            f"{part} returns {_describe(auxiliary)} as the auxiliary results. It must return those of the objective."
        )
    check_same_shapes(returned[1], parameters, f"{part}: `gradients`")


def check_output(output: Any, architecture: Any, heads: Mapping[str, tuple[int, ...]], examples: int) -> None:
    """Raises UserError unless an architecture returns an `Output` with logits of the right shapes.

    Args:
        output: the value that it returned.
        architecture: the architecture.
        heads: the shape of the logits of one example, by target name.
        examples: the number of examples.
    """
    part = type(architecture).__name__
    if not isinstance(output, Output):
        raise UserError(
            f"{part} returns {_describe(output)}. It must return an Output; see titrate --help components.types.Output"
        )
    returned = {} if output.outputs is None else {"logits": output.outputs}
    returned |= {f"auxiliary.{number}": logits for number, (_, logits) in enumerate(output.auxiliary)}
    for key, logits in returned.items():
        if isinstance(logits, Mapping):
            if logits.keys() != heads.keys():
                raise UserError(f"{part} returns the heads {', '.join(logits)}. It must return {', '.join(heads)}.")
            for name, shape in heads.items():
                expected = (examples, *shape)
                check_numbers(logits[name], expected, f"{part}: `{key}.{name}`", "the outputs of each example")
        elif heads:
            target, (*positions, _) = next(iter(heads.items()))
            expected = (examples, *positions, sum(shape[-1] for shape in heads.values()))
            _check_pixels(logits, expected, f"{part}: `{key}`", config_key(target_column(target)))
            check_numbers(logits, expected, f"{part}: `{key}`", "`outputs` numbers for each example")
    for loss, values in output.losses.items():
        check_numbers(values, (examples,), f"{part}: `losses.{loss}`", "a number for each example")


def _check_pixels(logits: Any, expected: tuple[int, ...], part: str, target: str) -> None:
    """Raises LocatedError for logits of another height and width than the target's, as of resized images or masks.

    Args:
        logits: what the network returns.
        expected: the shape that it must have.
        part: its name in the message.
        target: the key of the target.
    """
    shape = jnp.shape(logits) if _is_numeric(logits) else ()
    (_, *sides, outputs), (_, *own, count) = expected, (*shape, *[0] * 2)[: max(len(shape), 2)]
    if len(sides) == len(own) == 2 and sides != own and outputs == count:
        (height, width), (own_height, own_width) = sides, own
        raise LocatedError(
            target,
            f"{part} has {own_height} x {own_width} pixels, but the target {height} x {width}. If the network keeps "
            f"the size of images, set {target}.size=[{own_height},{own_width}], or "
            f"feature.columns.NAME.size=[{height},{width}] for the images. Otherwise choose a network that returns "
            f"{height} x {width} pixels.",
        )


def check_metric(metric: Any, part: str) -> None:
    """Raises UserError unless the attributes of a metric are truth values."""
    for name in ("higher_is_better", "collects"):
        check_flag(getattr(metric, name), f"{part}.{name}")


def check_flag(value: Any, name: str) -> None:
    """Raises UserError unless an attribute of a part, `Part.attribute`, is True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}. It must be True or False.")


def check_measured(measured: Any, part: str, rows: int | None) -> None:
    """Raises UserError unless `Metric.measure` returns arrays by name: sums, or rows if the metric `collects`.

    Args:
        measured: the value that it returned.
        part: the name of the metric, for the message.
        rows: the number of rows of each array, if the metric `collects`. None: the arrays are sums of any shape.
    """
    if not isinstance(measured, Mapping) or not all(map(_is_numeric, measured.values())):
        raise UserError(f"{part}.measure returns {_describe(measured)}. It must return a mapping of names to arrays.")
    for name, value in measured.items():
        if rows is not None and jnp.shape(value)[:1] != (rows,):
            raise UserError(
                f"{part}.measure returns `{name}` as {_describe(value)}. With `collects` it must return {rows} rows."
            )
        if rows is None and _is_truth(value):
            raise UserError(
                f"{part}.measure returns `{name}` as {_describe(value)}. Sums are numbers. Return a count, such as "
                "jnp.sum(values)."
            )


def check_sums_of_batch(sums: Mapping[str, Any], larger: Mapping[str, Any], part: str) -> None:
    """Raises UserError if the shapes of a metric's sums depend on the size of the batch.

    Args:
        sums: the sums of a batch.
        larger: those of a batch with one more example.
        part: the name of the metric, for the message.
    """
    for name, value in sums.items():
        if jnp.shape(value) != jnp.shape(larger[name]):
            raise UserError(
                f"{part}.measure returns `{name}` as {_describe(value)}, values of each example. With `collects = "
                "False` it must return sums over the batch, such as jnp.sum(jnp.where(batch.mask, values, 0)). With "
                "`collects = True` it returns a row of each example."
            )


def check_result(result: Any, part: str) -> None:
    """Raises UserError unless `Metric.result` returns one number."""
    if not _is_numeric(result) or np.ndim(result) > 0:
        raise UserError(f"{part}.result returns {_describe(result)}. It must return one number.")


def check_augmented_pair(augmented: Any, part: str) -> None:
    """Raises UserError unless an augmentation with `inputs` and `target` returns a pair of them."""
    if not isinstance(augmented, tuple) or len(augmented) != 2 or not isinstance(augmented[0], Mapping):
        raise UserError(
            f"{part} returns {_describe(augmented)}. It must return a pair, the inputs by name and the target."
        )


def check_augmented(
    augmented: Any, batch: Batch, specs: Mapping[str, TargetSpec], part: str, *, adds_inputs: bool
) -> Batch:
    """The batch that an augmentation returns. Raises UserError unless its arrays fit the batch that it got.

    The program can't raise an error for the values of traced arrays. If a weight is negative, or if `present` has other
    values, the weights become NaN, so that the objective isn't finite.

    Args:
        augmented: the value that it returned.
        batch: the batch before the augmentation.
        specs: the targets after the augmentation, which it may change.
        part: the name of the augmentation, for the message.
        adds_inputs: whether it may add inputs.
    """
    if not isinstance(augmented, Batch):
        raise UserError(
            f"{part} returns {_describe(augmented)}. It must return a Batch; see titrate --help components.types.Batch"
        )
    if not adds_inputs or batch.inputs.keys() - augmented.inputs.keys():
        remedy = "" if adds_inputs else " An augmentation that adds inputs has the attribute `adds_inputs = True`."
        _check_names("inputs", augmented.inputs, batch.inputs, part, remedy)
    _check_names("targets", augmented.targets, batch.targets, part)
    for name in augmented.inputs.keys() - batch.inputs.keys():
        _check_added(augmented.inputs[name], len(batch.present), f"{part}: the added input `{name}`")
    for name in batch.inputs:
        check_same_shapes({f"inputs.{name}": augmented.inputs[name]}, {f"inputs.{name}": batch.inputs[name]}, part)
    examples = batch.present.shape
    expected: dict[str, tuple[Any, tuple[int, ...], Any]] = {"present": (augmented.present, examples, jnp.bool_)}
    if augmented.weight is not None or batch.weight is not None:
        expected["weight"] = (augmented.weight, examples, jnp.float32)
    for name, target in augmented.targets.items():
        dtype = jnp.float32 if specs[name].kind == "real" else jnp.int32
        expected[f"targets.{name}"] = (target, (*examples, *specs[name].shape), dtype)
    for field in ("masks", "soft"):
        for name in getattr(augmented, field):
            if name not in specs:
                raise UserError(f"{part} sets `{field}.{name}`. There is no target {name}. {suggest_name(name, specs)}")
    for name in {**batch.masks, **augmented.masks}:
        shape = specs[name].shape if specs[name].kind == "classes" else ()
        expected[f"masks.{name}"] = (augmented.masks.get(name), (*examples, *shape), jnp.bool_)
    for name, soft in augmented.soft.items():
        if specs[name].kind == "real":
            raise UserError(f"{part} sets `soft.{name}`, but the target {name} has no classes. Leave it out.")
        shape = (*specs[name].logits_shape, specs[name].outputs)
        expected[f"soft.{name}"] = (soft, (*examples, *shape), jnp.float32)
    for name, (value, shape, dtype) in expected.items():
        if not _is_numeric(value) or jnp.shape(value) != shape or jnp.result_type(value) != dtype:
            allowed = f"{jnp.dtype(dtype)} {shape}"
            raise UserError(f"{part} returns `{name}` as {_describe(value)}. It must return {allowed}.")
    if augmented.weight is batch.weight and augmented.present is batch.present:
        return augmented
    weight = jnp.ones(examples, jnp.float32) if augmented.weight is None else augmented.weight
    is_valid = (weight >= 0).all() & (augmented.present == batch.present).all()
    return augmented._replace(weight=jnp.where(is_valid, weight, jnp.float32(jnp.nan)), present=batch.present)


def check_kept_targets(augmented: Batch, batch: Batch, part: str) -> None:
    """Raises UserError if an augmentation that says that it keeps the targets returns other arrays for them."""
    kept, found = (jax.tree.leaves(each._replace(inputs={})) for each in (batch, augmented))
    if len(kept) != len(found) or any(new is not old for new, old in zip(found, kept, strict=True)):
        raise UserError(
            f"{part} has the attribute `keeps_targets = True`, but returns other arrays for targets, masks or weights. "
            "Return the same ones (a function under jax.jit copies them), or remove the attribute."
        )


def _check_added(value: Any, examples: int, part: str) -> None:
    leaves = jax.tree.leaves(value)
    if not leaves or not all(_is_numeric(leaf) and jnp.shape(leaf)[:1] == (examples,) for leaf in leaves):
        raise UserError(f"{part} is {_describe(value)}. It must have {examples} rows, one for each example.")


def _check_names(
    field: str, returned: Mapping[str, Any], names: Mapping[str, Any], part: str, remedy: str = ""
) -> None:
    if returned.keys() != names.keys():
        found, allowed = (", ".join(each) or "none" for each in (returned, names))
        raise UserError(f"{part} returns the {field} {found}. It must return {allowed}.{remedy}")


def check_paths(found: Any, paths: Sequence[str], part: str) -> frozenset[str]:
    """The paths of parameters that a member of the update set chooses. Raises UserError for anything else.

    Args:
        found: the value that it returned.
        paths: the paths of all parameters.
        part: the name of the method, for the message.
    """
    if not isinstance(found, Collection) or isinstance(found, str):
        raise UserError(f"{part} returns {_describe(found)}. It must return a set of the paths that it gets.")
    for path in found:
        if path not in paths:
            raise UserError(f"{part} returns {path!r}, which is no parameter. {suggest_name(str(path), paths)}")
    return frozenset(found)


def check_until(until: Any, part: str) -> None:
    """Raises UserError unless the attribute `until` of a member that freezes parameters is a duration or None."""
    if until is not None and not isinstance(until, Duration):
        raise UserError(f"{part}.until is {until!r}. It must be a components.types.Duration, or None.")


def check_groups(groups: Any, part: str) -> None:
    """Raises UserError unless the attribute `groups` of a member has groups of parameters by name."""
    if not isinstance(groups, Mapping) or not all(isinstance(group, Mapping) for group in groups.values()):
        raise UserError(f"{part}.groups is {_describe(groups)}. It must be a mapping of names to groups.")
    known = Group.__annotations__
    for name, group in groups.items():
        optimizer, schedule = group.get("optimizer"), group.get("schedule")
        if unknown := sorted(group.keys() - known.keys()):
            raise UserError(f"{part}.groups.{name} has the key {unknown[0]}. {suggest_name(unknown[0], known)}")
        if optimizer is not None and not callable(optimizer):
            raise UserError(
                f"{part}.groups.{name}.optimizer is {_describe(optimizer)}. It must be a function of the learning rate "
                "that returns an optimizer, such as optax.sgd."
            )
        if schedule is not None and not isinstance(schedule, Schedule):
            raise UserError(
                f"{part}.groups.{name}.schedule is {_describe(schedule)}. It must be a components.types.Schedule."
            )


def _check_by_path(values: Any, paths: Sequence[str], part: str, noun: str) -> None:
    """Raises UserError unless a method returns a mapping by paths of parameters. `noun`: what its values are."""
    if not isinstance(values, Mapping):
        raise UserError(f"{part} returns {_describe(values)}. It must return the {noun} of each path.")
    check_paths(values, paths, part)


def check_assigned(assigned: Any, paths: Sequence[str], groups: Collection[str], part: str) -> None:
    """Raises UserError unless `assign` of an update returns a group for the path of each parameter.

    Args:
        assigned: the value that it returned.
        paths: the paths of all parameters.
        groups: the names of the groups.
        part: the name of the method, for the message.
    """
    _check_by_path(assigned, paths, part, "group")
    for path in paths:
        if path not in assigned:
            raise UserError(f"{part} returns no group for {path}. It must return one for each path.")
        if assigned[path] not in groups:
            names = join_names(groups)
            raise UserError(f"{part} returns the group {assigned[path]!r} for {path}. Allowed: {names}.")


def check_depths(depths: Any, paths: Sequence[str], part: str) -> None:
    """Raises UserError unless `depths` of an update returns a whole number, 0 or more, for each parameter.

    Args:
        depths: the value that it returned.
        paths: the paths of all parameters.
        part: the name of the method, for the message.
    """
    _check_by_path(depths, paths, part, "depth")
    for path in paths:
        depth = depths.get(path)
        if not isinstance(depth, int) or depth < 0:
            raise UserError(f"{part} returns the depth {depth!r} for {path}. It must return a whole number, 0 or more.")


def check_same_shapes(changed: Any, tree: Any, part: str) -> None:
    """Raises UserError unless a part returns a tree of the same structure, shapes and dtypes as it got.

    Args:
        changed: the value that it returned.
        tree: the tree that it got, such as the parameters.
        part: the name of the part, for the message.
    """
    old, new = (jax.tree_util.tree_leaves_with_path(one) for one in (tree, changed))
    if [path for path, _ in old] != [path for path, _ in new]:
        raise UserError(f"{part} returns {_describe(changed)}. It must return a tree of the structure that it got.")
    for (path, old_leaf), (_, leaf) in zip(old, new, strict=True):
        if not _is_numeric(leaf) or (jnp.shape(leaf), jnp.result_type(leaf)) != (old_leaf.shape, old_leaf.dtype):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            allowed = f"{old_leaf.dtype} {old_leaf.shape}"
            raise UserError(f"{part} returns `{name}` as {_describe(leaf)}. It must return {allowed}.")


def check_update(optimizer: Any, part: str) -> None:
    """Raises UserError unless a part, such as a method of an update, returns an optimizer."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise UserError(f"{part} returns {_describe(optimizer)}. It must return an optax.GradientTransformation.")


def check_step_of_optimizer(updated: Any, gradients: Any, state: Any, part: str) -> None:
    """Raises UserError unless `update` of an optimizer returns a pair: the updates, and its new state.

    Args:
        updated: the value that it returned.
        gradients: the gradients, which the updates have the shapes of.
        state: the state before the step.
        part: the name of the part that returned the optimizer.
    """
    if not isinstance(updated, tuple) or len(updated) != 2:
        raise UserError(f"{part}: `update` returns {_describe(updated)}. It must return the updates and the new state.")
    check_same_shapes(updated[0], gradients, f"{part}: `update`")
    check_same_shapes(updated[1], state, f"{part}: the state that `update`")


def check_rates(rates: Any, part: str) -> None:
    """Raises UserError unless `Schedule.values` returns numbers by name, among them the learning rate."""
    if not isinstance(rates, Mapping) or "learning_rate" not in rates:
        raise UserError(f"{part}.values returns {_describe(rates)}. It must return a mapping with `learning_rate`.")
    for name, value in rates.items():
        check_numbers(value, (), f"{part}.values: `{name}`", "one number")


def _is_numeric(value: Any) -> bool:
    """Whether a value is an array or a Python number."""
    return isinstance(value, jax.Array | np.ndarray | np.generic | int | float)


def _is_truth(value: Any) -> bool:
    """Whether a number or an array has truth values."""
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.bool_))


def _describe(value: Any, depth: int = 2) -> str:
    """Describes a value in an error: the dtype and shape of an array, else the type.

    Args:
        value: the value.
        depth: of how many nested mappings the items are described.
    """
    if _is_numeric(value):
        return f"{jnp.result_type(value)} {jnp.shape(value)}"
    if isinstance(value, Mapping) and not depth:
        return "a mapping"
    if isinstance(value, Mapping):
        items = ", ".join(f"`{name}` to {_describe(item, depth - 1)}" for name, item in value.items())
        return f"a mapping of {items or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def check_shapes(variables: Any) -> None:
    """Raises UserError for an array with more elements than any machine holds. `memory` checks smaller ones."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if math.prod(leaf.shape) > MAX_ELEMENTS:
            name = "/".join(str(key.key) for key in path[1:])
            raise UserError(
                f"`{name}` would have the shape {leaf.shape}, too large for any machine. Choose smaller sizes."
            )
