"""Formats what a suggestion tells the user about columns: overrides, counts of rows, values that are not valid."""

from __future__ import annotations

import re

from components.types import ColumnProfile, NonNumbers, Sentinel

MAX_NULL_TEXTS = 3  # up to so many distinct texts in a column of numbers may stand for missing values
UNQUOTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")  # texts that need no quotes


def format_override(key: str, value: str) -> str:
    """The override that sets a key to the name of a column: `data.target=y`, `'data.target="a b"'` in a shell."""
    return f"{key}={value}" if UNQUOTED.fullmatch(value) else f"""'{key}="{value}"'"""


def format_type_override(name: str, kind: str) -> str:
    """The override that sets the type of a column, or the line in a YAML file if its name is not allowed in a key."""
    if UNQUOTED.fullmatch(name):
        return f"data.types.{name}={kind}"
    return f"`{name}: {kind}` below `types:` in the file that mode=init writes"


def format_drop_override(name: str) -> str:
    """The override that leaves a column out: `data.drop=[id]`, `'data.drop=["a b"]'` in a shell."""
    return f"data.drop=[{name}]" if UNQUOTED.fullmatch(name) else f"""'data.drop=["{name}"]'"""


def describe_sentinel(name: str, sentinel: Sentinel) -> str:
    """Says that a number or a date may stand for missing values, and how to read it as missing."""
    texts = ", ".join(f'"{text}"' for text in sentinel.texts)
    listed = " or ".join(sentinel.texts)
    if UNQUOTED.fullmatch(name):
        remedy = f"set 'data.nulls.{name}=[{texts}]'"
    else:
        remedy = f"write `{name}: [{texts}]` below `nulls:` in the file that mode=init writes"
    rows = format_row_count(sentinel.row_count)
    return f"is {listed} in {rows}, far from its other values. If that stands for a missing value, {remedy}"


def format_row_count(rows: int) -> str:
    """Formats a number of rows: `1 row`, `2,000 rows`."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def describe_infinite_numbers(column: ColumnProfile) -> str:
    """Says in how many rows a column is infinite or NaN."""
    return f"is inf or NaN in {format_row_count(column.infinite_count)}"


def describe_invalid_texts(column: ColumnProfile) -> str | None:
    """Says why texts that look like numbers or dates are read as text. None: the texts look like neither."""
    if column.non_numbers is not None:
        return _describe_non_numbers(column.name, column.non_numbers)
    if column.text_kind is None:
        return None
    kind, example = column.text_kind
    if kind == "numbers":
        remedy = "Correct the file: use a point before decimals, and no separator of thousands."
        return f"its numbers, such as {example!r}, are not valid. {remedy}"
    if kind == "dates":
        remedy = "Write a feature column `Time` with their `format`, such as '%d/%m/%Y'."
        return f"its dates, such as {example!r}, are not ISO 8601. {remedy}"
    return None


def _describe_non_numbers(name: str, found: NonNumbers) -> str:
    """Says which of a column's values are not numbers, and what to do about them."""
    values = "1 value is not a number" if found.row_count == 1 else f"{found.row_count:,} values are not numbers"
    problem = f"{values}, the first is {found.texts[0]!r} ({found.first_location})"
    remedy = "Correct them"
    if len(found.texts) <= MAX_NULL_TEXTS:
        nulls = ",".join(f'"{text}"' for text in ("", *found.texts))
        remedy = f"To read them as missing, set 'data.nulls=[{nulls}]'"
    return f"{problem}. {remedy}. To read all values as categories, set {format_type_override(name, 'string')}"
