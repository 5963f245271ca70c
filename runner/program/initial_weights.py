"""Puts the weights that training begins with in the place of drawn ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from runner.program.program import TrainState

ARCHITECTURE = "architecture"  # its name in the model


def architecture_state(state: TrainState) -> dict[str, Any]:
    """What training changes of the architecture itself, {"params": …, "batch_stats": …}."""
    collections = {"params": state.parameters, **state.model_state}
    return {name: tree[ARCHITECTURE] for name, tree in collections.items() if ARCHITECTURE in tree}


def replace_weights(state: TrainState, arrays: Mapping[str, Any]) -> TrainState:
    """The state with those arrays of the architecture, a part of that tree, in the place of its own."""
    collections = {"params": state.parameters, **state.model_state}
    merged = {name: _merged(tree, {ARCHITECTURE: arrays.get(name, {})}) for name, tree in collections.items()}
    return state._replace(parameters=merged.pop("params"), model_state=merged)


def _merged(tree: Any, other: Any) -> Any:
    if not isinstance(other, Mapping):
        return jnp.asarray(other, tree.dtype)
    return {name: _merged(branch, other[name]) if name in other else branch for name, branch in tree.items()}
