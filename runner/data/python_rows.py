"""Rows from Python: as the data of a run, as a source to predict, and as encoded data with targets to evaluate."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from components.closest import suggest_name
from components.columns import (
    ALL,
    READING_OPTIONS,
    Columns,
    as_columns,
    as_table,
    columns_by_name,
    is_table,
    keep_lists,
)
from components.types import (
    AllowsAbsentColumns,
    Block,
    Column,
    Constants,
    ConvertsRows,
    RowOperation,
    Source,
    Strings,
    UserError,
    find_columns_read,
    row_count,
)
from runner.config.catalog import FRAME
from runner.data.columns import ArrayLayout, match_layouts, take_rows
from runner.data.encode import (
    check_keys,
    config_key,
    encode_source,
    first_block,
    is_input_column,
    raw_keys,
    target_column,
)
from runner.data.load import Data, Features, program_column_names
from runner.data.operations import list_new_row_operations, operate_new_rows
from runner.data.windows import find_new_examples, view_examples
from runner.signature.build import build_source

BLOCK_ROWS = 1 << 17
ORIGIN = "the new rows"  # the name of the rows in messages
NEW_SPLIT = "new"  # the split of labeled rows


@dataclass(frozen=True, eq=False)
class PythonTable:
    """A table that a call from Python passes as data.

    Attributes:
        columns: a mapping of columns, or a data frame.
    """

    columns: Any
    _sources: dict[str, Source] = field(default_factory=dict, init=False)

    def make_source(self, node: Mapping[str, Any]) -> Source:
        """The source of a configuration, with these columns. The runs of a sweep share it, so it is read once.

        Args:
            node: the configuration of the source, without its columns.
        """
        key = json.dumps(node, sort_keys=True)
        if key not in self._sources:
            self._sources[key] = build_source(node, columns=self.columns)
        return self._sources[key]

    def fingerprint(self) -> str:
        """A digest that changes when the table changes."""
        return self.make_source({"_target_": FRAME}).fingerprint()


PythonData: TypeAlias = Source | PythonTable
"""The data that a call from Python passes."""


class NewRows(NamedTuple):
    """New rows, as a source.

    Attributes:
        source: the rows.
        notes: sentences about how they were read.
    """

    source: Source
    notes: tuple[str, ...] = ()


def open_rows(
    rows: Mapping[str, Any] | Any,
    columns: Mapping[str, Column],
    options: Mapping[str, Any] = MappingProxyType({}),
    list_keys: Collection[str] = (),
    operations: Sequence[RowOperation] = (),
) -> NewRows:
    """Opens new rows as a source, and converts their values to those of the training rows.

    Args:
        rows: a mapping of raw columns, or a data frame. A source is returned unchanged, but for columns of gaps.
        columns: the columns that read them.
        options: the options of the run's source, with which texts are read as in training. Empty: texts are kept.
        list_keys: the raw columns that have lists in their rows. Python's lists there are lists also if an array could
            hold them, and so are the gaps of a source in which no row has a value.
        operations: the row operations of the run. New rows pass through those that compute columns.

    Raises:
        UserError: a column is missing.
        DataError: the columns differ in length, or a column has values of a wrong type.
    """
    opened = _open_rows(rows, columns, options, list_keys, list_new_row_operations(operations))
    source, notes = operate_new_rows(opened.source, operations)
    return NewRows(source, (*opened.notes, *notes))


def _open_rows(
    rows: Mapping[str, Any] | Any,
    columns: Mapping[str, Column],
    options: Mapping[str, Any],
    list_keys: Collection[str],
    operations: Sequence[RowOperation],
) -> NewRows:
    """Opens new rows before their operations. The arguments are those of `open_rows`."""
    needed = find_columns_read(operations, raw_keys(columns))
    if not is_table(rows):
        source = cast(Source, rows)
        if isinstance(source, AllowsAbsentColumns) and needed is not None:
            source = source.with_known_columns(needed, options.get("types"), list_keys)
        return NewRows(source)
    raw = columns_by_name(as_table(rows), ORIGIN)
    rows = {name: keep_lists(name, column) if name in list_keys else column for name, column in raw.items()}
    converting = [column for column in columns.values() if isinstance(column, ConvertsRows)]
    given = as_columns(rows, ORIGIN, images={column.key for column in converting}, mixed_zones=bool(options))
    source = cast(Source, _ColumnSource(given))
    if (first := first_block(source)) is None:
        return NewRows(source)
    if not operations:
        check_keys(columns, first)
    values, valid, notes = dict(given.values), dict(given.valid), dict[str, None]()
    for column in converting:
        array = values.get(column.key)
        if isinstance(array, np.ndarray | Strings):
            values[column.key], note = column.convert_rows(array)
            notes |= {note: None} if note else {}
    if options:
        keys = {*(rows if needed is None else needed)} - {column.key for column in converting}
        table, readings = _read_like_training({key: rows[key] for key in rows if key in keys}, options)
        values |= table.values
        valid = {key: mask for key, mask in valid.items() if key not in table.values} | dict(table.valid)
        notes |= dict.fromkeys(readings)
    return NewRows(cast(Source, _ColumnSource(Columns(values, valid))), tuple(notes))


def _read_like_training(columns: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Columns, tuple[str, ...]]:
    """Reads columns with the options of a run's source. Returns them and sentences about how texts were read."""
    if not columns:
        return Columns({}, {}), ()
    own = {
        name: {key: item for key, item in value.items() if key in (*columns, ALL)} if isinstance(value, dict) else value
        for name, value in options.items()
        if name in READING_OPTIONS
    }
    source: Any = PythonTable(columns).make_source({"_target_": FRAME, "name": ORIGIN, **own})
    return Columns(source.table.values, source.table.valid), source.reading_notes(columns, declared=True)


