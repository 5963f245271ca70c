"""What a table of unknown columns may be: what to predict, from which columns, and how.

A suggestion is plain values: `origin`, the table's name; `choices`, options by group; `feature`, the content of a
feature file; `values`, laid over what the options say; and for people `table`, a line a column, and `notes`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from components.data.csv_file import Columns
from components.data.overview import Overview, overview, rarest
from components.data.verdict import Verdict, infinite, is_usable, named, verdict
from components.types import DataError

CLASSES = 20  # whole numbers of at most so many values are classes
ROWS_A_CLASS = 5  # on average, at least
STEPS = 10_000  # of training, about
HEADING = ("column", "type", "missing", "distinct", "becomes")


def suggest(
    columns: Columns, target: str | None, origin: str, train: int, where: Callable[[int], str]
) -> dict[str, Any]:
    """The suggestion for a table of which one column is to be predicted, learning from `train` rows; `where` names one.

    Raises DataError where `target` is no column or can't be predicted, or where no other column is of use.
    """
    found = {name: overview(columns, name) for name in columns.kinds}
    aim, answer = _target(found[_checked(columns, target, origin)], columns, origin, where)
    verdicts = {name: aim if name == target else verdict(one) for name, one in found.items()}
    used = {name: one for name, one in verdicts.items() if one.parts and name != target}
    if not used:
        said = "; ".join(f"{name}: {one.says}" for name, one in verdicts.items() if name != target)
        raise DataError(f"{origin} has no column to predict `{target}` (data.target) from: {said}")
    types = {name: one.kind or found[name].kind for name, one in verdicts.items() if one.parts}
    values = answer["values"] | _sizes(train)
    return {
        "origin": origin,
        "choices": {**answer["choices"], "architecture": "mlp", "optimizer": "adamw", "schedule": "cosine"},
        "feature": {"target": aim.parts[0], **_feature({name: one.parts for name, one in used.items()}, set(found))},
        "values": values | {"data": values.get("data", {}) | {"types": types}},
        "table": [HEADING, *(_line(found[name], one.says) for name, one in verdicts.items())],
        "notes": [f"{name} is {one.says}" for name, one in verdicts.items() if not one.parts],
    }


def _checked(columns: Columns, target: str | None, origin: str) -> str:
    """The target's name, if it can be one."""
    names = ", ".join(columns.kinds)
    if len(columns.kinds) < 2:
        raise DataError(f"{origin} has one column only, {names}; one to predict and one to predict it from are needed")
    if target is None:
        raise DataError(f"data.target is missing: which column of {origin} is to be predicted? ({names})")
    if target not in columns.kinds:
        near = difflib.get_close_matches(target, columns.kinds, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(f"data.target={target} is no column of {origin}; {hint}({names})")
    return target


def _target(
    column: Overview, columns: Columns, origin: str, where: Callable[[int], str]
) -> tuple[Verdict, dict[str, Any]]:
    """What the target is, and what loss and metrics go with it."""
    name, classes = f"column `{column.name}` (data.target) of {origin}", column.distinct
    if not is_usable(column.name):
        raise DataError(f"{name} has a name that a configuration can't hold; rename it")
    if not column.present or column.constant:
        raise DataError(f"{name} has {'one value only' if column.present else 'no values'}: there is nothing to learn")
    if column.missing:
        first = where(int(np.argmin(columns.valid[column.name])))
        raise DataError(f"{name} has no value in {column.missing:,} rows, the first is {first}; leave those rows out")
    if column.kind == "timestamp":
        raise DataError(f"{name} holds times; a number or a class is needed")
    if column.infinite:
        first = where(int(np.argmin(np.isfinite(column.there))))
        raise DataError(f"{name} {infinite(column)}, the first is {first}; mend those rows, or leave them out")
    if column.kind == "string" and classes is not None and classes > max(2, column.rows / ROWS_A_CLASS):
        raise DataError(f"{name} has {classes:,} different texts in {column.rows:,} rows: these are no classes")
    if classes is None or (column.kind in ("int", "float") and classes > min(CLASSES, column.rows / ROWS_A_CLASS)):
        part = {"_target_": named("Numeric"), "key": column.name, "normalize": "z_score"}
        return Verdict("target: a number, z-score", (part,)), _answer("mse", ["rmse", "mae"])
    answer = _answer("binary_cross_entropy" if classes == 2 else "softmax_cross_entropy", ["accuracy"])
    if rarest(column) > 2:  # one for each split
        answer["values"]["data"] = {"stratify": column.name}
    part = {"_target_": named("Label"), "key": column.name}
    return Verdict(f"target: one of {classes} classes", (part,), "int" if column.kind == "float" else None), answer


def _answer(loss: str, metrics: list[str]) -> dict[str, Any]:
    return {"choices": {"loss": loss, "metric": metrics}, "values": {}}


def _feature(parts: Mapping[str, tuple[dict[str, Any], ...]], raw: set[str]) -> dict[str, Any]:
    """The feature columns and the one input that they make; no name is that of another raw column."""
    columns: dict[str, dict[str, Any]] = {}
    listed = []
    for own, (first, *more) in parts.items():
        name = _word(own, raw - {own} | {"target"} | columns.keys())
        columns[name] = first
        for part in more:
            inner, name = name, _word(f"{name}_embedding", raw | columns.keys())
            columns[name] = {"_target_": part["_target_"], "key": inner, **part}
        listed.append(name)
    return {"columns": columns, "inputs": {"columns": listed}}


def _word(name: str, taken: Collection[str]) -> str:
    """A column's name as a word of its own."""
    word = re.sub(r"\W+", "_", name).strip("_") or "column"
    number = 1
    while (found := word if number == 1 else f"{word}_{number}") in taken:
        number += 1
    return found


def _sizes(train: int) -> dict[str, Any]:
    """Widths, batches and epochs for so many rows to learn from."""
    batch = min(32, max(train, 1)) if train < 3200 else min(512, 2 ** round(math.log2(train / 100)))
    epochs = min(60, max(5, round(STEPS * batch / max(train, 1))))
    widths = [32, 32] if train < 1000 else [64, 64] if train < 100_000 else [128, 64]
    return {
        "learning_rate": 3e-3,
        "architecture": {"widths": widths},
        "training": {"epochs": epochs, "batch_size": batch, "patience": 10},
    }


def _line(column: Overview, becomes: str) -> tuple[str, ...]:
    distinct = "" if column.distinct is None else f"{column.distinct:,}"
    return column.name, column.kind, f"{column.missing:,}" if column.missing else "", distinct, becomes
