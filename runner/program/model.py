"""Joins the layers of the feature columns and the architecture into one Flax module."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.types import Batch, Output, PixelRange, UserError
from runner.data.steps import flatten_steps
from runner.errors import LocatedError, error_location
from runner.program.column_groups import apply_layers
from runner.program.join_columns import join_groups
from runner.program.returns import check_output

Arrays = Mapping[str, Any]
Augment: TypeAlias = Callable[[Batch], Batch]
CALIBRATION = "calibration"  # the Flax collection of the temperatures


class Model(nn.Module):
    """Applies the layers of the columns, joins them into inputs, and applies the architecture.

    Attributes:
        columns: the layer of each column by name: (encoded, constants) -> an array, Padded or MultiHot.
        input_columns: the names of the columns of each input, by the name of the input.
        sparse: the names of the inputs that the architecture takes as MultiHot.
        heads: the shape of the logits of one example, by target name.
        architecture: the network.
        pixel_ranges: by name of a column of images, the function `pixel_range`, for augmentations.
        links: by target name, the function or the module that makes predictions of logits, where a loss has one
            (`Loss.link`, `Loss.head`).
        calibrated: the names of the targets whose logits are divided by a temperature, but in training.
        repeat: repeats the inputs of each row, before augmentations change each copy by itself: (B, …) -> (B, copies,
            …). None: they come once.
    """

    columns: Mapping[str, Callable[..., Any]]
    input_columns: Mapping[str, tuple[str, ...]]
    sparse: frozenset[str]
    heads: Mapping[str, tuple[int, ...]]
    architecture: nn.Module
    pixel_ranges: Mapping[str, Callable[..., PixelRange]] = dataclasses.field(default_factory=dict)
    links: Mapping[str, Callable[[jax.Array], jax.Array]] = dataclasses.field(default_factory=dict)
    calibrated: frozenset[str] = frozenset()
    repeat: Callable[[jax.Array], jax.Array] | None = None

    def setup(self) -> None:
        self.temperatures = {
            name: self.variable(CALIBRATION, name, jnp.ones, (), jnp.float32) for name in sorted(self.calibrated)
        }

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
        examples = len(jax.tree.leaves(encoded)[0])
        rows, steps = flatten_steps(encoded)
        groups = apply_layers(self.columns, rows, constants)
        sparse = self.sparse if steps is None else ()
        inputs = {}
        for name, keys in self.input_columns.items():
            with error_location(f"feature.inputs.{name}"):
                inputs[name] = join_groups(groups, keys, sparse=name in sparse)
        if steps is not None:
            inputs = {name: each.reshape(-1, steps, *each.shape[1:]) for name, each in inputs.items()}
        if self.repeat is not None:
            inputs = jax.tree.map(self.repeat, inputs)
        if batch is None:
            batch = Batch({}, {}, {}, weight=None, present=jnp.ones(examples, bool))
        batch = batch._replace(inputs=inputs)
        if augment is not None:
            batch = augment(batch._replace(pixels=self._find_pixels(constants)))._replace(pixels={})
        check_inputs(batch.inputs, self.architecture)
        output = self.architecture(**batch.inputs, train=train)
        check_output(output, self.architecture, self.heads, examples)
        output = apply_links(split_heads(output, self.heads), self.links)
        return batch, output if train else self._calibrate(output)

    def _calibrate(self, output: Output) -> Output:
        """The output with its logits divided by their temperatures."""
        if not isinstance(output.outputs, Mapping):
            return output
        scaled = {name: output.outputs[name] / variable.value for name, variable in self.temperatures.items()}
        return output._replace(outputs={**output.outputs, **scaled})

    def _find_pixels(self, constants: Mapping[str, Arrays]) -> dict[str, PixelRange]:
        """What the numbers mean of each input that is one column of images."""
        only = {name: keys[0] for name, keys in self.input_columns.items() if len(keys) == 1}
        return {name: self.pixel_ranges[key](constants[key]) for name, key in only.items() if key in self.pixel_ranges}


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


def apply_links(output: Output, links: Mapping[str, Callable[[jax.Array], jax.Array]]) -> Output:
    """The output with predictions in place of the logits of the targets that have a link."""

    def link(heads: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return {name: links[name](logits) if name in links else logits for name, logits in heads.items()}

    if not links or output.outputs is None:
        return output
    heads = cast("Mapping[str, jax.Array]", output.outputs)
    return output._replace(outputs=link(heads), auxiliary=tuple((w, link(each)) for w, each in output.auxiliary))


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
        LocatedError: the names differ, unless both have exactly one input: then its name doesn't matter.
    """
    is_required = list_inputs(architecture)
    if len(input_columns) == len(is_required) == 1:
        return {next(iter(is_required)): next(iter(input_columns.values()))}
    needed = {name for name, required in is_required.items() if required and not adding}
    if not needed <= input_columns.keys() <= is_required.keys():
        raise LocatedError(
            "feature.inputs",
            f"the inputs are {', '.join(sorted(input_columns))}. {type(architecture).__name__} takes "
            f"{', '.join(sorted(is_required))}. Use these names.",
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


def measure_sparsity(parameters: Any) -> float:
    """The share of the elements of kernels and embeddings that are exactly 0; 0 if there are none of these arrays."""
    weights = [np.asarray(leaf) for leaf in jax.tree.leaves(parameters) if leaf.ndim > 1]
    size = sum(leaf.size for leaf in weights)
    return 1 - sum(int(np.count_nonzero(leaf)) for leaf in weights) / size if size else 0.0
