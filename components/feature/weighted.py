"""Categories with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from components.feature.base import raw
from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID
from components.feature.identity import Identity
from components.feature.number.numbers import add_encoded_columns, flatten_sequences
from components.types import Block, Constants, DataError, Encoded, Ragged, Range, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Weighted(Categorical):
    """Ids with weights: TensorFlow's `weighted_categorical_column`.

    As in TensorFlow, a value with weight 0 is missing, except in a ragged column, whose rows may have different numbers
    of values.

    Attributes:
        key: a categorical column, or a raw column of ids.
        weight: a column with a finite number for each id.
        buckets: the number of ids of a raw column. None: `key` is a categorical column.
    """

    key: str
    weight: str
    buckets: Annotated[int, Range(1, 2**31 - 1)] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, self.weight)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "int", self.weight: "float"}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        buckets = parents[self.key].static.get("buckets") if self.key in parents else None
        if (buckets is None) == (self.buckets is None):
            fault = f"already has {buckets} ids; leave out" if buckets else "is no categorical column; set"
            raise UserError(f"the weighted column `{self.key}` {fault} `buckets`")
        return Constants(static={"buckets": buckets or self.buckets})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        ids = self._read_ids(block, parents)
        weights, offsets = self._read_weights(block, parents)
        id_counts = _count_values(ids.values, ids.offsets) if isinstance(ids, Ragged) else _count_values(ids, None)
        weight_counts = _count_values(weights, offsets)
        differs = id_counts != weight_counts
        if differs.any():
            row = int(np.argmax(differs))
            raise DataError(
                f"{block.locate(row)}: column `{self.weight}` has {weight_counts[row]} weights for {id_counts[row]} "
                f"ids of `{self.key}`; there must be one weight for each id"
            )
        if isinstance(ids, Ragged):
            return {"ids": ids, "weights": Ragged(weights.reshape(-1), ids.offsets)}
        weights = weights.reshape(ids.shape)
        return {"ids": ids if offsets is not None else np.where(weights == 0, NO_ID, ids), "weights": weights}

    def _read_weights(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads the weights in float32, and the offsets if rows have different lengths."""
        block = add_encoded_columns(block, {key: arrays for key, arrays in parents.items() if key == self.weight})
        flat, offsets = flatten_sequences(block, self.weight)
        # Raises DataError for missing values. The error of `read_numbers` would suggest `missing`, which is wrong here.
        raw.read_column(flat, self.weight)
        return raw.read_numbers(flat, self.weight, largest=raw.FLOAT32_MAX).astype(np.float32), offsets

    def _read_ids(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Any:
        if self.buckets is not None:
            return Identity(key=self.key, buckets=self.buckets).encode(block, parents, Constants())["ids"]
        if "weights" in parents[self.key]:
            raise UserError(f"`{self.key}` already has weights; use its column of ids as `key`")
        return parents[self.key]["ids"]


def _count_values(values: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
    """The number of values of each row."""
    rows = np.ones(len(values), np.int64) if offsets is None else np.diff(offsets)
    return rows * math.prod(values.shape[1:])
