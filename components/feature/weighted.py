"""Categories with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from components.feature.base import raw
from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID
from components.feature.identity import Identity
from components.feature.number.numbers import add_encoded_columns, flatten_sequences
from components.ragged import Layout, Levels, layout_of
from components.types import Block, Constants, DataError, Encoded, Range, UserError, Values


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
        weights, levels = self._read_weights(block, parents)
        weights = weights[:, 0] if weights.shape[1:] == (1,) else weights  # of a column of numbers
        layout, other = layout_of(ids), Layout(levels, weights.shape)
        self._check_counts(block, np.diff(layout.offsets), np.diff(other.offsets))
        if layout.levels:
            self._check_lists(block, layout, other)
            return {"ids": ids, "weights": layout.nest(weights)}
        weights = weights.reshape(ids.shape)
        return {"ids": ids if levels else np.where(weights == 0, NO_ID, ids), "weights": weights}

    def _check_counts(self, block: Block, id_counts: np.ndarray, weight_counts: np.ndarray) -> None:
        """Raises DataError unless each row has as many weights as ids."""
        differs = id_counts != weight_counts
        if differs.any():
            row = int(np.argmax(differs))
            raise DataError(
                f"{block.locate(row)}: column `{self.weight}` has {weight_counts[row]} weights for {id_counts[row]} "
                f"ids of `{self.key}`; there must be one weight for each id"
            )

    def _check_lists(self, block: Block, layout: Layout, other: Layout) -> None:
        """Raises DataError unless lists of lists of ids and weights have equal lengths."""
        if not (layout.is_nested or other.is_nested):
            return
        levels = layout.all_levels
        if len(levels) != len(other.all_levels):
            raise DataError(
                f"column `{self.weight}` of {block.origin} has {other} in its rows, and `{self.key}` has {layout}; "
                "there must be one weight for each id"
            )
        for depth, (offsets, other_offsets) in enumerate(zip(levels, other.all_levels, strict=True)):
            differs = np.diff(offsets) != np.diff(other_offsets)
            if differs.any():
                row = Layout(levels[:depth], differs.shape).find_row(int(np.argmax(differs)))
                raise DataError(
                    f"{block.locate(row)}: the lists of column `{self.weight}` have other lengths than those of "
                    f"`{self.key}`; there must be one weight for each id"
                )

    def _read_weights(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> tuple[np.ndarray, Levels]:
        """Reads the weights in float32, and the offsets of each level of lists."""
        block = add_encoded_columns(block, {key: arrays for key, arrays in parents.items() if key == self.weight})
        flat, levels = flatten_sequences(block, self.weight)
        # Raises DataError for missing values. The error of `read_numbers` would suggest `missing`, which is wrong here.
        raw.read_column(flat, self.weight)
        return raw.read_numbers(flat, self.weight, largest=raw.FLOAT32_MAX).astype(np.float32), levels

    def _read_ids(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Any:
        if self.buckets is not None:
            return Identity(key=self.key, buckets=self.buckets).encode(block, parents, Constants())["ids"]
        if "weights" in parents[self.key]:
            raise UserError(f"`{self.key}` already has weights; use its column of ids as `key`")
        return parents[self.key]["ids"]
