"""Puts feature columns and an architecture together; neither knows the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import Output, Padded, UserError

Arrays = Mapping[str, Any]


class Model(nn.Module):
    """The device halves of the columns, joined into inputs, and the architecture that takes them."""

    columns: Mapping[str, Callable[..., Any]]  # (encoded, constants) -> array or Padded
    inputs: Mapping[str, tuple[str, ...]]
    architecture: nn.Module

    def __call__(
        self, encoded: Mapping[str, Arrays], constants: Mapping[str, Arrays], *, train: bool
    ) -> tuple[dict[str, Any], Output]:
        """Encoded columns of B examples -> (inputs by name, the architecture's output)."""
        arrays = {name: layer(encoded[name], constants[name]) for name, layer in self.columns.items()}
        inputs = {name: join([arrays[column] for column in columns]) for name, columns in self.inputs.items()}
        output = self.architecture(**inputs, train=train)
        if not isinstance(output, Output):
            raise UserError(f"{type(self.architecture).__name__} must return an Output, not {type(output).__name__}")
        return inputs, output


def join(arrays: list[Any]) -> Any:
    """One input from its columns' arrays: concatenated (B, D), or a lone array of any rank as it is."""
    if len(arrays) == 1:
        return arrays[0]
    if wrong := [array for array in arrays if isinstance(array, Padded) or array.ndim != 2]:
        shape = wrong[0].values.shape if isinstance(wrong[0], Padded) else wrong[0].shape
        raise UserError(
            f"columns that share an input must be vectors (B, D); one of them is {shape}: give it its own input"
        )
    return jnp.concatenate(arrays, axis=1)


def wire(inputs: Mapping[str, tuple[str, ...]], architecture: nn.Module) -> dict[str, tuple[str, ...]]:
    """The inputs under the names that the architecture gives them: where each has just one, any name does."""
    taken = [name for name in inspect.signature(architecture.__call__).parameters if name != "train"]
    if len(inputs) == len(taken) == 1:
        return {taken[0]: next(iter(inputs.values()))}
    if set(inputs) != set(taken):
        raise UserError(
            f"feature.inputs gives {sorted(inputs)}, {type(architecture).__name__} takes {sorted(taken)}: use its names"
        )
    return dict(inputs)


def parameter_count(parameters: Any) -> int:
    """How many numbers a tree of parameters holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))
