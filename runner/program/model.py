"""Joins feature columns and an architecture into one Flax module. Neither depends on the other."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import MultiHot, Output, Padded, UserError, register_pytrees
from runner.program.returns import check_output

register_pytrees()
Arrays = Mapping[str, Any]
Augment: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]  # (inputs by name, target) -> the same, augmented
MAX_DENSE_SIZE = 4096  # of the sparse columns of an input with dense columns too. A larger input is sparse.


class Model(nn.Module):
    """The layers of the columns, joined into inputs, and the architecture that takes the inputs.

    Attributes:
        columns: the layer of each column: (encoded, constants) -> an array, Padded or MultiHot.
        inputs: the columns of each input.
        sparse: the inputs that the architecture takes as MultiHot.
        architecture: the network.
    """

    columns: Mapping[str, Callable[..., Any]]
    inputs: Mapping[str, tuple[str, ...]]
    sparse: frozenset[str]
    architecture: nn.Module

    def __call__(
        self,
        encoded: Mapping[str, Arrays],
        constants: Mapping[str, Arrays],
        target: jax.Array | None = None,
        *,
        train: bool,
        augment: Augment | None = None,
    ) -> tuple[Mapping[str, Any], Any, Output]:
        """Encoded columns of B examples and their target -> (inputs by name, target, the architecture's output).

        The returned inputs and target are those that the architecture saw, after `augment`.
        """
        arrays = {name: layer(encoded[name], constants[name]) for name, layer in self.columns.items()}
        inputs = {name: join([arrays[column] for column in columns]) for name, columns in self.inputs.items()}
        inputs = {name: value if name in self.sparse else as_dense(value) for name, value in inputs.items()}
        if augment is not None:
            inputs, target = augment(inputs, target)
        output = self.architecture(**inputs, train=train)
        check_output(output, self.architecture, len(jax.tree.leaves(encoded)[0]))
        return inputs, target, output


def join(arrays: list[Any]) -> Any:
    """Joins the arrays of an input's columns into (B, D). A lone array of any rank stays as it is."""
    if len(arrays) == 1:
        return arrays[0]
    if all(isinstance(array, Padded) for array in arrays):
        return _join_padded(arrays)
    sizes = [array.size for array in arrays if isinstance(array, MultiHot)]
    if len(sizes) == len(arrays):
        return _join_sparse(arrays)
    if wrong := [array for array in arrays if isinstance(array, Padded) or len(_shape(array)) != 2]:
        shape = _shape(wrong[0])
        raise UserError(
            f"columns that share an input must be vectors (B, D); one of them is {shape}: give it its own input"
        )
    if sum(sizes) > MAX_DENSE_SIZE:
        return _join_sparse([as_sparse(array) for array in arrays])
    return jnp.concatenate([as_dense(array) for array in arrays], axis=1)


def _shape(array: Any) -> tuple[int, ...]:
    if isinstance(array, MultiHot):
        return len(array.ids), array.size
    return array.values.shape if isinstance(array, Padded) else array.shape


def as_sparse(array: Any) -> MultiHot:
    """An array (B, D) as MultiHot, with an entry for each element. MultiHot stays as it is."""
    if isinstance(array, MultiHot):
        return array
    places = jnp.arange(array.shape[1], dtype=jnp.int32)[None]
    return MultiHot(jnp.broadcast_to(places, array.shape), array, array.shape[1])


def as_dense(array: Any) -> Any:
    """MultiHot as an array (B, size). Anything else stays as it is."""
    if not isinstance(array, MultiHot):
        return array
    if array.ids.shape[1] == 1:
        return jnp.where(array.ids == jnp.arange(array.size)[None], array.weights, 0)
    rows = jnp.arange(array.ids.shape[0])[:, None]
    places = jnp.where(array.ids < 0, array.size, array.ids)  # a negative index would count from the end
    return jnp.zeros((len(rows), array.size), jnp.float32).at[rows, places].add(array.weights, mode="drop")


def _join_sparse(parts: list[MultiHot]) -> MultiHot:
    """Concatenates sparse vectors."""
    start, ids = 0, []
    for part in parts:
        ids.append(jnp.where((part.ids >= 0) & (part.ids < part.size), part.ids + start, -1))
        start += part.size
    return MultiHot(jnp.concatenate(ids, axis=1), jnp.concatenate([part.weights for part in parts], axis=1), start)


def _join_padded(columns: list[Padded]) -> Padded:
    """Concatenates sequences (B, T, D) along D. Shorter ones are padded with zeros to the longest."""
    if wrong := [column.values.shape for column in columns if column.values.ndim != 3]:
        raise UserError(f"sequences that share an input must be (B, T, D); one of them is {wrong[0]}")
    longest = max(column.mask.shape[1] for column in columns)
    padded = [_pad(column, longest) for column in columns]
    values = jnp.concatenate([jnp.where(one.mask[..., None], one.values, 0) for one in padded], axis=2)
    return Padded(values, functools.reduce(jnp.logical_or, [one.mask for one in padded]))


def _pad(column: Padded, length: int) -> Padded:
    missing = length - column.mask.shape[1]
    return Padded(jnp.pad(column.values, ((0, 0), (0, missing), (0, 0))), jnp.pad(column.mask, ((0, 0), (0, missing))))


def sparse_inputs(architecture: nn.Module) -> frozenset[str]:
    """The inputs that an architecture takes as MultiHot, by the annotations of its `__call__`."""
    parameters = inspect.signature(architecture.__call__).parameters
    return frozenset(name for name, one in parameters.items() if re.search(r"\bMultiHot\b", str(one.annotation)))


def match_inputs(inputs: Mapping[str, tuple[str, ...]], architecture: nn.Module) -> dict[str, tuple[str, ...]]:
    """The columns of each input, under the architecture's own names. A single input may have any name."""
    taken = [name for name in inspect.signature(architecture.__call__).parameters if name != "train"]
    if len(inputs) == len(taken) == 1:
        return {taken[0]: next(iter(inputs.values()))}
    if set(inputs) != set(taken):
        raise UserError(
            f"feature.inputs gives {sorted(inputs)}, {type(architecture).__name__} takes {sorted(taken)}: use its names"
        )
    return dict(inputs)


def parameter_count(parameters: Any) -> int:
    """The number of parameters in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))
