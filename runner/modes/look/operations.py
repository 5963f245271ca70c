"""The tables of `mode=look` about operations on rows: what each did, and the first rows before and after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.types import FirstRows, OperationsSummary, OperationSummary
from runner.display.numbers import format_number
from runner.display.tables import Section
from runner.figures.canvas import shorten

DIGITS = 6  # of a number


def operations_tables(summary: OperationsSummary | None) -> list[Section]:
    """The tables about the operations of a run. None: there are none."""
    if summary is None:
        return []
    sections = [_operations_table(summary.operations)]
    for rows, title in ((summary.before, "before"), (summary.after, "after")):
        if rows.columns and rows.numbers:
            sections.append(_first_rows_table(rows, f"the first rows {title} the operations"))
    return sections


def _operations_table(operations: Sequence[OperationSummary]) -> Section:
    """The rows of the source, and a line for each operation: its rows, in all and by split, and what it changes.

    Splits are shown if an operation changes their number of rows.
    """
    first = operations[0]
    splits = [*first.by_split] if any(each.rows_before != each.rows_after for each in operations) else []
    lines = [["before", f"{first.rows_before:,}", *(f"{first.by_split[split][0]:,}" for split in splits), "", ""]]
    for each in operations:
        counts = [f"{each.rows_after:,}", *(f"{each.by_split[split][1]:,}" for split in splits)]
        lines.append([each.name, *counts, each.describe_columns(), _describe_left_out(each)])
    heading = ["operation", "rows", *splits, "columns", "left out"]
    columns = [column for column in zip(heading, *lines, strict=True) if any(column[1:])]
    return Section("rows after each operation", [*zip(*columns, strict=True)], right_columns=range(1, 2 + len(splits)))


def _describe_left_out(operation: OperationSummary) -> str:
    """The number of rows that an operation leaves out, and those with something special."""
    if not operation.reads_all:
        return "all after them"
    count = 0 if operation.makes_rows else operation.rows_before - operation.rows_after
    reasons = (f"{_format_rows(number)}: {reason}" for reason, number in operation.counts.items())
    return "; ".join([*([_format_rows(count)] if count > 0 else []), *reasons])


def _format_rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _first_rows_table(rows: FirstRows, title: str) -> Section:
    names = [name for name, _ in rows.columns]
    lines = zip(*(values for _, values in rows.columns), strict=True)
    texts = [[f"{number:,}", *map(_format_value, line)] for number, line in zip(rows.numbers, lines, strict=True)]
    return Section(title, [["row", *map(shorten, names)], *texts], may_turn=True)


def _format_value(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    return format_number(value, DIGITS) if isinstance(value, float) else shorten(value)
