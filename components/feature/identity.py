"""Integers as ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from components.feature.base.column import Categorical, check_buckets
from components.feature.base.values import NO_ID, read_values
from components.feature.text.string_ops import format_category
from components.types import Block, Constants, DataError, Encoded, Range, Strings, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Identity(Categorical):
    """Integers from 0 as ids: TensorFlow's `categorical_column_with_identity`.

    Attributes:
        key: the raw column. Where all rows have the same number of values, -1 is a missing value.
        buckets: the number of ids.
        default: the id of integers that are out of range. None: they have none.
        check: whether, without a `default`, an integer out of range is an error. False: it counts for nothing, as in
            TensorFlow; it must be from -2**31 + 1 to 2**31 - 1.
    """

    key: str
    buckets: Annotated[int, Range(1, 2**31 - 1)]
    default: int | None = None
    check: bool = True

    def __post_init__(self) -> None:
        check_buckets(self.key, self.buckets)
        if self.default is not None and not 0 <= self.default < self.buckets:
            raise UserError(f"column `{self.key}`: default={self.default} is none of its ids, 0 to {self.buckets - 1}")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        found = read_values(block, self.key, parents)
        if found.is_empty:
            return found.ids(np.zeros(found.total, np.int32))
        if isinstance(found.values, Strings):
            places = range(found.total) if found.valid_mask is None else np.flatnonzero(found.valid_mask).tolist()
            texts = ", ".join(repr(format_category(found.values, place)) for place in places[:3])
            raise DataError(
                f"column `{self.key}` of {block.origin} holds text ({texts}), but ids are whole numbers: "
                "Vocabulary or Hashed makes them"
            )
        ids, known = found.values, (found.values >= 0) & (found.values < self.buckets)
        if self.default is not None:
            return found.ids(np.where(known, ids, self.default))
        wrong = ~known if self.check else (ids <= NO_ID) | (ids >= 1 << 31)
        wrong = wrong if found.valid_mask is None else wrong & found.valid_mask
        if wrong.any():
            place = int(np.argmax(wrong))
            raise DataError(
                f"{block.locate(found.row(place))}: column `{self.key}` is {ids[place]}, and its ids are 0 to "
                f"{self.buckets - 1}; `default` is the id of other numbers"
            )
        return found.ids(ids)
