"""From facts about a table to a suggestion: what to predict, from which columns, and how.

A suggestion is plain values: `origin`, the table's name; `choices`, options by group; `feature`, the content of a
feature file; `values`, laid over the values of the options; and for people `table`, a line a column, and `notes`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from components.closest import closest_name, format_name, join_names
from components.types import ColumnProfile, ColumnType, DataError, Source, TableProfile
from runner.suggest.column_plan import (
    ColumnPlan,
    count_rows,
    describe_infinite,
    describe_misspelling,
    feature,
    format_override,
    format_type,
    is_usable,
    plan_column,
)

CLASSES = 20  # whole numbers of at most so many values are classes
MOST = 100  # values of numbers that aren't classes by themselves, but may be declared to be
ROWS_PER_CLASS = 5  # on average, at least
COLUMNS = 10_000  # of a table, at most
SPLITS = 3
STEPS = 10_000  # of training, about
HEADING = ("column", "type", "missing", "distinct", "becomes")


def suggest(source: Any) -> dict[str, Any]:
    """The suggestion for a source that is a table.

    Raises:
        DataError: the target is missing or can't be predicted, or no other column is of use.
    """
    table: TableProfile = source.profile()
    if (count := len(table.columns)) > COLUMNS:
        raise DataError(
            f"{table.origin} has {count:,} columns, more than the {COLUMNS:,} that are profiled one by one: write a "
            "feature file of those that matter, and name it (feature=…)"
        )
    columns = {column.name: column for column in table.columns}
    target = _find_target(table, columns)
    aim, answer = _plan_target(columns[target], table.origin)
    others = {name: plan_column(column) for name, column in columns.items() if name != target}
    used = {name: plan for name, plan in others.items() if plan.parts}
    if not used:
        reasons = "; ".join(f"{name}: {plan.text}" for name, plan in others.items())
        raise DataError(f"{table.origin} has no column to predict `{target}` (data.target) from: {reasons}")
    plans = {name: aim if name == target else others[name] for name in columns}
    types = {name: plan.kind or columns[name].kind for name, plan in plans.items() if plan.parts}
    train = _count_training_rows(source, table.origin, columns[target].rows)
    values = answer["values"] | _suggest_sizes(train, texts=any(plan.has_tokens for plan in used.values()))
    notes = [f"{format_name(name)} is {plan.text}" for name, plan in others.items() if not plan.parts]
    return {
        "origin": table.origin,
        "choices": {**answer["choices"], "architecture": "mlp", "optimizer": "adamw", "schedule": "cosine"},
        "feature": {
            "target": aim.parts[0],
            **_name_parts({name: plan.parts for name, plan in used.items()}, set(columns)),
        },
        "values": values | {"data": values.get("data", {}) | {"types": types}},
        "table": [HEADING, *(_describe_column(columns[name], plan, types) for name, plan in plans.items())],
        "notes": [*answer["notes"], *notes],
    }


def _find_target(table: TableProfile, columns: Mapping[str, ColumnProfile]) -> str:
    """The target's name; raises DataError where it can't be one."""
    target, origin = table.target, table.origin
    if len(columns) < 2:
        raise DataError(
            f"{origin} has one column only, {join_names(columns)}; one to predict and one to predict it from are needed"
        )
    if target is None:
        raise DataError(f"data.target is missing: which column of {origin} is to be predicted? ({join_names(columns)})")
    if target not in columns:
        near = closest_name(target, columns)
        word = format_override("data.target", near) if near else ""
        write = f"write {word} " if word.startswith("'") else ""
        hint = f"did you mean {format_name(near)}? {write}" if near else ""
        if all(map(_is_number, columns)):
            hint = "they all are numbers: does the first line lack the names of the columns? "
        raise DataError(f"data.target={target} is no column of {origin}; {hint}({join_names(columns)})")
    return target


def _plan_target(column: ColumnProfile, origin: str) -> tuple[ColumnPlan, dict[str, Any]]:
    """What the target becomes, and the loss and metrics that go with it."""
    _check_target(column, origin)
    classes = column.distinct_count
    kind: ColumnType | None
    many = classes is None or classes > min(CLASSES, column.rows / ROWS_PER_CLASS)
    if (column.kind == "float" and column.is_declared) or (column.kind in ("int", "float") and many):
        may_be_classes = classes and classes <= min(MOST, column.rows / 2)
        hint = f"; {format_type(column.name, 'string')} makes it classes" if may_be_classes else ""
        part = {"_target_": feature("Numeric"), "key": column.name, "normalize": "z_score"}
        kind = "float" if column.kind == "int" else None  # other rows may not be whole
        return ColumnPlan(f"target: a number, z-score{hint}", (part,), kind), _answer("mse", ["rmse", "mae"])
    answer = _answer("binary_cross_entropy" if classes == 2 else "softmax_cross_entropy", ["accuracy"])
    value, rows = column.rarest_value
    if rows >= SPLITS:
        answer["values"]["data"] = {"stratify": column.name}
    else:
        answer["notes"].append(
            f"class {value!r} of {format_name(column.name)} has {count_rows(rows)}, too few for {SPLITS} splits: a run "
            "may refuse it; get more of it, or leave it out"
        )
    hint = f"; {format_type(column.name, 'float')} makes it a number" if column.kind in ("int", "float") else ""
    part = {"_target_": feature("Label"), "key": column.name}
    kind = "int" if column.kind == "float" else None
    return ColumnPlan(f"target: one of {classes} classes{hint}", (part,), kind), answer


def _check_target(column: ColumnProfile, origin: str) -> None:
    """Raises DataError for a target that nothing can be learned about."""
    name, classes = f"column `{column.name}` (data.target) of {origin}", column.distinct_count
    if not is_usable(column.name):
        raise DataError(f"{name} has a name that a configuration can't hold; rename it")
    if column.missing_count == column.rows:
        raise DataError(f"{name} has no values: there is nothing to learn")
    if column.is_constant:
        raise DataError(f"{name} has one value only: there is nothing to learn")
    if column.missing_count:
        spellings = _list_spellings(column)
        hint = f"{spellings}: 'data.nulls=[\"\"]' takes them for values; else " if spellings else ""
        rows = f"no value in {count_rows(column.missing_count)}"
        raise DataError(f"{name} has {rows}, the first is {column.first_missing_location}; {hint}leave those rows out")
    if column.kind == "timestamp":
        raise DataError(f"{name} holds times; a number or a class is needed")
    if column.infinite_count:
        rows = f"{describe_infinite(column)}, the first is {column.first_infinite_location}"
        raise DataError(f"{name} {rows}; correct those rows, or leave them out")
    declared = column.is_declared and classes != column.rows
    if column.kind == "string" and classes and classes > max(2, column.rows / ROWS_PER_CLASS) and not declared:
        remedy = f"these are no classes, but {format_type(column.name, 'string')} makes them some"
        hint = describe_misspelling(column) or (remedy if classes < column.rows else "these are no classes")
        raise DataError(f"{name} has {classes:,} different texts in {column.rows:,} rows: {hint}")


def _answer(loss: str, metrics: list[str]) -> dict[str, Any]:
    return {"choices": {"loss": loss, "metric": metrics}, "values": {}, "notes": []}


def _count_training_rows(source: Source, origin: str, rows: int) -> int:
    """The number of rows of the training split."""
    try:
        return len(source.splits()["train"])
    except DataError as error:
        hint = "" if rows < SPLITS else ", or write data.valid=1 data.test=1"
        raise DataError(f"{origin} has {rows} rows: {error}; get more rows{hint}") from error


def _name_parts(parts: Mapping[str, tuple[dict[str, Any], ...]], raw: set[str]) -> dict[str, Any]:
    """The feature columns, and the input that they make. No name of one is that of another raw column."""
    columns: dict[str, dict[str, Any]] = {}
    taken, used = raw | {"target"}, []
    for own, (first, *more) in parts.items():
        taken -= {own} - {"target"}
        base = name = _make_word(own, taken)
        taken |= {own, name}
        columns[name] = first
        for part in more:
            suffix = "embedding" if part["_target_"] == feature("Embedding") else "ids"
            inner, name = name, _make_word(f"{base}_{suffix}", taken)
            taken.add(name)
            columns[name] = {"_target_": part["_target_"], "key": inner, **part}
        used.append(name)
    return {"columns": columns, "inputs": {"columns": used}}


def _make_word(name: str, taken: Collection[str]) -> str:
    """A column's name as a word that isn't taken."""
    word = re.sub(r"\W+", "_", name).strip("_") or "column"
    number = 1
    while (found := word if number == 1 else f"{word}_{number}") in taken:
        number += 1
    return found


def _suggest_sizes(train: int, *, texts: bool) -> dict[str, Any]:
    """Learning rate, widths, batch size and epochs for so many training rows. Embeddings of words overfit sooner."""
    batch = min(32, max(train, 1)) if train < 3200 else min(512, 2 ** round(math.log2(train / 100)))
    epochs = min(60, max(5, round(STEPS * batch / max(train, 1))))
    widths = [32, 32] if train < 1000 else [64, 64] if train < 100_000 else [128, 64]
    return {
        "learning_rate": 1e-3 if texts else 3e-3,
        "architecture": {"widths": widths},
        "training": {"epochs": epochs, "batch_size": batch, "patience": 10},
    }


def _describe_column(column: ColumnProfile, plan: ColumnPlan, types: Mapping[str, str]) -> tuple[str, ...]:
    """A row of the table for people; the reason why a column is left out stands below the table."""
    distinct = "" if column.distinct_count is None else f"{column.distinct_count:,}"
    missing = f"{column.missing_count:,}" if column.missing_count else ""
    if column.missing_spellings:
        every = sum(column.missing_spellings.values()) == column.missing_count
        missing = _list_spellings(column) if every else f"{missing} ({_list_spellings(column)})"
    becomes = plan.text if plan.parts else "left out"
    return format_name(column.name), types.get(column.name, column.kind), missing, distinct, becomes


def _list_spellings(column: ColumnProfile) -> str:
    """`30 as NA, 2 as null`"""
    return ", ".join(f"{count:,} as {text}" for text, count in column.missing_spellings.items())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True
