"""What a table of unknown columns may be: what to predict, from which columns, and how.

A suggestion is plain values: `origin`, the table's name; `choices`, options by group; `feature`, the content of a
feature file; `values`, laid over what the options say; and for people `table`, a line a column, and `notes`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.closest import closest_name, list_names, show_name
from components.data.csv_file import Columns
from components.data.csv_table import Kind
from components.data.naming import setting, typed
from components.data.overview import Overview, overview, rarest
from components.data.texts import is_number
from components.data.verdict import Verdict, infinite, is_usable, misspelt, named, verdict
from components.types import DataError

CLASSES = 20  # whole numbers of at most so many values are classes
MOST = 100  # that are worth a word where numbers are no classes by themselves
ROWS_A_CLASS = 5  # on average, at least
COLUMNS = 10_000  # at most, that something is inferred of
SPLITS = 3
STEPS = 10_000  # of training, about
HEADING = ("column", "type", "missing", "distinct", "becomes")


class Suggested(NamedTuple):
    """A table of which one column is to be predicted."""

    columns: Columns
    origin: str  # its name for people
    where: Callable[[int], str]  # names a row
    declared: Mapping[str, Kind]  # types that the user gave
    gaps: Callable[[Sequence[str]], Mapping[str, Mapping[str, int]]]  # how often a gap is spelt how, in some columns
    train: Callable[[], int]  # the number of rows to learn from; raises DataError where there are none


def suggest(table: Suggested, target: str | None) -> dict[str, Any]:
    """The suggestion for a table of which one column is to be predicted.

    Raises DataError where `target` is no column or can't be predicted, or where no other column is of use.
    """
    if (count := len(table.columns.kinds)) > COLUMNS:
        raise DataError(
            f"{table.origin} has {count:,} columns, more than the {COLUMNS:,} that are looked at one by one: write a "
            "feature file of those that matter, and name it (feature=…)"
        )
    found = {name: overview(table.columns, name) for name in table.columns.kinds}
    aim, answer = _target(found[_checked(table, target)], table)
    others = {name: verdict(one, name in table.declared, table.where) for name, one in found.items() if name != target}
    used = {name: one for name, one in others.items() if one.parts}
    if not used:
        said = "; ".join(f"{name}: {one.says}" for name, one in others.items())
        raise DataError(f"{table.origin} has no column to predict `{target}` (data.target) from: {said}")
    verdicts = {name: aim if name == target else others[name] for name in found}
    types = {name: one.kind or found[name].kind for name, one in verdicts.items() if one.parts}
    values = answer["values"] | _sizes(table.train(), texts=any(one.texts for one in used.values()))
    spelt = table.gaps([name for name, one in found.items() if one.missing])
    return {
        "origin": table.origin,
        "choices": {**answer["choices"], "architecture": "mlp", "optimizer": "adamw", "schedule": "cosine"},
        "feature": {"target": aim.parts[0], **_feature({name: one.parts for name, one in used.items()}, set(found))},
        "values": values | {"data": values.get("data", {}) | {"types": types}},
        "table": [HEADING, *(_line(found[name], one, types, spelt) for name, one in verdicts.items())],
        "notes": [
            *answer["notes"],
            *(f"{show_name(name)} is {one.says}" for name, one in others.items() if not one.parts),
        ],
    }


def _checked(table: Suggested, target: str | None) -> str:
    """The target's name, if it can be one."""
    names, origin = list(table.columns.kinds), table.origin
    if len(names) < 2:
        raise DataError(
            f"{origin} has one column only, {list_names(names)}; one to predict and one to predict it from are needed"
        )
    if target is None:
        raise DataError(f"data.target is missing: which column of {origin} is to be predicted? ({list_names(names)})")
    if target not in names:
        near = closest_name(target, names)
        word = setting("data.target", near) if near else ""
        write = f"write {word} " if word.startswith("'") else ""
        hint = f"did you mean {show_name(near)}? {write}" if near else ""
        if all(map(is_number, names)):
            hint = "they all are numbers: does the first line lack the names of the columns? "
        raise DataError(f"data.target={target} is no column of {origin}; {hint}({list_names(names)})")
    return target


def _target(column: Overview, table: Suggested) -> tuple[Verdict, dict[str, Any]]:
    """What the target is, and what loss and metrics go with it."""
    _check_target(column, table)
    classes, declared = column.distinct, table.declared.get(column.name)
    many = classes is None or classes > min(CLASSES, column.rows / ROWS_A_CLASS)
    if (column.kind == "float" and declared == "float") or (column.kind in ("int", "float") and many):
        hint = (
            f"; {typed(column.name, 'string')} makes it classes"
            if classes and classes <= min(MOST, column.rows / 2)
            else ""
        )
        part = {"_target_": named("Numeric"), "key": column.name, "normalize": "z_score"}
        kind: Kind | None = "float" if column.kind == "int" else None  # those of other rows may be none
        return Verdict(f"target: a number, z-score{hint}", (part,), kind), _answer("mse", ["rmse", "mae"])
    answer = _answer("binary_cross_entropy" if classes == 2 else "softmax_cross_entropy", ["accuracy"])
    value, rows = rarest(column)
    if rows >= SPLITS:
        answer["values"]["data"] = {"stratify": column.name}
    else:
        count = "1 row" if rows == 1 else f"{rows} rows"
        answer["notes"].append(
            f"class {value!r} of {show_name(column.name)} has {count}, too few for {SPLITS} splits: a run may refuse "
            "it; get more of it, or leave it out"
        )
    hint = f"; {typed(column.name, 'float')} makes it a number" if column.kind in ("int", "float") else ""
    part = {"_target_": named("Label"), "key": column.name}
    kind = "int" if column.kind == "float" else None
    return Verdict(f"target: one of {classes} classes{hint}", (part,), kind), answer


