"""Replaces random initial weights with pretrained ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from components.types import ModelWeights, ParameterRows, Weights
from runner.program.model import CALIBRATION
from runner.program.state import TrainState

ARCHITECTURE = "architecture"  # the name of the architecture within `Model`


def list_variables(parameters: Any, model_state: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a model that are trained or averaged: {"params": …, "batch_stats": …}, without temperatures."""
    return {"params": parameters, **{name: tree for name, tree in model_state.items() if name != CALIBRATION}}


def list_architecture_variables(state: TrainState) -> dict[str, Any]:
    """The variables of the architecture: {"params": …, "batch_stats": …}."""
    variables = list_variables(state.parameters, state.model_state)
    return {name: tree[ARCHITECTURE] for name, tree in variables.items() if ARCHITECTURE in tree}


def find_initial_weights(weights: Weights, architecture: Any, state: TrainState) -> Mapping[str, Any]:
    """The arrays that replace random values: a subtree of the variables of the model.

    Args:
        weights: the part that gives them.
        architecture: the architecture.
        state: the training state, with shapes in place of arrays.

    Raises:
        UserError: the weights don't fit.
    """
    if isinstance(weights, ModelWeights):
        return weights(architecture, list_variables(state.parameters, state.model_state))
    shapes = list_architecture_variables(state)
    return {name: {ARCHITECTURE: tree} for name, tree in weights(architecture, shapes).items()}


def replace_weights(state: TrainState, arrays: Mapping[str, Any]) -> TrainState:
    """The state with some arrays of the model replaced.

    Args:
        state: the training state.
        arrays: the new arrays, a subtree of the variables of the model. A leaf may be `ParameterRows`.
    """
    collections = {"params": state.parameters, **state.model_state}
    merged = {name: _merge(tree, arrays.get(name, {})) for name, tree in collections.items()}
    return state._replace(parameters=merged.pop("params"), model_state=merged)


def _merge(tree: Any, new: Any) -> Any:
    """The tree, with the arrays of `new` in place of its own."""
    if isinstance(new, ParameterRows):
        return tree.at[new.rows].set(jnp.asarray(new.values, tree.dtype))
    if not isinstance(new, Mapping):
        return jnp.asarray(new, tree.dtype)
    return {name: _merge(branch, new[name]) if name in new else branch for name, branch in tree.items()}
