"""Integers that are ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from components.feature.base.column import Categorical, check_buckets
from components.feature.base.raw import CORRECT
from components.feature.base.values import NO_ID, read_values
from components.feature.text.string_ops import format_category
from components.types import Block, Constants, DataError, Encoded, FieldError, Range, Remedy, Strings, Values


@dataclass(frozen=True, kw_only=True)
class Identity(Categorical):
    """Integers from 0 as ids: TensorFlow's `categorical_column_with_identity`.

    Attributes:
        key: the raw column. -1 is a missing value; in a ragged column, whose rows may have different numbers of values,
            it is an integer without an id.
        buckets: the number of ids.
        default: the id of integers outside of [0, buckets). None: they have no id; see `check`.
        check: whether an integer without an id is an error. False: it is ignored, as in TensorFlow, but it must be from
            -2**31 + 1 to 2**31 - 1.
    """

    key: str
    buckets: Annotated[int, Range(1, 2**31 - 1)]
    default: int | None = None
    check: bool = True

    def __post_init__(self) -> None:
        check_buckets(self.key, self.buckets)
        if self.default is not None and not 0 <= self.default < self.buckets:
            raise FieldError("default", f"{self.default} must be an id, 0 to {self.buckets - 1}")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "int"}

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        column = read_values(block, self.key, parents)
        if column.is_all_missing:
            return column.encode_ids(np.zeros(column.value_count, np.int32))
        if isinstance(column.values, Strings):
            valid = np.arange(column.value_count) if column.valid_mask is None else np.flatnonzero(column.valid_mask)
            examples = ", ".join(repr(format_category(column.values, position)) for position in valid[:3].tolist())
            raise DataError(
                f"column `{self.key}` of {block.origin} has text ({examples}), but Identity needs whole numbers",
                Remedy("use Vocabulary or Hashed", "columns"),
            )
        ids = column.values
        in_range = (ids >= 0) & (ids < self.buckets)
        if self.default is not None:
            return column.encode_ids(np.where(in_range, ids, self.default))
        # NO_ID, the smallest int32, marks missing values, so it can't be an integer without an id.
        wrong = ~in_range if self.check else (ids <= NO_ID) | (ids >= 1 << 31)
        wrong = wrong if column.valid_mask is None else wrong & column.valid_mask
        if wrong.any():
            position = int(np.argmax(wrong))
            location = block.locate(column.find_row(position))
            raise DataError(
                f"{location}: column `{self.key}` is {ids[position]}, but its ids are 0 to {self.buckets - 1}",
                CORRECT,
                Remedy("increase `buckets`", "columns"),
                Remedy("set `default` to the id of other numbers", "columns"),
            )
        return column.encode_ids(ids)