def _check_target(column: Overview, table: Suggested) -> None:
    """Refuses a target that nothing can be learned of."""
    name, classes, where = f"column `{column.name}` (data.target) of {table.origin}", column.distinct, table.where
    if not is_usable(column.name):
        raise DataError(f"{name} has a name that a configuration can't hold; rename it")
    if not column.present or column.constant:
        raise DataError(f"{name} has {'one value only' if column.present else 'no values'}: there is nothing to learn")
    if column.missing:
        first = where(int(np.argmin(table.columns.valid[column.name])))
        spelt = _spelt(table.gaps([column.name]).get(column.name, {}))
        hint = f"{spelt}: 'data.nulls=[\"\"]' takes them for values; else " if spelt else ""
        rows = f"no value in {column.missing:,} {'row' if column.missing == 1 else 'rows'}"
        raise DataError(f"{name} has {rows}, the first is {first}; {hint}leave those rows out")
    if column.kind == "timestamp":
        raise DataError(f"{name} holds times; a number or a class is needed")
    if column.infinite:
        first = where(int(np.argmin(np.isfinite(column.there))))
        raise DataError(f"{name} {infinite(column)}, the first is {first}; mend those rows, or leave them out")
    declared = column.name in table.declared and classes != column.rows
    if column.kind == "string" and classes and classes > max(2, column.rows / ROWS_A_CLASS) and not declared:
        sure = f"these are no classes, but {typed(column.name, 'string')} makes them some"
        hint = misspelt(column, where) or (sure if classes < column.rows else "these are no classes")
        raise DataError(f"{name} has {classes:,} different texts in {column.rows:,} rows: {hint}")


def _answer(loss: str, metrics: list[str]) -> dict[str, Any]:
    return {"choices": {"loss": loss, "metric": metrics}, "values": {}, "notes": []}


def _feature(parts: Mapping[str, tuple[dict[str, Any], ...]], raw: set[str]) -> dict[str, Any]:
    """The feature columns and the one input that they make; no name is that of another raw column."""
    columns: dict[str, dict[str, Any]] = {}
    taken, used = raw | {"target"}, []
    for own, (first, *more) in parts.items():
        taken -= {own} - {"target"}
        base = name = _word(own, taken)
        taken |= {own, name}
        columns[name] = first
        for part in more:
            suffix = "embedding" if part["_target_"] == named("Embedding") else "ids"
            inner, name = name, _word(f"{base}_{suffix}", taken)
            taken.add(name)
            columns[name] = {"_target_": part["_target_"], "key": inner, **part}
        used.append(name)
    return {"columns": columns, "inputs": {"columns": used}}


def _word(name: str, taken: Collection[str]) -> str:
    """A column's name as a word of its own."""
    word = re.sub(r"\W+", "_", name).strip("_") or "column"
    number = 1
    while (found := word if number == 1 else f"{word}_{number}") in taken:
        number += 1
    return found


def _sizes(train: int, *, texts: bool) -> dict[str, Any]:
    """Rate, widths, batches and epochs for so many rows to learn from; vectors of words soon learn them by heart."""
    batch = min(32, max(train, 1)) if train < 3200 else min(512, 2 ** round(math.log2(train / 100)))
    epochs = min(60, max(5, round(STEPS * batch / max(train, 1))))
    widths = [32, 32] if train < 1000 else [64, 64] if train < 100_000 else [128, 64]
    return {
        "learning_rate": 1e-3 if texts else 3e-3,
        "architecture": {"widths": widths},
        "training": {"epochs": epochs, "batch_size": batch, "patience": 10},
    }


def _line(
    column: Overview, found: Verdict, types: Mapping[str, str], spelt: Mapping[str, Mapping[str, int]]
) -> tuple[str, ...]:
    """What people read of a column; why one is left out is told below the table."""
    distinct = "" if column.distinct is None else f"{column.distinct:,}"
    gaps = spelt.get(column.name, {})
    missing = f"{column.missing:,}" if column.missing else ""
    if gaps:
        missing = _spelt(gaps) if sum(gaps.values()) == column.missing else f"{missing} ({_spelt(gaps)})"
    becomes = found.says if found.parts else "left out"
    return show_name(column.name), types.get(column.name, column.kind), missing, distinct, becomes


def _spelt(gaps: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} as {text}" for text, count in gaps.items())
