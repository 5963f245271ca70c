"""Checks the values that the parts of a program return: architecture, loss, metrics, schedule and so on.

The checks run while the program is traced, so a wrong shape is an error before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from components.types import Batch, Output, UserError

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
        raise UserError(f"{part} returns {_describe(output)}. It must return an Output; see components.types.Output.")
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
            *positions, _ = next(iter(heads.values()))
            expected = (examples, *positions, sum(shape[-1] for shape in heads.values()))
            check_numbers(logits, expected, f"{part}: `{key}`", "`outputs` numbers for each example")
    for loss, values in output.losses.items():
        check_numbers(values, (examples,), f"{part}: `losses.{loss}`", "a number for each example")


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


def check_result(result: Any, part: str) -> None:
    """Raises UserError unless `Metric.result` returns one number."""
    if not _is_numeric(result) or np.ndim(result) > 0:
        raise UserError(f"{part}.result returns {_describe(result)}. It must return one number.")


def check_augmented_inputs(augmented: Any, inputs: Mapping[str, Any], target: jax.Array, part: str) -> None:
    """Raises UserError unless an augmentation returns a pair: the same inputs by name, and the target.

    The number of examples must stay the same.

    Args:
        augmented: the value that it returned.
        inputs: the inputs before the augmentation.
        target: the target before the augmentation.
        part: the name of the augmentation, for the message.
    """
    if not isinstance(augmented, tuple) or len(augmented) != 2 or not isinstance(augmented[0], Mapping):
        raise UserError(
            f"{part} returns {_describe(augmented)}. It must return a pair, the inputs by name and the target."
        )
    new_inputs, new_target = augmented
    if new_inputs.keys() != inputs.keys():
        raise UserError(f"{part} returns the inputs {', '.join(new_inputs)}. It must return {', '.join(inputs)}.")
    _check_examples({**new_inputs, "target": new_target}, len(target), part)


def check_augmented(augmented: Any, batch: Batch, part: str) -> None:
    """Raises UserError unless an augmentation returns a batch of as many examples, with the same targets.

    Args:
        augmented: the value that it returned.
        batch: the batch before the augmentation.
        part: the name of the augmentation, for the message.
    """
    if not isinstance(augmented, Batch):
        raise UserError(f"{part} returns {_describe(augmented)}. It must return a Batch; see components.types.Batch.")
    if augmented.targets.keys() != batch.targets.keys():
        raise UserError(
            f"{part} returns the targets {', '.join(augmented.targets) or 'none'}. "
            f"It must return {', '.join(batch.targets) or 'none'}."
        )
    weight = {} if augmented.weight is None else {"weight": augmented.weight}
    values = {**augmented.inputs, **augmented.targets, **augmented.masks, **augmented.soft, **weight}
    _check_examples(values, len(batch.present), part)


def _check_examples(values: Mapping[str, Any], examples: int, part: str) -> None:
    for name, value in values.items():
        if any(jnp.shape(leaf)[:1] != (examples,) for leaf in jax.tree.leaves(value)):
            raise UserError(f"{part} returns `{name}` as {_describe(value)}. It must return {examples} examples.")


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


def check_update(optimizer: Any, member: Any, method: str) -> None:
    """Raises UserError unless a method of an update returns an optimizer."""
    if not isinstance(optimizer, optax.GradientTransformation):
        part = f"{type(member).__name__}.{method}"
        raise UserError(f"{part} returns {_describe(optimizer)}. It must return an optax.GradientTransformation.")


def check_rates(rates: Any, part: str) -> None:
    """Raises UserError unless `Schedule.values` returns numbers by name, among them the learning rate."""
    if not isinstance(rates, Mapping) or "learning_rate" not in rates:
        raise UserError(f"{part}.values returns {_describe(rates)}. It must return a mapping with `learning_rate`.")
    for name, value in rates.items():
        check_numbers(value, (), f"{part}.values: `{name}`", "one number")


def _is_numeric(value: Any) -> bool:
    """Whether a value is an array or a Python number."""
    return isinstance(value, jax.Array | np.ndarray | np.generic | int | float)


def _describe(value: Any) -> str:
    """Describes a value in an error: the dtype and shape of an array, else the type."""
    if _is_numeric(value):
        return f"{jnp.result_type(value)} {jnp.shape(value)}"
    if isinstance(value, Mapping):
        items = ", ".join(f"`{name}` to {_describe(item)}" for name, item in value.items())
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
