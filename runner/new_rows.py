"""Raw columns given from Python, as much of a source as encoding needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from components.types import Block, DataError, Source, Values, as_column, row_count
from runner.rows import take

BLOCK_ROWS = 1 << 17
ORIGIN = "the new rows"


def given(columns: Mapping[str, Any]) -> Source:
    """A source of raw columns, the rows of each along its first axis; raises DataError where they don't fit."""
    return cast(Source, _NewRows({name: as_column(name, column) for name, column in columns.items()}))


@dataclass(frozen=True)
class _NewRows:
    columns: Mapping[str, Values]

    def __post_init__(self) -> None:
        counts = {name: row_count(values) for name, values in self.columns.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"the columns of new rows must have as many rows each, not {counts}")

    @property
    def count(self) -> int:
        return row_count(next(iter(self.columns.values()))) if self.columns else 0

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.count}

    def blocks(self, part: str) -> Iterator[Block]:
        for first in range(0, self.count, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, self.count))
            yield Block({name: take(values, rows) for name, values in self.columns.items()}, origin=ORIGIN, first=first)
