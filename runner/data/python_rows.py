"""Raw columns given from Python, as much of a source as encoding needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from components.columns import Columns, as_columns, is_table
from components.types import Block, Source, row_count
from runner.data.columns import take_rows

BLOCK_ROWS = 1 << 17
ORIGIN = "the new rows"


def as_source(rows: Mapping[str, Any] | Any) -> Source:
    """A source of raw columns, or of a data frame; what is a source already stays.

    Raises DataError where the columns don't fit.
    """
    return cast(Source, _NewRows(as_columns(rows, ORIGIN)) if is_table(rows) else rows)


@dataclass(frozen=True)
class _NewRows:
    columns: Columns

    @property
    def count(self) -> int:
        return row_count(next(iter(self.columns.values.values()))) if self.columns.values else 0

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.count}

    def blocks(self, part: str) -> Iterator[Block]:
        for first in range(0, self.count, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, self.count))
            values = {name: take_rows(column, rows) for name, column in self.columns.values.items()}
            valid = {name: mask[rows] for name, mask in self.columns.valid.items()}
            yield Block(values, valid, ORIGIN, first)
