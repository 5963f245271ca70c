"""Base classes of feature columns: columns without statistics, and categorical columns."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from components.feature.base.sequences import apply_to_steps, is_nested
from components.feature.base.values import NO_ID
from components.layer.lowering.sparse import to_dense
from components.types import Constants, MultiHot, Padded, Statistic, UserError


class Stateless:
    """A column that isn't fitted to the training split and reads one `key`."""

    key: Any

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()


class Categorical:
    """A column that is encoded as `ids`, int32 (rows,), (rows, K) or Ragged.

    Optionally it has `weights`, float32 of the same shape. A missing value has the id NO_ID. The number of ids is
    `constants.static["buckets"]`; ids outside of [0, buckets) are ignored. In an input, such a column becomes a vector
    with an element for each id: how often the id occurs in the row, or the sum of its weights. Rows with lists of lists
    become sequences of such vectors, one for each of the innermost lists.
    """

    buckets: Any  # int; a subclass without this parameter overrides `fit`

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(static={"buckets": self.buckets})

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], MultiHot | Padded]:
        """Returns the function (encoded, constants) -> MultiHot (B, buckets); for nested lists Padded."""
        return functools.partial(_multi_hot_layer, size=static["buckets"])


def multi_hot(encoded: Mapping[str, Any], size: int) -> MultiHot:
    """Arranges `ids` and `weights` as arrays (B, K).

    Args:
        encoded: `ids` and optionally `weights`: arrays (B,) or (B, K), or Padded. Without `weights` all weights are 1.
        size: the number of ids.
    """
    ids = _flatten(encoded["ids"], int(NO_ID))
    weights = _flatten(encoded["weights"], 0) if "weights" in encoded else jnp.ones(ids.shape, jnp.float32)
    return MultiHot(ids, weights, size)


def check_buckets(name: str, count: int) -> None:
    """Raises UserError for a number of ids that is out of range."""
    if not 1 <= count < 1 << 31:
        raise UserError(f"column `{name}`: buckets={count} must be from 1 to {(1 << 31) - 1}")


def get_buckets(reader: str, parents: Mapping[str, Constants], key: str) -> int:
    """The number of ids of a categorical column; raises UserError if `key` is no categorical column.

    Args:
        reader: the kind of the column that reads `key`, such as "embedding", for the message.
        parents: the constants of feature columns.
        key: the name of the categorical column.
    """
    if key not in parents or "buckets" not in parents[key].static:
        kind = "a raw column" if key not in parents else "no categorical column"
        raise UserError(
            f"{reader} of `{key}`: `{key}` is {kind}; use the name of a feature column with ids, such as Vocabulary, "
            "Hashed, Identity, Bucketized or Crossed"
        )
    return parents[key].static["buckets"]


def count_ids(encoded: Mapping[str, Any], size: int) -> MultiHot | Padded:
    """The ids of rows as MultiHot (B, size); those of nested sequences as Padded (B, T, size)."""
    if is_nested(encoded["ids"]):
        return apply_to_steps(lambda steps: to_dense(multi_hot(steps, size)), encoded)
    return multi_hot(encoded, size)


def _multi_hot_layer(encoded: Mapping[str, Any], _constants: Mapping[str, Any], *, size: int) -> MultiHot | Padded:
    return count_ids(encoded, size)


def _flatten(values: Any, padding: int) -> jax.Array:
    """Reshapes an array to (B, K)."""
    if isinstance(values, Padded):
        values = jnp.where(values.mask, values.values, padding)
    return jnp.reshape(values, (len(values), math.prod(values.shape[1:])))
