"""Formats what a suggestion tells the user about columns: overrides, counts of rows, values that are not valid."""

from __future__ import annotations

from collections.abc import Sequence

from components.closest import format_name
from components.types import ColumnProfile, Sentinel, Setting
from runner.override_text import format_override, is_writable, quote_name

RENAMED = "after you rename the column to NAME in the first line of the file"


def format_target_override(name: str) -> str:
    """The override that sets the target: `data.target=y`, `'data.target="a b"'`."""
    return format_name_override("data.target", name)


def format_name_override(key: str, name: str) -> str:
    """The override that sets a key to the name of a column."""
    return format_override(key, name) if is_writable(name) else f"{key}=NAME {RENAMED}"


def format_column_override(option: str, name: str, value: str | Sequence[str]) -> str:
    """The override that sets an option for a column: `data.types.x=string`, `'data.types."a b"=string'`."""
    quoted = quote_name(name)
    override = format_override(f"data.{option}.{quoted or 'NAME'}", value)
    return override if quoted is not None else f"{override} {RENAMED}"


def format_type_override(name: str, kind: str) -> str:
    """The override that sets the type of a column."""
    return format_column_override("types", name, kind)


def describe_likely_dates(column: ColumnProfile) -> str:
    """Says that numbers or texts look like times, and how to read them as times."""
    assert column.likely_dates is not None
    override = format_column_override("dates", column.name, column.likely_dates)
    return f"looks like dates or times. To read it as such, set {override}"


def describe_likely_tags(column: ColumnProfile, class_name: str) -> tuple[str, ...]:
    """Says that texts that are read as one value each may be lists of tags, and which feature column reads these.

    Args:
        column: the column.
        class_name: the feature column.
    """
    if column.likely_tags is None or column.is_type_declared:
        return ()
    text, separator = column.likely_tags
    remedy = f"write a feature file with components.feature.{class_name}, whose separator is {separator!r}"
    return (f"has texts such as {text!r}, each of which is read as one value. If it is a list, {remedy}",)


def describe_rounding() -> str:
    """Says that float64 rounds the numbers of a column."""
    return "has whole numbers beyond 2^53, which float64 rounds"


def format_drop_override(name: str) -> str:
    """The override that leaves a column out: `'data.drop=[id]'`, `'data.drop=["a b"]'`."""
    return format_override("data.drop", [name]) if is_writable(name) else f"'data.drop=[NAME]' {RENAMED}"


def describe_sentinel(column: ColumnProfile, sentinel: Sentinel) -> str:
    """Says that a number or a date may stand for missing values, and how to read it as missing."""
    rows, listed = format_row_count(sentinel.row_count), " or ".join(sentinel.texts)
    nulls = ("", *filter(is_writable, column.missing_spellings), *sentinel.texts)
    override = format_column_override("nulls", column.name, nulls)
    return f"is {listed} in {rows}, far from its other values. If that stands for a missing value, set {override}"


def format_row_count(rows: int) -> str:
    """Formats a number of rows: `1 row`, `2,000 rows`."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def describe_infinite_numbers(column: ColumnProfile) -> str:
    """Says in how many rows a column is infinite or NaN, and where first."""
    return f"is inf or NaN in {format_row_count(column.infinite_count)}, the first is {column.first_infinite}"


def describe_problem(column: ColumnProfile, *, is_only_target: bool = False) -> str:
    """Describes why a column can't be read, and what the user can set. Rows without the only target are left out."""
    assert column.problem is not None
    problem = column.problem
    settings = _format_settings(column.name, problem.settings, is_only_target=is_only_target)
    return f"{format_name(column.name)}: {problem.fault}. {settings}."


def describe_reading(column: ColumnProfile) -> str:
    """Describes how the texts of a column were read."""
    assert column.reading is not None
    note = f"{format_name(column.name)} is {column.reading.describe()}"
    setting = column.reading.setting if column.kind == "string" else Setting("to keep the text", "types", "string")
    return note if setting is None else f"{note}. {_format_settings(column.name, [setting])}"


def _format_settings(name: str, settings: Sequence[Setting], *, is_only_target: bool = False) -> str:
    """A sentence with the overrides of some settings, without its period."""
    drop = ", and leave these rows out, set data.on_missing_target=drop"
    texts = (
        f"{each.purpose}{drop if is_only_target and each.option == 'nulls' else ', set'} {_format_setting(name, each)}"
        for each in filter(_is_writable, settings)
    )
    sentence = "; ".join(texts)
    return f"{sentence[:1].upper()}{sentence[1:]}"


def _format_setting(name: str, setting: Setting) -> str:
    """The override of a setting: `data.types.x=string`, `'data.nulls.x=["","?"]'`, `data.decimal=comma`."""
    if setting.by_column:
        return format_column_override(setting.option, name, setting.value)
    return format_override(f"data.{setting.option}", setting.value)


def _is_writable(setting: Setting) -> bool:
    values = (setting.value,) if isinstance(setting.value, str) else setting.value
    return all(map(is_writable, values))


def list_spellings(column: ColumnProfile) -> str:
    """Lists the texts of missing values with their counts: `30 as NA, 2 as null`."""
    return ", ".join(f"{count:,} as {text}" for text, count in column.missing_spellings.items())
