"""Formats what a suggestion tells the user about columns: overrides, counts of rows, values that are not valid."""

from __future__ import annotations

import json
import re
import shlex

from components.closest import format_name
from components.types import ColumnProfile, Remedy, Sentinel

UNQUOTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")  # texts that need no quotes
SHELL_SAFE = re.compile(r"[\w.=:/-]+")


def format_override(key: str, value: str) -> str:
    """The override that sets a key to the name of a column: `data.target=y`, `'data.target="a b"'` in a shell."""
    return f"{key}={value}" if UNQUOTED.fullmatch(value) else f"""'{key}="{value}"'"""


def format_column_override(option: str, name: str, value: str) -> str:
    """The override that sets an option for a column: `data.types.x=string`, `'data.types."a b"=string'`."""
    quoted = name if UNQUOTED.fullmatch(name) else f"'{name}'" if '"' in name else f'"{name}"'
    override = f"data.{option}.{quoted}={value}"
    return override if SHELL_SAFE.fullmatch(override) else shlex.quote(override)


def format_type_override(name: str, kind: str) -> str:
    """The override that sets the type of a column."""
    return format_column_override("types", name, kind)


def format_drop_override(name: str) -> str:
    """The override that leaves a column out, as it is typed in a shell: `'data.drop=[id]'`, `'data.drop=["a b"]'`."""
    return shlex.quote(f"data.drop=[{name if UNQUOTED.fullmatch(name) else _format_texts(name)}]")


def describe_sentinel(column: ColumnProfile, sentinel: Sentinel) -> str:
    """Says that a number or a date may stand for missing values, and how to read it as missing."""
    rows, listed = format_row_count(sentinel.row_count), " or ".join(sentinel.texts)
    nulls = _format_texts("", *column.missing_spellings, *sentinel.texts)
    override = format_column_override("nulls", column.name, f"[{nulls}]")
    return f"is {listed} in {rows}, far from its other values. If that stands for a missing value, set {override}"


def format_row_count(rows: int) -> str:
    """Formats a number of rows: `1 row`, `2,000 rows`."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def describe_infinite_numbers(column: ColumnProfile) -> str:
    """Says in how many rows a column is infinite or NaN."""
    return f"is inf or NaN in {format_row_count(column.infinite_count)}"


def describe_problem(column: ColumnProfile) -> str:
    """Describes why a column can't be read, and what the user can set."""
    assert column.problem is not None
    remedies = "; ".join(
        f"{remedy.purpose}, set {_format_remedy(column.name, remedy)}" for remedy in column.problem.remedies
    )
    return f"{format_name(column.name)}: {column.problem.fault}. {remedies[:1].upper()}{remedies[1:]}."


def describe_reading(column: ColumnProfile) -> str:
    """Describes how the texts of a column were read."""
    assert column.reading is not None
    note = f"{format_name(column.name)} is {column.reading.describe()}"
    return note + (
        f". To keep the text, set {format_type_override(column.name, 'string')}" if column.kind != "string" else ""
    )


def _format_remedy(name: str, remedy: Remedy) -> str:
    """The override of a remedy: `data.types.x=string`, `'data.nulls.x=["","?"]'`, `data.decimal=comma`."""
    if not remedy.by_column:
        return f"data.{remedy.option}={remedy.value}"
    if isinstance(remedy.value, str):
        return format_column_override(remedy.option, name, remedy.value)
    return format_column_override(remedy.option, name, f"[{_format_texts(*remedy.value)}]")


def _format_texts(*texts: str) -> str:
    return ",".join(json.dumps(text, ensure_ascii=False) for text in texts)
