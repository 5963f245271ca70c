"""Encoded rows as the model gets them: through the device halves of the columns, without an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from components.types import BoundTarget, Output, Padded
from runner.data.batches import gather_rows
from runner.data.encode import TARGET
from runner.data.load import Data, Features, program_column_names
from runner.program.model import Model, as_dense, join_columns
from runner.program.parts import decode_targets


@dataclass(frozen=True)
class Examples:
    """Some rows of the data, B of them, as NumPy arrays (B, …) or Padded."""

    rows: np.ndarray  # their numbers in the data
    columns: Mapping[str, Any]  # by column; those of categories as MultiHot
    inputs: Mapping[str, Any]  # by input
    target: np.ndarray  # as losses see it


@dataclass(frozen=True)
class View:
    """Encoded data with its columns."""

    data: Data
    features: Features

    @cached_property
    def target(self) -> BoundTarget:
        """The target with what it learned."""
        return self.features.target.bind(self.data.constants[TARGET])

    def targets(self, split: str) -> np.ndarray:
        """What is right for each row of a split: classes, int32 (N,), or numbers in their own unit, (N, outputs)."""
        return self.decoded(self._target(self.data.splits[split]))

    def decoded(self, target: Any) -> np.ndarray:
        """Targets as losses see them, (N, …), in that form."""
        return decode_targets(self.target, target)

    def examples(self, rows: np.ndarray) -> Examples:
        """The rows of these numbers."""
        names = [name for name in program_column_names(self.features) if name != TARGET]
        encoded = gather_rows({name: self.data.encoded[name] for name in names}, rows)
        learned = self.data.constants
        constants = {name: {**learned[name].device, **learned[name].initial} for name in names}
        layers = {name: self.features.columns[name].layer(self.data.constants[name].static) for name in names}
        model = Model(layers, {name: (name,) for name in names}, frozenset(names), _NoArchitecture())
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}  # a column may embed what it reads
        (columns, *_), _ = model.init_with_output(keys, encoded, constants, train=False)
        inputs = {
            name: as_dense(join_columns([columns[one] for one in those]))
            for name, those in self.features.inputs.items()
        }
        return Examples(rows, _on_host(columns), _on_host(inputs), np.asarray(self._target(rows)))

    def _target(self, rows: np.ndarray) -> jax.Array:
        encoded = gather_rows({TARGET: self.data.encoded[TARGET]}, rows)[TARGET]
        return self.features.target.layer(self.data.constants[TARGET].static)(
            encoded, dict(self.data.constants[TARGET].device)
        )


def images(examples: Examples) -> dict[str, np.ndarray]:
    """The inputs that are images, (B, H, W, C)."""
    found = {name: value for name, value in examples.inputs.items() if not isinstance(value, Padded)}
    return {name: value for name, value in found.items() if value.ndim == 4}


def _on_host(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: jax.tree.map(np.asarray, value) for name, value in arrays.items()}


class _NoArchitecture(nn.Module):
    """Takes any inputs and makes nothing of them."""

    @nn.compact
    def __call__(self, *, train: bool, **inputs: Any) -> Output:
        return Output(None)