def encode_labeled(
    source: Source,
    features: Features,
    constants: Mapping[str, Constants],
    columns: Mapping[str, Column],
    layouts: Mapping[str, Mapping[str, ArrayLayout]],
) -> Data:
    """Encodes all rows of a source, with their target, as the split `new`.

    Args:
        source: the rows.
        features: the target and the columns.
        constants: the constants of the run that is evaluated.
        columns: the columns that encode them: those of the run, or others that fill gaps.
        layouts: the layout of each array in training, by column and name.

    Raises:
        UserError: a column is missing, or is encoded in another layout than in training.
        DataError: a value is wrong, or a class is unknown.
    """
    if (first := first_block(source)) is None:
        raise UserError("there are no rows to evaluate")
    for name, target in features.targets.items():
        for key in target.keys:
            if key not in first.columns:
                raise UserError(
                    f"{config_key(target_column(name))}: there is no column `{key}` in {first.origin}, and an "
                    f"evaluation needs the target. {suggest_name(key, first.columns, title='Columns')} "
                    "To predict rows without it, use predict (mode=predict)."
                )
    check_keys({**columns, **features.example_columns}, first)
    encoded = encode_source(source, columns, constants, program_column_names(features))
    inputs = {name: arrays for name, arrays in encoded.items() if is_input_column(name)}
    encoded = {**encoded, **match_layouts(inputs, layouts)}
    rows = np.arange(sum(source.sizes().values()))
    splits = {"train": rows, NEW_SPLIT: rows}  # a trainer needs a training split, though it isn't trained here
    data = Data(encoded, splits, constants, fingerprint="", warnings=())
    if features.examples is None:
        return data
    found = find_new_examples(source, features.examples, with_targets=True)
    return replace(
        data,
        encoded=view_examples(encoded, features.examples, found.examples.order),
        splits=dict.fromkeys(splits, found.examples.rows[0]),
        warnings=found.describe_left_out(features.examples),
    )


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
