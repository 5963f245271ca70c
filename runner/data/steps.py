"""Examples of several rows in the compiled program: gathered, and flattened for the layers of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from runner.data.windowed_rows import Steps as Steps
from runner.data.windowed_rows import WindowedRows as WindowedRows


def _make_view(steps: range, base: Any, positions: Any, order: Any) -> WindowedRows:
    return WindowedRows(base, steps, positions, order)


jax.tree_util.register_pytree_with_keys(
    WindowedRows,
    lambda view: (
        [(jax.tree_util.GetAttrKey(name), getattr(view, name)) for name in ("base", "positions", "order")],
        view.steps,
    ),
    lambda steps, arrays: _make_view(steps, *arrays),
)


def take_examples(data: Any, examples: jax.Array) -> Any:
    """The examples with some numbers, (B,), of encoded data on the device. Those of several rows are `Steps`."""

    def take(array: Any, indices: Any) -> jax.Array:
        return jnp.take(array, indices, axis=0, mode="clip")

    def take_leaf(leaf: Any) -> Any:
        return leaf.gather(examples, take) if isinstance(leaf, WindowedRows) else take(leaf, examples)

    return jax.tree.map(take_leaf, data, is_leaf=lambda leaf: isinstance(leaf, WindowedRows))


def flatten_steps(encoded: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Mapping[str, Any]], int | None]:
    """Encoded columns with a row for each step of each example, and the number of steps. None: there are no steps."""
    if not any(
        isinstance(leaf, Steps) for leaf in jax.tree.leaves(encoded, is_leaf=lambda leaf: isinstance(leaf, Steps))
    ):
        return encoded, None
    flat, steps = {}, None
    for name in encoded:
        arrays = dict(encoded[name])
        for key, array in arrays.items():
            if isinstance(array, Steps):
                steps = array.values.shape[1]
                arrays[key] = array.values.reshape(-1, *array.values.shape[2:])
        flat[name] = arrays
    return flat, steps
