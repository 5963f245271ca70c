"""Rows beside those that columns are fitted on: given parts `valid` and `test`, and new rows. Their gaps are filled."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import numpy as np

from components.types import Block, Column, Constants, Encoded, EncodingWarnings, FillsGaps, Source
from runner.data.encode import GivenColumns, block_rows, blocks_with_offsets, encode_source, parent_keys
from runner.data.used_rows import locate_row, read_value
from runner.data.workers import Workers

GIVEN = ("valid", "test")


@dataclass(frozen=True)
class Part:
    """A part of a source, with the methods of a source that encoding needs.

    Attributes:
        source: the source.
        part: the name of the part.
    """

    source: Source
    part: str

    def sizes(self) -> Mapping[str, int]:
        return {self.part: self.source.sizes()[self.part]}

    def blocks(self, part: str) -> Iterator[Block]:
        return self.source.blocks(part)


@dataclass(frozen=True)
class Gaps:
    """Missing values that columns fill.

    Attributes:
        rows: the rows without a value, sorted int64, by raw column.
        notes: a sentence about each raw column.
    """

    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def describe_given_parts(
    source: Source, columns: Mapping[str, Column], constants: Mapping[str, Constants], workers: Workers
) -> Iterator[str]:
    """Sentences about gaps in given parts where the training split has none, and about unknown categories.

    Args:
        source: the rows.
        columns: the columns that encode them.
        constants: their constants.
        workers: they encode the rows.
    """
    # Unknown words of texts are usual, and are not counted.
    counted = {
        name: column
        for name, column in columns.items()
        if isinstance(column, EncodingWarnings) and not parent_keys(columns, name)
    }
    for part in (part for part in source.sizes() if part in GIVEN):
        rows = cast(Source, Part(source, part))
        filled, gaps = fill_gaps(columns, constants, rows)
        filled = {name: filled[name] for name in counted}
        encoded = encode_source(rows, filled, constants, list(counted), workers=workers) if counted else {}
        warnings = warn_of_values(rows, filled, constants, encoded, gaps)
        yield from (f"the given {part} split: {note}" for note in (*gaps.notes, *warnings))


def warn_of_values(
    source: Source,
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants],
    encoded: Mapping[str, Mapping[str, Encoded]],
    gaps: Gaps,
) -> list[str]:
    """The warnings of columns about rows beside those that they are fitted on.

    Args:
        source: the rows.
        columns: the columns that encode them.
        constants: their constants.
        encoded: the encoded rows of the columns that warn.
        gaps: the gaps that the columns fill.
    """
    warnings: list[str] = []
    for name, column in columns.items():
        if name in encoded and isinstance(column, EncodingWarnings):
            rows = next((gaps.rows[key] for key in column.keys if key in gaps.rows), None)
            read, locate = partial(read_value, source), partial(locate_row, source)
            warnings += column.warnings(encoded[name], constants[name], read, locate, rows)
    return warnings


def given_columns(source: Source, columns: Mapping[str, Column], constants: Mapping[str, Constants]) -> GivenColumns:
    """The columns that encode rows of given parts. The arguments are those of `fill_gaps`."""
    parts, stops = [*source.sizes()], [*itertools.accumulate(source.sizes().values())]
    filled = {name: _fill_column(column, constants[name]) or column for name, column in columns.items()}
    return GivenColumns(filled, lambda offset: parts[bisect.bisect_right(stops, offset)] in GIVEN)


def fill_gaps(
    columns: Mapping[str, Column], constants: Mapping[str, Constants], source: Source
) -> tuple[dict[str, Column], Gaps]:
    """The columns for new rows, which fill gaps although the training split had none.

    Args:
        columns: the columns of a run.
        constants: their constants.
        source: the new rows.

    Returns:
        The columns, and the gaps that they fill.
    """
    filled, values = dict(columns), dict[str, str]()
    for name, column in columns.items():
        filling = _fill_column(column, constants[name])
        if filling is not None and isinstance(column, FillsGaps):
            filled[name] = filling
            parents = parent_keys(columns, name)
            values |= {key: column.gap_value for key in column.keys if key not in parents}
    count, found = 0, {key: [np.empty(0, np.int64)] for key in values}
    for offset, block in blocks_with_offsets(source) if values else ():  # without columns to count, nothing is read
        count = offset + block_rows(block)
        for key in values.keys() & block.columns.keys():
            found[key].append(offset + _find_gaps(block, key))
    gaps = {key: rows for key, each in found.items() if len(rows := np.concatenate(each))}
    notes = (
        f"column `{key}` has no value in {len(rows):,} of {count:,} rows; {values[key]} stands for it"
        for key, rows in gaps.items()
    )
    return filled, Gaps(gaps, tuple(notes))


def _fill_column(column: Column, constants: Constants) -> Column | None:
    """The column that fills gaps; None: it needs no other, or can't."""
    return column.filling_gaps(constants) if isinstance(column, FillsGaps) else None


def _find_gaps(block: Block, key: str) -> np.ndarray:
    """The rows without a value of a raw column, sorted int64."""
    values, mask = block.columns[key], block.valid.get(key, np.ones(block_rows(block), bool))
    if isinstance(values, np.ndarray) and values.ndim == 1:
        if values.dtype.hasobject:
            mask = mask & np.array([value is not None for value in values], bool)
        elif values.dtype.kind in "fM":
            mask = mask & (values == values)  # NaN and NaT differ from themselves
    return np.flatnonzero(~mask)
