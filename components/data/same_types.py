"""Reads several tables alike: a column has one type in all of them, and its texts are read in one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from components.closest import suggest_name
from components.columns import ALL, READING_OPTIONS, ZONES, merge_options
from components.data.csv.text_table import TextTable
from components.types import ColumnType, DataError

NUMBERS = {"int", "float"}


def read_alike(tables: Mapping[str, TextTable]) -> Mapping[str, TextTable]:
    """The tables by name, of which each is read with what the others show.

    A column of whole numbers in one table and of floats in another has floats. One without a value, or whose texts can
    be read in two ways, has the type of the others.

    Raises:
        DataError: a column is in one table only, or has different types, or its texts are read in different ways.
    """
    first, *others = tables
    for name in others:
        check_names(first, tables[first].table.values, name, tables[name].table.values)
    options: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in tables}
    for column in tables[first].table.types:
        for name, found in _find_options(column, tables).items():
            for option, value in found.items():
                options[name].setdefault(option, {})[column] = value
    return {name: _replace_options(table, options[name]) for name, table in tables.items()}


def check_names(first: str, names: Any, other: str, others: Any) -> None:
    """Raises DataError if a source has a column that another one doesn't have.

    Args:
        first: the name of a source.
        names: the names of its columns.
        other: the name of another source.
        others: the names of the columns of that one.
    """
    for has, columns, lacks, found in ((first, names, other, others), (other, others, first, names)):
        if missing := [name for name in columns if name not in found]:
            hint = suggest_name(missing[0], found, title="Columns")
            which = f"column `{missing[0]}`" if len(missing) == 1 else f"columns {', '.join(missing)}"
            text = f"the source {lacks} has no {which}, which the source {has} has. {hint}"
            raise DataError(f"{text} Sources that are mixed have the same columns.")


def find_common_options(
    tables: Sequence[TextTable], columns: Mapping[str, Literal["int", "float"] | None]
) -> dict[str, Any]:
    """The options with which tables are read, inferred or not, as far as all tables have the same.

    Args:
        tables: the tables.
        columns: as for `inferred_options` of a table.
    """
    first, *others = (_list_options(table, columns) for table in tables)
    return {name: _select_common(value, [each.get(name) for each in others]) for name, value in first.items()}


def _list_options(table: TextTable, columns: Mapping[str, Literal["int", "float"] | None]) -> dict[str, Any]:
    """The options with which a table is read, inferred or not. The arguments are those of `inferred_options`."""
    given = {name: getattr(table, name) for name in READING_OPTIONS if name != "types"}
    own = {name: value for name, value in given.items() if value is not None}
    merged = merge_options(table.inferred_options(columns), own)
    known = (*columns, ALL)
    return {
        name: {key: item for key, item in value.items() if key in known} if isinstance(value, dict) else value
        for name, value in merged.items()
    }


def _select_common(value: Any, others: Sequence[Any]) -> Any:
    """An option of the first table as far as it is that of the others: all of it, or the columns with equal values."""
    if isinstance(value, dict):
        return {
            key: item
            for key, item in value.items()
            if all(key in (each or {}) and each[key] == item for each in others)
        }
    return value if all(each == value for each in others) else None


def _find_options(column: str, tables: Mapping[str, TextTable]) -> dict[str, dict[str, Any]]:
    """The options with which each table reads a column as the others do, as far as it doesn't by itself."""
    kind = _find_type(column, tables)
    found: dict[str, dict[str, Any]] = {name: {} for name in tables}
    if kind is None:
        return found
    for option, value in _join_readings(column, tables).items():
        for name, table in tables.items():
            own = table.table.readings.get(column)
            if not _is_declared(column, table) and (own is None or own.options.get(option) != value):
                found[name][option] = value
    for name, table in tables.items():
        if found[name] or table.table.types.get(column) != kind:  # a mark alone would declare floats
            found[name]["types"] = kind
    return found


def _find_type(column: str, tables: Mapping[str, TextTable]) -> ColumnType | None:
    """The type of a column in all tables. None: no table shows it. Raises DataError if they show several."""
    kinds = {name: table.table.types.get(column) for name, table in tables.items() if _shows_type(column, table)}
    different = {kind for kind in kinds.values() if kind is not None}
    declared = {tables[name]._declared_types.get(column) for name in kinds}
    if different == NUMBERS and "int" not in declared:
        return "float"
    if len(different) > 1 or None in kinds.values():
        (first, one), *others = kinds.items()
        name, other = next((name, other) for name, other in others if other != one)
        remedy = f"Write it with one type in both, or declare it: set `types.{column}=string`, for example."
        raise DataError(
            f"column `{column}` is {other or 'no column of a table'} in the source {name}, but "
            f"{one or 'no column of a table'} in the source {first}. {remedy}"
        )
    return next(iter(different), None)


def _shows_type(column: str, table: TextTable) -> bool:
    """Whether the type is declared, or a value shows it."""
    if _is_declared(column, table):
        return True
    valid = table.table.valid.get(column)
    return column not in table.table.problems and (valid is None or bool(np.asarray(valid).any()))


def _is_declared(column: str, table: TextTable) -> bool:
    return column in table._declared_types


def _join_readings(column: str, tables: Mapping[str, TextTable]) -> dict[str, str]:
    """The inferred options of a column, with which all tables read its texts. DataError: they differ."""
    joined: dict[str, tuple[str, str]] = {}  # option: (name of a table, value)
    for name, table in tables.items():
        reading = table.table.readings.get(column)
        for option, value in reading.options.items() if reading and not _is_declared(column, table) else ():
            other, known = joined.setdefault(option, (name, value))
            if known == value or (option == "dates" and (known in ZONES) != (value in ZONES)):
                joined[option] = (name, value) if known in ZONES and value not in ZONES else (other, known)
                continue
            raise DataError(
                f"column `{column}` is read with `{option}` (={value}) in the source {name}, but with `{option}` "
                f"(={known}) in the source {other}. Write it alike in both, or set `sources.{name}.{option}.{column}` "
                f"and `sources.{other}.{option}.{column}`, if both are right."
            )
    return {option: value for option, (_, value) in joined.items()}


def _replace_options(table: TextTable, options: Mapping[str, Any]) -> TextTable:
    """The same table, which is read with these options too, unless there are none."""
    if not options:
        return table
    own = {name: value for name in READING_OPTIONS if (value := getattr(table, name)) is not None}
    source = replace(table, **merge_options(options, own))
    for name in ("used_columns", "target_columns", "class_separators", "known_columns", "_absent_types"):
        if name in table.__dict__:
            source.__dict__[name] = table.__dict__[name]
    return source
