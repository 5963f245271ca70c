"""Replaces random initial weights with pretrained ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from runner.program.state import TrainState

ARCHITECTURE = "architecture"  # the name of the architecture within `Model`


def architecture_state(state: TrainState) -> dict[str, Any]:
    """The architecture's part of the training state, {"params": …, "batch_stats": …}."""
    collections = {"params": state.parameters, **state.model_state}
    return {name: tree[ARCHITECTURE] for name, tree in collections.items() if ARCHITECTURE in tree}


def replace_weights(state: TrainState, arrays: Mapping[str, Any]) -> TrainState:
    """The state with some arrays of the architecture replaced.

    Args:
        state: the training state.
        arrays: the new arrays, a part of the tree {"params": …, "batch_stats": …} of the architecture.
    """
    collections = {"params": state.parameters, **state.model_state}
    merged = {name: _merge(tree, {ARCHITECTURE: arrays.get(name, {})}) for name, tree in collections.items()}
    return state._replace(parameters=merged.pop("params"), model_state=merged)


def _merge(tree: Any, new: Any) -> Any:
    """The tree, with the arrays of `new` in place of its own."""
    if not isinstance(new, Mapping):
        return jnp.asarray(new, tree.dtype)
    return {name: _merge(branch, new[name]) if name in new else branch for name, branch in tree.items()}
