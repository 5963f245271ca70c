"""Computes an objective and its gradient on parts of a batch, one after another, so that a larger batch fits in memory.

The terms are sums over examples divided by counts of the whole batch, so their sum over the parts is the objective.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

PartObjective: TypeAlias = Callable[[Any, Any, Any, Any], tuple[jax.Array, tuple[Any, Any]]]
"""(parameters, model state, encoded examples, number of the part) -> (value, (new model state, metric sums))."""


def split_batch(encoded: Any, count: int) -> list[Any]:
    """Splits encoded examples (B, …) into `count` parts of nearly equal size, at least one example in each."""
    size = len(jax.tree.leaves(encoded)[0])
    bounds = np.linspace(0, size, min(count, size) + 1).astype(int).tolist()
    slices = [slice(low, high) for low, high in itertools.pairwise(bounds)]
    return [jax.tree.map(lambda leaf, part=part: leaf[part], encoded) for part in slices]


def accumulate(objective: PartObjective, parts: list[Any], model_state: Any, *, unroll: bool) -> Callable[[Any], Any]:
    """The sum of an objective over the parts of a batch, as a function of the parameters.

    The gradient is added up while the value is computed. So only the activations of one part are in memory.

    Args:
        objective: the objective of a part.
        parts: the encoded examples of each part.
        model_state: the model state before the first part.
        unroll: whether the parts are unrolled in the program. Otherwise it loops over them, if they have equal sizes.

    Returns:
        parameters -> (value, (new model state, metric sums)).
    """

    def add_parts(compute: Callable[[Any, Any, Any], Any]) -> Any:
        """Adds up what `compute(model state, examples, number)` returns; the last model state replaces others."""

        def step(carry: Any, part: tuple[Any, Any]) -> tuple[Any, None]:
            (value, (state, sums)), gradients = carry
            (new_value, (new_state, new_sums)), new_gradients = compute(state, *part)
            added = jax.tree.map(jnp.add, (value, sums, gradients), (new_value, new_sums, new_gradients))
            return ((added[0], (new_state, added[1])), added[2]), None

        shapes = jax.eval_shape(compute, model_state, parts[0], 0)
        (value, (_, sums)), gradients = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        carry = (value, (model_state, sums)), gradients
        sizes = {len(jax.tree.leaves(part)[0]) for part in parts}
        if unroll or len(sizes) > 1:
            for number, part in enumerate(parts):
                carry, _ = step(carry, (part, number))
            return carry
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
        return jax.lax.scan(step, carry, (stacked, jnp.arange(len(parts))))[0]

    @jax.custom_vjp
    def total(parameters: Any) -> Any:
        return add_parts(lambda state, part, number: (objective(parameters, state, part, number), ()))[0]

    def forward(parameters: Any) -> Any:
        differentiate = jax.value_and_grad(objective, has_aux=True)
        return add_parts(lambda state, part, number: differentiate(parameters, state, part, number))

    def backward(gradients: Any, cotangents: Any) -> tuple[Any]:
        return (jax.tree.map(lambda leaf: leaf * cotangents[0], gradients),)

    total.defvjp(forward, backward)
    return total
