"""What a table of unknown columns may be: what to predict, from which columns, and how.

A suggestion is plain values: `origin`, the table's name; `choices`, options by group; `feature`, the content of a
feature file; `values`, laid over what the options say; and for people `table`, a line a column, and `notes`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from components.data.csv_file import Columns, Kind
from components.data.overview import Overview, odd_text, overview, rarest, skewness
from components.types import DataError, Strings

CLASSES = 20  # whole numbers of at most so many values are classes
ROWS_A_CLASS = 5  # on average, at least
FEW = 32  # strings of at most so many values are told apart one by one, of more embedded
MANY = 20_000  # and of more hashed
UNIQUE = 0.5  # of the rows: with more different values, strings say little of rows to come
SKEWED = 2.0  # numbers from 0 on of a greater skewness are taken by their logarithm
STEPS = 10_000  # of training, about
HEADING = ("column", "type", "missing", "distinct", "becomes")


class Verdict(NamedTuple):
    """What becomes of a column."""

    says: str
    parts: tuple[dict[str, Any], ...] = ()  # feature columns; of two, the second reads the first
    kind: Kind | None = None  # what the column is to be read as, where not as it was found


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


def verdict(column: Overview) -> Verdict:
    """What becomes of a column that isn't the target."""
    if not column.present:
        return Verdict("left out: it has no values")
    if column.constant and not (column.kind == "string" and column.missing):
        return Verdict("left out: it has one value only")
    return {"string": _text, "timestamp": _time}.get(column.kind, _number)(column)


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
    name, classes = f"column `{column.name}` (data.target) of {origin}", column.distinct or 0
    if not column.present or column.constant:
        raise DataError(f"{name} has {'one value only' if column.present else 'no values'}: there is nothing to learn")
    if column.missing:
        first = where(int(np.argmin(columns.valid[column.name])))
        raise DataError(f"{name} has no value in {column.missing:,} rows, the first is {first}; leave those rows out")
    if column.kind == "timestamp":
        raise DataError(f"{name} holds times; a number or a class is needed")
    if column.kind == "string" and classes > max(2, column.rows / ROWS_A_CLASS):
        raise DataError(f"{name} has {classes:,} different texts in {column.rows:,} rows: these are no classes")
    if column.kind == "float" or (column.kind == "int" and classes > min(CLASSES, column.rows / ROWS_A_CLASS)):
        part = {"_target_": _named("Numeric"), "key": column.name, "normalize": "z_score"}
        return Verdict("target: a number, z-score", (part,)), _answer("mse", ["rmse", "mae"])
    answer = _answer("binary_cross_entropy" if classes == 2 else "softmax_cross_entropy", ["accuracy"])
    if rarest(column) > 2:  # one for each split
        answer["values"]["data"] = {"stratify": column.name}
    return Verdict(f"target: one of {classes} classes", ({"_target_": _named("Label"), "key": column.name},)), answer


def _answer(loss: str, metrics: list[str]) -> dict[str, Any]:
    return {"choices": {"loss": loss, "metric": metrics}, "values": {}}


def _number(column: Overview) -> Verdict:
    there = column.there
    if column.kind == "int" and column.distinct == column.rows > 2 and (np.diff(there) == 1).all():
        return Verdict("left out: it numbers the rows")
    part: dict[str, Any] = {"_target_": _named("Numeric"), "key": column.name, "normalize": "z_score"}
    says = ["z-score"]
    if column.kind != "bool" and there.min() >= 0 and skewness(there) > SKEWED:
        part["normalize"], says = ["log1p", "z_score"], ["logarithm of x + 1", "z-score"]
    if column.missing:
        part |= {"missing": "median", "indicate_missing": True}
        says.append("gaps are the median, and marked")
    return Verdict(", ".join(says), (part,), "float" if column.kind == "int" else None)


def _text(column: Overview) -> Verdict:
    distinct = column.distinct or 0
    if distinct > max(FEW, UNIQUE * column.present):
        odd = odd_text(column.values) if isinstance(column.values, Strings) else None
        why = f"most values are numbers, but {odd!r} is none" if odd else "almost every row has a text of its own"
        return Verdict(f"left out: {why}")
    gaps = {"missing": "missing"} if column.missing else {}
    vocabulary = {"_target_": _named("Vocabulary"), "key": column.name, "oov": 1, **gaps}
    if distinct <= FEW:
        return Verdict(f"one of {distinct} values", (vocabulary,))
    dimension = min(64, round(1.6 * distinct**0.56))
    embedding = {"_target_": _named("Embedding"), "dimension": dimension}
    if distinct <= MANY:
        vocabulary["min_count"] = 2
        return Verdict(f"embedding of {distinct:,} values, {dimension} numbers each", (vocabulary, embedding))
    hashed = {"_target_": _named("Hashed"), "key": column.name, "buckets": MANY, **gaps}
    return Verdict(f"embedding of {MANY:,} hashes, {dimension} numbers each", (hashed, embedding))


def _time(column: Overview) -> Verdict:
    days = column.there.astype("datetime64[D]")
    parts = ["month", "weekday", *(["hour"] if (days != column.there).any() else [])]
    part = {"_target_": _named("Time"), "key": column.name, "parts": parts, "encoding": "cyclic"}
    return Verdict(f"{', '.join(parts)}, cyclic", ({**part, "missing": 0.0} if column.missing else part,))


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


def _named(column: str) -> str:
    return f"components.feature.{column}"
