"""Checks of what parts return, made while the program is traced: a wrong shape is an error before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Output, UserError


def check_numbers(value: Any, shape: tuple[int, ...], who: str, what: str) -> None:
    """Raises UserError unless a value is an array of floats of a shape, or a number for the shape ().

    Args:
        value: what a part returned.
        shape: the shape that is needed.
        who: the part, for the message.
        what: what is needed, for the message.
    """
    right = _is_array(value) and jnp.shape(value) == shape
    if not right or (shape and not jnp.issubdtype(jnp.result_type(value), jnp.floating)):
        raise UserError(f"{who} returns {_describe(value)}; it must return {what}, float32 {shape}")


def check_output(output: Any, architecture: Any, examples: int) -> None:
    """Raises UserError unless an architecture returns an `Output` for so many examples."""
    name = type(architecture).__name__
    if not isinstance(output, Output):
        raise UserError(f"{name} must return an Output, not {_describe(output)}; see components.types.Output")
    heads = {} if output.logits is None else {"logits": output.logits}
    heads |= {f"auxiliary.{number}": logits for number, (_, logits) in enumerate(output.auxiliary)}
    for head, logits in heads.items():
        shape = (examples, architecture.outputs)
        check_numbers(logits, shape, f"{name}: `{head}`", "`outputs` numbers for each example")
    for loss, values in output.losses.items():
        check_numbers(values, (examples,), f"{name}: `losses.{loss}`", "a number for each example")


def check_sums(sums: Any, who: str, rows: int | None) -> None:
    """Raises UserError unless a metric returns arrays by name; if it needs rows, with one row for each example."""
    if not isinstance(sums, Mapping) or not all(map(_is_array, sums.values())):
        raise UserError(f"{who}.measure returns {_describe(sums)}; it must return a mapping of names to arrays")
    for name, value in sums.items():
        if rows is not None and jnp.shape(value)[:1] != (rows,):
            raise UserError(
                f"{who}.measure returns `{name}` as {_describe(value)}; `collects` is True, so {rows} rows are needed"
            )


def check_result(result: Any, who: str) -> None:
    """Raises UserError unless a metric returns one number."""
    if not _is_array(result) or np.ndim(result) > 0:
        raise UserError(f"{who}.result returns {_describe(result)}; it must return one number")


def check_augmented(changed: Any, inputs: Mapping[str, Any], target: jax.Array, who: str) -> None:
    """Raises UserError unless an augmentation returns as many examples of the same inputs, and their targets."""
    if not isinstance(changed, tuple) or len(changed) != 2 or not isinstance(changed[0], Mapping):
        raise UserError(f"{who} returns {_describe(changed)}; it must return a pair, the inputs by name and the target")
    if changed[0].keys() != inputs.keys():
        raise UserError(f"{who} returns the inputs {', '.join(changed[0])}; it must return {', '.join(inputs)}")
    for name, value in {**changed[0], "target": changed[1]}.items():
        if any(jnp.shape(leaf)[:1] != target.shape[:1] for leaf in jax.tree.leaves(value)):
            raise UserError(f"{who} returns `{name}` as {_describe(value)}; it must return {len(target)} examples")


def check_rates(rates: Any, who: str) -> None:
    """Raises UserError unless a schedule returns single numbers by name, the learning rate among them."""
    if not isinstance(rates, Mapping) or "learning_rate" not in rates:
        raise UserError(f"{who}.values returns {_describe(rates)}; it must return a mapping with `learning_rate`")
    for name, value in rates.items():
        check_numbers(value, (), f"{who}.values: `{name}`", "one number")


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic | int | float)


def _describe(value: Any) -> str:
    if _is_array(value):
        return f"{jnp.result_type(value)} {jnp.shape(value)}"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(f'`{name}` to {_describe(one)}' for name, one in value.items()) or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
