"""Joins what the layers of an input's columns return: dense vectors, sparse vectors and sequences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.sequences import join_sequences
from components.types import MultiHot, Padded, UserError, padded_shape, register_pytrees
from runner.program.column_groups import ColumnGroup

register_pytrees()
MAX_SLICES = 64  # each takes some milliseconds to compile; the gradient of a gather is slow
MAX_DENSE_SIZE = 4096  # sparse columns above this total size stay sparse when they are joined with dense columns


def join_columns(arrays: Sequence[Any], names: Sequence[str] = ()) -> Any:
    """Joins the arrays of an input's columns, as `join_groups` does. The names are for the error if they can't be."""
    keys = names or [str(number) for number in range(len(arrays))]
    groups = [ColumnGroup((key,), array) for key, array in zip(keys, arrays, strict=True)]
    return join_groups(groups, keys, sparse=True, is_named=bool(names))


def join_groups(groups: Sequence[ColumnGroup], keys: Sequence[str], *, sparse: bool, is_named: bool = True) -> Any:
    """Joins columns into (B, D), in the order of `keys`. A single column of any rank stays as it is.

    Args:
        groups: the columns.
        keys: the columns of the input.
        sparse: whether the result may be MultiHot.
        is_named: whether the error names a column that can't be joined.
    """
    wanted = set(keys)
    if len(wanted) < len(keys):  # an input may have a column twice
        found = [group for key in keys for each in groups if (group := each.select([key])) is not None]
        groups = [ColumnGroup((str(number),), group.value) for number, group in enumerate(found)]
        return join_groups(groups, [*map(str, range(len(keys)))], sparse=sparse, is_named=False)
    groups = [group for each in groups if (group := each.select(wanted)) is not None]
    joined = _join(groups, keys, sparse=sparse, is_named=is_named)
    return joined if sparse else as_dense(joined)


def _join(groups: Sequence[ColumnGroup], keys: Sequence[str], *, sparse: bool, is_named: bool) -> Any:
    if len(keys) == 1:
        return groups[0].value
    if all(isinstance(group.value, Padded) for group in groups):
        by_name = {group.names[0]: group.value for group in groups}
        return join_sequences([by_name[key] for key in keys])
    alone = {group.names[0]: group.value for group in groups if len(group.names) == 1}
    wrong = [key for key in keys if key in alone and (isinstance(alone[key], Padded) or len(_shape(alone[key])) != 2)]
    if wrong:
        column = f"column `{wrong[0]}`" if is_named else "a column"
        raise UserError(
            f"{column} has the shape {_shape(alone[wrong[0]])}. Columns that share an input must be vectors (B, D). "
            "Give the column its own input."
        )
    groups = [_add_axis(group) for group in groups]
    multi_hots = [group for group in groups if isinstance(group.value, MultiHot)]
    is_large = sum(group.value.size * len(group.names) for group in multi_hots) > MAX_DENSE_SIZE
    # One-hot vectors that a network takes as dense ones are compared, which is faster than adding ones to zeros.
    is_one_hot = not sparse and any(len(group.names) > 1 and group.value.ids.shape[2] == 1 for group in multi_hots)
    if not is_one_hot and (len(multi_hots) == len(groups) or is_large):
        return _join_sparse(groups, keys)
    return _join_dense(groups, keys)


def _add_axis(group: ColumnGroup) -> ColumnGroup:
    """The group with an axis for the columns, also if it has one column."""
    if len(group.names) > 1:
        return group
    return group._replace(value=jax.tree.map(lambda leaf: leaf[:, None], group.value))


def _shape(array: Any) -> tuple[int, ...]:
    if isinstance(array, MultiHot):
        return len(array.ids), array.size
    return padded_shape(array) if isinstance(array, Padded) else array.shape


def as_dense(array: Any) -> Any:
    """MultiHot as an array (B, size). Any other array stays as it is."""
    if not isinstance(array, MultiHot):
        return array
    if array.ids.shape[1] == 1:
        return jnp.where(array.ids == jnp.arange(array.size)[None], array.weights, 0)
    rows = jnp.arange(array.ids.shape[0])[:, None]
    ids = jnp.where(array.ids < 0, array.size, array.ids)  # a negative index would count from the end
    return jnp.zeros((len(rows), array.size), jnp.float32).at[rows, ids].add(array.weights, mode="drop")


def _join_dense(groups: Sequence[ColumnGroup], keys: Sequence[str]) -> jax.Array:
    """Concatenates vectors, sparse ones as dense ones."""
    arrays: list[jax.Array] = []
    widths: dict[str, int] = {}
    for group in groups:
        array = group.value
        if isinstance(array, MultiHot):
            rows, columns, count = array.ids.shape
            flat = MultiHot(array.ids.reshape(-1, count), array.weights.reshape(-1, count), array.size)
            array = as_dense(flat).reshape(rows, columns, array.size)
        arrays.append(array.reshape(len(array), -1))
        widths |= dict.fromkeys(group.names, array.shape[2])
    return _arrange(jnp.concatenate(arrays, axis=1), widths, keys)


def _join_sparse(groups: Sequence[ColumnGroup], keys: Sequence[str]) -> MultiHot:
    """Concatenates vectors as sparse ones. Dense ones have an entry for each element."""
    sparse = [(group.names, _as_sparse(group.value)) for group in groups]
    sizes = {name: array.size for names, array in sparse for name in names}
    ends = np.cumsum([sizes[key] for key in keys])
    offsets = dict(zip(keys, ends - [sizes[key] for key in keys], strict=True))
    ids: list[jax.Array] = []
    weights: list[jax.Array] = []
    widths: dict[str, int] = {}
    for names, array in sparse:
        own = np.array([offsets[name] for name in names], np.int32)[None, :, None]
        is_valid = (array.ids >= 0) & (array.ids < array.size)
        ids.append(jnp.where(is_valid, array.ids + own, -1).reshape(len(array.ids), -1))
        weights.append(array.weights.reshape(len(array.ids), -1))
        widths |= dict.fromkeys(names, array.ids.shape[2])
    joined_ids, joined_weights = (_arrange(jnp.concatenate(each, axis=1), widths, keys) for each in (ids, weights))
    return MultiHot(joined_ids, joined_weights, int(ends[-1]))


def _as_sparse(array: Any) -> MultiHot:
    """Vectors (B, columns, D) as MultiHot, with an entry for each element. MultiHot stays as it is."""
    if isinstance(array, MultiHot):
        return array
    ids = jnp.arange(array.shape[2], dtype=jnp.int32)[None, None]
    return MultiHot(jnp.broadcast_to(ids, array.shape), array, array.shape[2])


def _arrange(joined: jax.Array, widths: Mapping[str, int], keys: Sequence[str]) -> jax.Array:
    """Puts the elements of columns in the order of `keys`.

    Args:
        joined: (B, D), the elements of the columns of `widths` one after another.
        widths: the number of elements of each column.
        keys: the columns in their new order.
    """
    if [*widths] == [*keys]:
        return joined
    starts = np.cumsum([0, *widths.values()])
    places = {name: start + np.arange(widths[name]) for name, start in zip(widths, starts, strict=False)}
    order = np.concatenate([places[key] for key in keys])
    bounds = [0, *(np.flatnonzero(np.diff(order) != 1) + 1).tolist(), len(order)]
    if len(bounds) > MAX_SLICES:
        return joined.at[:, order].get(unique_indices=True, mode="promise_in_bounds")
    slices = [(int(order[start]), stop - start) for start, stop in itertools.pairwise(bounds)]
    return jnp.concatenate([joined[:, start : start + size] for start, size in slices], axis=1)
