"""Summarizes the plan for a table with many columns: how many there are of each kind, and which are unusual."""

from __future__ import annotations

from collections.abc import Mapping

from components.types import ColumnProfile
from runner.suggest.column_plan import ColumnPlan

KINDS = {
    "Numeric": ("number", "numbers"),
    "Vocabulary": ("category", "categories"),
    "Hashed": ("category", "categories"),
    "Time": ("time", "times"),
    "Tokens": ("text", "texts"),
    "MissingIndicator": ("missing indicator", "missing indicators"),
}
"""The name of a kind of column and its plural, by the class of its first feature column."""


def summarize_kinds(columns: Mapping[str, ColumnProfile], plans: Mapping[str, ColumnPlan]) -> str:
    """Counts the columns of each kind: `480 numbers, 12 categories (2 to 14 values), 3 times, 5 left out`.

    Args:
        columns: the profiles of the columns, without the target.
        plans: the plan for each of them.
    """
    members: dict[tuple[str, str], list[ColumnProfile]] = {}
    for name, column in columns.items():
        if first := next(iter(plans[name].feature_columns), None):
            members.setdefault(KINDS[first["_target_"].rpartition(".")[2]], []).append(column)
    texts = [_describe_kind(kind, members[kind]) for kind in dict.fromkeys(KINDS.values()) if kind in members]
    if left_out := len(columns) - sum(map(len, members.values())):
        texts.append(f"{left_out:,} left out")
    return ", ".join(texts)


def is_unusual(column: ColumnProfile, plan: ColumnPlan) -> bool:
    """Whether the user should look at a column: it is left out, has gaps, was read in an unusual way, or has notes."""
    has_reading = column.reading is not None and bool(column.reading.description)
    return not plan.feature_columns or bool(column.missing_count or column.infinite_count or plan.notes) or has_reading


def _describe_kind(kind: tuple[str, str], columns: list[ColumnProfile]) -> str:
    """The number of columns of a kind; of categories, also the range of the numbers of their values."""
    text = f"{len(columns):,} {kind[len(columns) > 1]}"
    if kind != KINDS["Vocabulary"]:
        return text
    counts = sorted({column.distinct_count or 0 for column in columns})
    return f"{text} ({' to '.join(f'{count:,}' for count in dict.fromkeys((counts[0], counts[-1])))} values)"
