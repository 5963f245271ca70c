"""Base classes of feature columns: stateless columns and categorical columns."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from components.feature.base.values import NO_ID
from components.types import Constants, MultiHot, Padded, Statistic, UserError


class Stateless:
    """A column of one `key` that needs nothing from the training split."""

    key: Any

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()


class Categorical:
    """A column that encodes `ids`, int32 (rows,), (rows, K) or Ragged, and optionally float32 `weights` of that shape.

    The id of a missing value is NO_ID. `constants.static["buckets"]` is the number of ids; other ids count for nothing.
    An input gets such a column as its indicator: how often each id occurs, or the sums of its weights.
    """

    buckets: Any  # int, of columns with this parameter

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(static={"buckets": self.buckets})

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], MultiHot]:
        """MultiHot (B, buckets)."""
        return functools.partial(_make_indicator, size=static["buckets"])


def multi_hot(encoded: Mapping[str, Any], size: int) -> MultiHot:
    """Arranges `ids` and `weights` as (B, K) each.

    Args:
        encoded: both as arrays (B,), (B, K) or Padded. Without `weights` each weight is 1.
        size: the number of ids.
    """
    ids = _flatten(encoded["ids"], int(NO_ID))
    weights = _flatten(encoded["weights"], 0) if "weights" in encoded else jnp.ones(ids.shape, jnp.float32)
    return MultiHot(ids, weights, size)


def check_buckets(name: str, count: int) -> None:
    """Raises UserError for a number of ids that is out of range."""
    if not 1 <= count < 1 << 31:
        raise UserError(f"column `{name}`: buckets={count}; at least 1 is needed, and at most {(1 << 31) - 1}")


def get_buckets(what: str, parents: Mapping[str, Constants], key: str) -> int:
    """The number of ids of a categorical column; raises UserError where `key` isn't one.

    Args:
        what: the kind of column that reads it, for the message.
        parents: the constants of feature columns.
        key: the column's name.
    """
    if key not in parents or "buckets" not in parents[key].static:
        kind = "a raw column" if key not in parents else "no categorical column"
        raise UserError(
            f"{what} of `{key}`: it is {kind}; give the name of a feature column that makes ids of it, such as "
            "Vocabulary, Hashed, Identity, Bucketized or Crossed"
        )
    return parents[key].static["buckets"]


def _make_indicator(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> MultiHot:
    return multi_hot(encoded, size)


def _flatten(values: Any, padding: int) -> jax.Array:
    """An array as (B, K)."""
    if isinstance(values, Padded):
        values = jnp.where(values.mask, values.values, padding)
    return jnp.reshape(values, (len(values), math.prod(values.shape[1:])))
