"""What categorical columns have in common: ids, and on the device the sum of their one-hot vectors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from components.feature.base.values import NO_ID
from components.types import Constants, MultiHot, Padded, Statistic, UserError


class Categorical:
    """A column that encodes `ids`: int32 (rows,), (rows, K) or Ragged, and float32 `weights` of the same form if any.

    A cell without a value is NO_ID. `constants.static["buckets"]` is the number of ids; one that is not from 0 to
    below it stands for nothing. As it is in an input, the column is its indicator: counts, or sums of weights.
    """

    buckets: Any  # int, of a column that is told it

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(static={"buckets": self.buckets})

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], MultiHot]:
        """MultiHot (B, buckets)."""
        return functools.partial(_indicator, size=static["buckets"])


def multi_hot(encoded: Mapping[str, Any], size: int) -> MultiHot:
    """`ids` and `weights` (1 where there are none), as arrays of (B,), (B, K) or Padded, each one (B, K)."""
    ids = _rows(encoded["ids"], int(NO_ID))
    weights = _rows(encoded["weights"], 0) if "weights" in encoded else jnp.ones(ids.shape, jnp.float32)
    return MultiHot(ids, weights, size)


def check_buckets(name: str, count: int) -> None:
    """Raises UserError for a number of ids that can't be."""
    if not 1 <= count < 1 << 31:
        raise UserError(f"column `{name}`: buckets={count}; at least 1 is needed, and at most {(1 << 31) - 1}")


def buckets_of(what: str, parents: Mapping[str, Constants], key: str) -> int:
    """The number of ids of a categorical column; raises UserError where `key` is none."""
    if key not in parents or "buckets" not in parents[key].static:
        kind = "a raw column" if key not in parents else "no categorical column"
        raise UserError(
            f"{what} of `{key}`: it is {kind}; give the name of a feature column that makes ids of it, such as "
            "Vocabulary, Hashed, Identity, Bucketized or Crossed"
        )
    return parents[key].static["buckets"]


def _indicator(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> MultiHot:
    return multi_hot(encoded, size)


def _rows(values: Any, nothing: int) -> jax.Array:
    if isinstance(values, Padded):
        values = jnp.where(values.mask, values.values, nothing)
    return jnp.reshape(values, (len(values), math.prod(values.shape[1:])))


class Unlearned:
    """A column of one `key` that asks nothing of the training split."""

    key: Any

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()
