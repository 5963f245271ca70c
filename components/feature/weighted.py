"""Ids with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from components.feature.base import raw
from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID
from components.feature.identity import Identity
from components.feature.number.numbers import add_parents, flatten_sequences
from components.types import Block, Constants, DataError, Encoded, Ragged, Range, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Weighted(Categorical):
    """Ids with weights: TensorFlow's `weighted_categorical_column`.

    Where all rows have the same number of values, one of weight 0 is missing, as in TensorFlow.

    Attributes:
        key: a categorical column; or a raw column of ids, with `buckets`.
        weight: a column of finite numbers, in each row as many as ids.
        buckets: the number of ids of a raw column.
    """

    key: str
    weight: str
    buckets: Annotated[int, Range(1, 2**31 - 1)] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, self.weight)

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        known = parents[self.key].static.get("buckets") if self.key in parents else None
        if (known is None) == (self.buckets is None):
            fault = f"has {known} ids itself: leave out" if known else "is no categorical column: give"
            raise UserError(f"the weighted column `{self.key}` {fault} `buckets`")
        return Constants(static={"buckets": known or self.buckets})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        ids = self._ids(block, parents)
        weights, offsets = self._weights(block, parents)
        given = _lengths(ids.values, ids.offsets) if isinstance(ids, Ragged) else _lengths(ids, None)
        weighed = _lengths(weights, offsets)
        if (different := given != weighed).any():
            row = int(np.argmax(different))
            raise DataError(
                f"{block.locate(row)}: column `{self.weight}` has {weighed[row]} weights for {given[row]} ids of "
                f"`{self.key}`; each needs one"
            )
        if isinstance(ids, Ragged):
            return {"ids": ids, "weights": Ragged(weights.reshape(-1), ids.offsets)}
        weights = weights.reshape(ids.shape)
        return {"ids": ids if offsets is not None else np.where(weights == 0, NO_ID, ids), "weights": weights}

    def _weights(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The weights in float32, and the offsets of rows of different lengths."""
        read = add_parents(block, {key: arrays for key, arrays in parents.items() if key == self.weight})
        found, offsets = flatten_sequences(read, self.weight)
        raw.read_column(found, self.weight)  # refuses gaps: the error of `read_numbers` would name `missing`
        return raw.read_numbers(found, self.weight).astype(np.float32), offsets

    def _ids(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Any:
        if self.buckets is not None:
            return Identity(key=self.key, buckets=self.buckets).encode(block, parents, Constants())["ids"]
        if "weights" in parents[self.key]:
            raise UserError(f"`{self.key}` has weights itself; weigh the column that it weighs")
        return parents[self.key]["ids"]


def _lengths(values: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
    """How many values each row has."""
    rows = np.ones(len(values), np.int64) if offsets is None else np.diff(offsets)
    return rows * math.prod(values.shape[1:])
