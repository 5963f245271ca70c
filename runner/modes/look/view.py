"""Encoded rows as the model gets them: the columns' layers are computed, without an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.types import HasPixelRange, NamesIds, Output, Padded, RowNumbers, TargetSpec, UnscalesImages
from runner.config.config import Config
from runner.config.scalars import split_scalars
from runner.data.batches import gather_rows
from runner.data.encode import is_input_column, target_column
from runner.data.load import Data, Features, program_column_names
from runner.figures.data import WHITE, paint_classes, scale_images
from runner.program.forward import apply_target_layer, random_key
from runner.program.join_columns import as_dense, join_columns
from runner.program.model import Model
from runner.program.objective import augment, decode_targets, make_targets
from runner.program.parts import ProgramInputs, build_augmentations, numbers_to_arrays
from runner.training.evaluator import mark_missing

MAX_EXPLAINED = 24  # classes of pixels


@dataclass(frozen=True)
class Examples:
    """A batch of B examples on the host. Arrays are (B, …) or `Padded`.

    Attributes:
        rows: the rows' numbers in the data, (B,).
        columns: the output of each column's layer; a `MultiHot` for categories.
        inputs: the inputs of the architecture.
        targets: the targets as losses get them, by name.
        id_names: by column of ids, the function (id) -> the value that it stands for, or None.
    """

    rows: np.ndarray
    columns: Mapping[str, Any]
    inputs: Mapping[str, Any]
    targets: Mapping[str, np.ndarray]
    id_names: Mapping[str, Callable[[int], str | None]]


@dataclass(frozen=True)
class View:
    """Computes what the model gets from encoded data."""

    data: Data
    features: Features

    @cached_property
    def targets(self) -> dict[str, TargetSpec]:
        """The targets with their fitted values, by name."""
        return self.features.bind_targets(self.data.constants)

    def compute_targets(self, split: str) -> dict[str, np.ndarray]:
        """The targets of a split by name, as `decode_targets` returns them.

        Targets that are images are left out.
        """
        names = [name for name, spec in self.targets.items() if not spec.is_image]
        return {name: self.decode(name, self.load(target_column(name), self.data.splits[split])) for name in names}

    def decode(self, name: str, target: Any) -> np.ndarray:
        """Converts a target as losses get it, (N, …), to the form that `compute_targets` returns."""
        return decode_targets(self.targets[name], target)

    def examples(self, rows: np.ndarray, seed: tuple[int, int, int] | None = None) -> Examples:
        """Computes the examples of some rows of `data`.

        Args:
            rows: the rows.
            seed: the seed, the epoch and the position of the first row, with which they are decoded for training. None:
                for evaluation.
        """
        names = [name for name in program_column_names(self.features) if is_input_column(name)]
        encoded = gather_rows({name: self.data.encoded[name] for name in names}, rows, None, seed)
        fitted = self.data.constants
        constants = {name: {**fitted[name].device, **fitted[name].init_only} for name in names}
        layers = {name: self.features.columns[name].layer(fitted[name].static) for name in names}
        model = Model(layers, {name: (name,) for name in names}, frozenset(names), {}, _NoArchitecture())
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}  # the layer of a column may have parameters
        (batch, _), _ = model.init_with_output(keys, encoded, constants, train=False)
        columns = batch.inputs
        inputs = {
            name: _join_inputs(
                [columns[column] for column in listed], listed, has_steps=self.features.examples is not None
            )
            for name, listed in self.features.inputs.items()
        }
        targets = {name: np.asarray(self.load(target_column(name), rows)) for name in self.features.targets}
        numbers = rows if self.data.row_numbers is None else self.data.row_numbers[rows]
        found = {name: self._find_id_name(name) for name in names}
        id_names = {name: function for name, function in found.items() if function is not None}
        return Examples(numbers, _to_host(columns), _to_host(inputs), targets, id_names)

    def _find_id_name(self, name: str) -> Callable[[int], str | None] | None:
        """The function (id) -> value of a column, or of the only column that it reads, if both have the same ids."""
        column, constants = self.features.columns[name], self.data.constants
        if isinstance(column, NamesIds):
            return partial(column.id_name, constants=constants[name])
        parents = [key for key in column.keys if key in self.features.columns and key != name]
        buckets = constants[name].static.get("buckets")
        is_same = len(parents) == 1 and buckets is not None and constants[parents[0]].static.get("buckets") == buckets
        return self._find_id_name(parents[0]) if is_same else None

    def augment(self, config: Config, rows: np.ndarray) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
        """The inputs, and the targets as `examples` has them, of the first training batch after the augmentations.

        Its rows are `rows`.
        """
        static, numbers = split_scalars(config)
        seed = config.values["seed"]
        arrays = numbers_to_arrays(numbers, seed)
        augmentations, _ = build_augmentations(static, arrays, self.targets, self.features)
        examples = self.examples(rows, (seed, 0, 0))
        targets = {name: jnp.asarray(target) for name, target in examples.targets.items()}
        batch = make_targets(self.targets, targets, jnp.ones(len(rows), bool), None)
        pixels = {
            name: column.pixel_range(self.data.constants[keys[0]].device)
            for name, keys in self.features.inputs.items()
            if len(keys) == 1 and isinstance(column := self.features.columns[keys[0]], HasPixelRange)
        }
        inputs = jax.tree.map(jnp.asarray, dict(examples.inputs))
        if self.features.views is not None:
            inputs = jax.tree.map(self.features.views.repeat, inputs)
        batch = batch._replace(inputs=inputs, pixels=pixels)
        key = random_key(ProgramInputs(arrays, {}), "augment", jnp.int32(0))
        augmented = augment(augmentations, key, batch)
        changed = augmented.targets.items()
        return _to_host(augmented.inputs), {name: mark_missing(each, augmented.mask_of(name)) for name, each in changed}

    def pictures(self, images: np.ndarray, targets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Targets that are images, as pictures beside these images.

        Args:
            images: the images, (N, H, W, C).
            targets: the targets as `examples` has them, or predictions in the same form, by name.

        Returns:
            Pictures (N, H, W, 3), or grey (N, H, W), from 0 to 1.
        """
        specs = {name: spec for name, spec in self.targets.items() if spec.is_image and name in targets}
        return {
            name: self._scale(name, targets[name])
            if spec.classes is None
            else paint_classes(targets[name], len(spec.classes), images)
            for name, spec in specs.items()
        }

    def _scale(self, name: str, images: np.ndarray) -> np.ndarray:
        """Images of a target as pictures: as they are in the data, or else scaled by their extremes."""
        target = self.features.targets[name]
        if isinstance(target, UnscalesImages):
            images = target.unscale(images, self.data.constants[target_column(name)]) / WHITE
        return scale_images(images)

    @property
    def painted_classes(self) -> tuple[str, ...]:
        """The classes of pixels whose colors figures explain: those of the only such target, if they aren't many."""
        found = [spec.classes for spec in self.targets.values() if spec.is_image and spec.classes is not None]
        return found[0] if len(found) == 1 and len(found[0]) <= MAX_EXPLAINED else ()

    def load(self, column: str, rows: RowNumbers) -> jax.Array:
        """What the layer of a target or of the weights returns for some rows; `column` is its encoded column."""
        encoded = gather_rows({column: self.data.encoded[column]}, rows)[column]
        fitted = self.data.constants[column]
        layer = self.features.program_only[column].layer(fitted.static)
        values: jax.Array = apply_target_layer(layer, encoded, dict(fitted.device), self.features.join_targets)
        return values


def image_inputs(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs that are images, (B, H, W, C). Those of the rows of an example stand side by side."""
    arrays = {name: value for name, value in inputs.items() if not isinstance(value, Padded)}
    for name, value in arrays.items():
        if value.ndim == 5:
            count, steps, height, width, channels = value.shape
            arrays[name] = np.moveaxis(value, 1, 2).reshape(count, height, steps * width, channels)
    return {name: value for name, value in arrays.items() if value.ndim == 4}


def _join_inputs(arrays: Sequence[Any], names: Sequence[str], *, has_steps: bool) -> Any:
    """The input that columns make, as the model joins them: for examples of several rows, step by step."""
    if not has_steps:
        return as_dense(join_columns(arrays, names))
    steps = arrays[0].shape[1]
    joined = as_dense(join_columns([array.reshape(-1, *array.shape[2:]) for array in arrays], names))
    return joined.reshape(-1, steps, *joined.shape[1:])


def _to_host(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: jax.tree.map(np.asarray, value) for name, value in arrays.items()}


class _NoArchitecture(nn.Module):
    """Accepts any inputs and has no output."""

    @nn.compact
    def __call__(self, *, train: bool, **inputs: Any) -> Output:
        return Output(None)
