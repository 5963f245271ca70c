"""Replaces drawn parameters by pretrained weights before training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from runner.program.program import TrainState

ARCHITECTURE = "architecture"  # its name in the model


def architecture_state(state: TrainState) -> dict[str, Any]:
    """The architecture's part of the training state, {"params": …, "batch_stats": …}."""
    collections = {"params": state.parameters, **state.model_state}
    return {name: tree[ARCHITECTURE] for name, tree in collections.items() if ARCHITECTURE in tree}


def replace_weights(state: TrainState, arrays: Mapping[str, Any]) -> TrainState:
    """The state with some arrays of the architecture replaced. `arrays` is a part of its tree."""
    collections = {"params": state.parameters, **state.model_state}
    merged = {name: _merge(tree, {ARCHITECTURE: arrays.get(name, {})}) for name, tree in collections.items()}
    return state._replace(parameters=merged.pop("params"), model_state=merged)


def _merge(tree: Any, other: Any) -> Any:
    if not isinstance(other, Mapping):
        return jnp.asarray(other, tree.dtype)
    return {name: _merge(branch, other[name]) if name in other else branch for name, branch in tree.items()}
