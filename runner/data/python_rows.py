"""Rows from Python: as a source to predict, and as encoded data with targets to evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from components.columns import Columns, as_columns, is_table
from components.types import Block, Constants, Source, UserError, row_count
from runner.data.columns import take_rows
from runner.data.encode import check_keys, encode_source, first_block
from runner.data.load import Data, Features, program_column_names, used_columns

BLOCK_ROWS = 1 << 17
ORIGIN = "the new rows"  # the name of the rows in messages
NEW_SPLIT = "new"  # the split of labeled rows


def encode_labeled(source: Source, features: Features, constants: Mapping[str, Constants]) -> Data:
    """Encodes all rows of a source, with their target, as the split `new`.

    Args:
        source: the rows.
        features: the target and the columns.
        constants: the constants of the run that is evaluated.

    Raises:
        UserError: a column is missing.
        DataError: a value is wrong, or a class is unknown.
    """
    columns = used_columns(features)
    if (first := first_block(source)) is None:
        raise UserError("there are no rows to evaluate")
    check_keys(columns, first)
    encoded = encode_source(source, columns, constants, program_column_names(features))
    rows = np.arange(sum(source.sizes().values()))
    splits = {"train": rows, NEW_SPLIT: rows}  # a trainer needs a training split, though it isn't trained here
    return Data(encoded, splits, constants, fingerprint="", warnings=())


def as_source(rows: Mapping[str, Any] | Any) -> Source:
    """Turns a mapping of raw columns, or a data frame, into a source. Returns a source unchanged.

    Raises:
        DataError: the columns differ in length, or a column has values of a wrong type.
    """
    return cast(Source, _ColumnSource(as_columns(rows, ORIGIN)) if is_table(rows) else rows)


@dataclass(frozen=True)
class _ColumnSource:
    """Columns with the methods of a source that encoding needs."""

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
