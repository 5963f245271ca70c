"""Joins the layers of the feature columns and the architecture into one Flax module."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.types import Batch, MultiHot, Output, Padded, UserError, register_pytrees
from runner.program.returns import check_output

register_pytrees()
Arrays = Mapping[str, Any]
Augment: TypeAlias = Callable[[Batch], Batch]
MAX_DENSE_SIZE = 4096  # sparse columns above this total size stay sparse when they are joined with dense columns


class Model(nn.Module):
    """Applies the layers of the columns, joins them into inputs, and applies the architecture.

    Attributes:
        columns: the layer of each column by name: (encoded, constants) -> an array, Padded or MultiHot.
        input_columns: the names of the columns of each input, by the name of the input.
        sparse: the names of the inputs that the architecture takes as MultiHot.
        heads: the shape of the logits of one example, by target name.
        architecture: the network.
    """

    columns: Mapping[str, Callable[..., Any]]
    input_columns: Mapping[str, tuple[str, ...]]
    sparse: frozenset[str]
    heads: Mapping[str, tuple[int, ...]]
    architecture: nn.Module

    def __call__(
        self,
        encoded: Mapping[str, Arrays],
        constants: Mapping[str, Arrays],
        batch: Batch | None = None,
        *,
        train: bool,
        augment: Augment | None = None,
    ) -> tuple[Batch, Output]:
        """Applies the model to B examples.

        Args:
            encoded: the encoded arrays of each column.
            constants: the arrays `Constants.device` of each column.
            batch: the targets, masks and weights, without inputs. None: there are none.
            train: whether the model is trained: dropout is on, BatchNorm uses the batch.
            augment: changes the batch.

        Returns:
            The batch with the inputs, after `augment`, and the output of the architecture.
        """
        arrays = {key: layer(encoded[key], constants[key]) for key, layer in self.columns.items()}
        inputs = {name: join_columns([arrays[key] for key in keys], keys) for name, keys in self.input_columns.items()}
        inputs = {name: array if name in self.sparse else as_dense(array) for name, array in inputs.items()}
        examples = len(jax.tree.leaves(encoded)[0])
        if batch is None:
            batch = Batch({}, {}, {}, weight=None, present=jnp.ones(examples, bool))
        batch = batch._replace(inputs=inputs)
        if augment is not None:
            batch = augment(batch)
        check_inputs(batch.inputs, self.architecture)
        output = self.architecture(**batch.inputs, train=train)
        check_output(output, self.architecture, self.heads, examples)
        return batch, split_heads(output, self.heads)


def split_heads(output: Output, heads: Mapping[str, tuple[int, ...]]) -> Output:
    """The output with the logits of each target by its name, also in the auxiliary classifiers."""

    def split(logits: Any) -> Any:
        if logits is None or isinstance(logits, Mapping):
            return logits
        ends = np.cumsum([shape[-1] for shape in heads.values()], dtype=int).tolist()
        starts = [0, *ends][:-1]
        if len(heads) == 1:
            return {next(iter(heads)): logits}
        return {name: logits[..., start:end] for name, start, end in zip(heads, starts, ends, strict=True)}

    auxiliary = tuple((weight, split(logits)) for weight, logits in output.auxiliary)
    return output._replace(outputs=split(output.outputs), auxiliary=auxiliary)


def join_columns(arrays: list[Any], names: Sequence[str] = ()) -> Any:
    """Joins the arrays of an input's columns into (B, D). A single array of any rank stays as it is.

    Args:
        arrays: the arrays.
        names: the names of the columns, for the error if they can't be joined.
    """
    if len(arrays) == 1:
        return arrays[0]
    if all(isinstance(array, Padded) for array in arrays):
        return _join_padded(arrays)
    sparse_sizes = [array.size for array in arrays if isinstance(array, MultiHot)]
    if len(sparse_sizes) == len(arrays):
        return _join_sparse(arrays)
    wrong = [index for index, array in enumerate(arrays) if isinstance(array, Padded) or len(_shape(array)) != 2]
    if wrong:
        column = f"column `{names[wrong[0]]}`" if names else "a column"
        raise UserError(
            f"{column} has the shape {_shape(arrays[wrong[0]])}. Columns that share an input must be vectors (B, D). "
            "Give the column its own input."
        )
    if sum(sparse_sizes) > MAX_DENSE_SIZE:
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
    ids = jnp.arange(array.shape[1], dtype=jnp.int32)[None]
    return MultiHot(jnp.broadcast_to(ids, array.shape), array, array.shape[1])


def as_dense(array: Any) -> Any:
    """MultiHot as an array (B, size). Any other array stays as it is."""
    if not isinstance(array, MultiHot):
        return array
    if array.ids.shape[1] == 1:
        return jnp.where(array.ids == jnp.arange(array.size)[None], array.weights, 0)
    rows = jnp.arange(array.ids.shape[0])[:, None]
    ids = jnp.where(array.ids < 0, array.size, array.ids)  # a negative index would count from the end
    return jnp.zeros((len(rows), array.size), jnp.float32).at[rows, ids].add(array.weights, mode="drop")


def _join_sparse(columns: list[MultiHot]) -> MultiHot:
    """Concatenates sparse vectors."""
    ids, offset = [], 0
    for column in columns:
        is_valid = (column.ids >= 0) & (column.ids < column.size)
        ids.append(jnp.where(is_valid, column.ids + offset, -1))
        offset += column.size
    weights = [column.weights for column in columns]
    return MultiHot(jnp.concatenate(ids, axis=1), jnp.concatenate(weights, axis=1), offset)


def _join_padded(columns: list[Padded]) -> Padded:
    """Concatenates sequences (B, T, D) along D. Shorter ones are padded with zeros to the longest."""
    if wrong := [column.values.shape for column in columns if column.values.ndim != 3]:
        raise UserError(f"a sequence has the shape {wrong[0]}. Sequences that share an input must be (B, T, D).")
    longest = max(column.mask.shape[1] for column in columns)
    padded = [_pad(column, longest) for column in columns]
    values = [jnp.where(column.mask[..., None], column.values, 0) for column in padded]
    mask = functools.reduce(jnp.logical_or, [column.mask for column in padded])
    return Padded(jnp.concatenate(values, axis=2), mask)


def _pad(column: Padded, length: int) -> Padded:
    padding = length - column.mask.shape[1]
    return Padded(jnp.pad(column.values, ((0, 0), (0, padding), (0, 0))), jnp.pad(column.mask, ((0, 0), (0, padding))))


def sparse_inputs(architecture: nn.Module) -> frozenset[str]:
    """The names of the inputs that an architecture takes as MultiHot, by the annotations of its `__call__`."""
    parameters = inspect.signature(architecture.__call__).parameters.items()
    return frozenset(name for name, parameter in parameters if re.search(r"\bMultiHot\b", str(parameter.annotation)))


def match_inputs(
    input_columns: Mapping[str, tuple[str, ...]], architecture: nn.Module, adding: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The columns of each input, by the names that the architecture has for its inputs.

    Args:
        input_columns: the columns of each input in the configuration.
        architecture: the architecture. Its inputs with a default may be left out.
        adding: the names of the augmentations that may add inputs.

    Raises:
        UserError: the names differ, unless both have exactly one input: then its name doesn't matter.
    """
    is_required = list_inputs(architecture)
    if len(input_columns) == len(is_required) == 1:
        return {next(iter(is_required)): next(iter(input_columns.values()))}
    needed = {name for name, required in is_required.items() if required and not adding}
    if not needed <= input_columns.keys() <= is_required.keys():
        raise UserError(
            f"feature.inputs has the inputs {', '.join(sorted(input_columns))}. {type(architecture).__name__} takes "
            f"{', '.join(sorted(is_required))}. Use these names."
        )
    return dict(input_columns)


def list_inputs(architecture: nn.Module) -> dict[str, bool]:
    """The inputs that an architecture takes, and whether each is required."""
    parameters = inspect.signature(architecture.__call__).parameters.items()
    return {name: parameter.default is parameter.empty for name, parameter in parameters if name != "train"}


def check_inputs(inputs: Mapping[str, Any], architecture: nn.Module) -> None:
    """Raises UserError unless an architecture takes all inputs of a batch and needs no others."""
    is_required, part = list_inputs(architecture), type(architecture).__name__
    if any(
        parameter.kind is parameter.VAR_KEYWORD
        for parameter in inspect.signature(architecture.__call__).parameters.values()
    ):
        return
    for name in inputs:
        if name not in is_required:
            suggestion = suggest_name(name, is_required)
            raise UserError(f"{part} has no input {name}, which an augmentation adds. {suggestion}")
    for name, required in is_required.items():
        if required and name not in inputs:
            raise UserError(
                f"{part} needs an input {name}. If an augmentation adds it, it has none in predictions, nor in "
                "evaluations unless the augmentation has the attribute `evaluates = True`. Give it a default, None."
            )


def parameter_count(parameters: Any) -> int:
    """The number of elements in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))
