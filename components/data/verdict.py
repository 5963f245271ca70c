"""What becomes of a column that something is predicted from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from components.data.csv.reader import EXACT, Kind
from components.data.naming import typed
from components.data.profile import Odd, Overview, foreign, is_prose, odd, skewness
from components.types import Strings

FEW = 32  # strings of at most so many values are told apart one by one, of more embedded
MANY = 20_000  # and of more hashed
UNIQUE = 0.5  # of the rows: with more different values, strings say little of rows to come
REPEATS = 10  # of values, expected by chance: where there are none, each row was given a number of its own
MARKS = 3  # that may stand for gaps
WIDTH = 8  # of the vectors of words
NARROW = 1000  # times further from 0 than from each other: float32 keeps little of what tells such numbers apart
SKEWED = 2.0  # numbers from 0 on of a greater skewness are taken by their logarithm


class Verdict(NamedTuple):
    """What becomes of a column."""

    says: str
    parts: tuple[dict[str, Any], ...] = ()  # feature columns, each but the first reads the one before it
    kind: Kind | None = None  # what the column is to be read as, where not as it was found

    @property
    def texts(self) -> bool:
        """Whether its words are learned from."""
        return any(part["_target_"] == named("Tokens") for part in self.parts)


def verdict(column: Overview, declared: bool, where: Callable[[int], str]) -> Verdict:
    """What becomes of a column that isn't the target; `declared`: its type is the user's; `where` names a row."""
    if not is_usable(column.name):
        return Verdict("left out: a configuration can't name it; rename it")
    if not column.present:
        return Verdict("left out: it has no values")
    if column.constant and not (column.kind == "string" and column.missing):
        return Verdict("left out: it has one value only")
    if column.kind == "string":
        return _categories(column) if declared else _text(column, where)
    return _time(column) if column.kind == "timestamp" else _number(column, where)


def is_usable(name: str) -> bool:
    """Whether a name means nothing else in a configuration: a reference, a value to be given, a part."""
    return "${" not in name and name not in ("???", "_target_")


def _number(column: Overview, where: Callable[[int], str]) -> Verdict:
    low, high = column.there.min().item(), column.there.max().item()
    if why := _numbering(column, low, high):
        return Verdict(f"left out: {why}")
    if _is_narrow(column.there):
        return _narrow(column)
    if column.kind == "int" and max(-low, high) > EXACT:
        named = _text(column, where)
        return named._replace(kind="string") if named.parts else named
    return _scaled(column, {"key": column.name}, column.there)


def _numbering(column: Overview, low: int, high: int) -> str | None:
    """Why whole numbers are the names of rows, in whatever order; None where they aren't."""
    if column.kind == "bool" or not column.distinct == column.rows > 2:
        return None
    if high - low == column.rows - 1:
        return "it numbers the rows"
    pairs = column.rows * (column.rows - 1) / 2
    return "it names the rows: no two have the same" if pairs > REPEATS * (high - low + 1) else None


def _is_narrow(there: np.ndarray) -> bool:
    """Whether numbers lie far from 0, and close together."""
    numbers = there.astype(np.float64)
    with np.errstate(all="ignore"):
        return bool(0 < NARROW * numbers.std() < abs(numbers.mean()))


def _narrow(column: Overview) -> Verdict:
    """Of numbers such as the seconds since 1970: their median is subtracted while they are float64."""
    if "`" in column.name:
        return Verdict("left out: its numbers lie far from 0, and arithmetic can't name it; rename it")
    median = np.median(column.there).item()
    shift = median if column.distinct is None else round(median)
    shifted = f"{'minus' if shift > 0 else 'plus'} {abs(shift)!r}"
    expression = f"`{column.name}` {'-' if shift > 0 else '+'} {abs(shift)!r}"
    found = _scaled(column, {"expression": expression}, column.there - shift)
    return found._replace(says=f"{shifted}, {found.says}")


def _scaled(column: Overview, source: dict[str, Any], there: np.ndarray) -> Verdict:
    """Numbers, of which `there` are those that the source gives."""
    part = {"_target_": named("Numeric"), **source, "normalize": "z_score"}
    says = ["z-score"]
    if column.kind != "bool" and there.min() >= 0 and skewness(there) > SKEWED:
        part["normalize"], says = ["log1p", "z_score"], ["logarithm of x + 1", "z-score"]
    if column.missing:
        part |= {"missing": "median", "indicate_missing": True}
        says.append("gaps are the median, and marked")
    if column.infinite:
        says.append(f"but {infinite(column)}, which a run refuses")
    return Verdict(", ".join(says), (part,), "float" if column.kind == "int" else None)


def infinite(column: Overview) -> str:
    """That it holds values that no run takes."""
    return f"is inf or NaN in {column.infinite:,} {'row' if column.infinite == 1 else 'rows'}"


def _text(column: Overview, where: Callable[[int], str]) -> Verdict:
    """Of texts of which nobody has said that they are categories."""
    distinct = column.distinct or 0
    texts = column.values if isinstance(column.values, Strings) and distinct > FEW else None
    if texts and (why := misspelt(column, where)):
        return Verdict(f"left out: {why}")
    if distinct <= max(FEW, UNIQUE * column.present):
        return _categories(column)
    if texts and is_prose(texts):
        return _prose(column)
    return Verdict("left out: almost every row has a text of its own")


def misspelt(column: Overview, where: Callable[[int], str]) -> str | None:
    """Why texts that nearly are numbers, or dates, were read as texts; None where they aren't."""
    if not isinstance(column.values, Strings):
        return None
    found = odd(column.values, column.present)
    return _odd(column.name, found, where(found.first)) if found else foreign(column.values)


def _odd(name: str, found: Odd, place: str) -> str:
    """That most values are numbers, and what can be done about the others."""
    values, are = ("value", "is no number") if found.rows == 1 else ("values", "are no numbers")
    first = f"{found.rows:,} {values} {are}, the first {found.texts[0]!r} ({place})"
    if len(found.texts) <= MARKS:
        nulls = ",".join(f'"{text}"' for text in ("", *found.texts))
        return f"{first}; 'data.nulls=[{nulls}]' makes gaps of them, {typed(name, 'string')} categories of all"
    return f"{first}; mend them, or {typed(name, 'string')} makes categories of all"


def _prose(column: Overview) -> Verdict:
    """The mean embedding of a text's words and pairs of words, times the square root of their number."""
    buckets = 2 ** min(18, max(14, round(math.log2(4 * column.rows))))
    words = {"_target_": named("Tokens"), "key": column.name, "ngrams": 2}
    hashed = {"_target_": named("Hashed"), "buckets": buckets}
    small = {"_target_": "components.layer.TruncatedNormal", "stddev": 0.01}  # what training never saw says little
    vectors = {"_target_": named("Embedding"), "dimension": WIDTH, "combiner": "sqrtn", "initializer": small}
    return Verdict(f"text: embedding of its words and pairs of words, {WIDTH} numbers", (words, hashed, vectors))


def _categories(column: Overview) -> Verdict:
    distinct = column.distinct or 0
    gaps = {"missing": "missing"} if column.missing else {}
    vocabulary = {"_target_": named("Vocabulary"), "key": column.name, "oov": 1, **gaps}
    if distinct <= FEW:
        return Verdict(f"one of {distinct} values", (vocabulary,))
    dimension = min(64, round(1.6 * distinct**0.56))
    embedding = {"_target_": named("Embedding"), "dimension": dimension}
    if distinct <= MANY:
        vocabulary["min_count"] = 2
        return Verdict(f"embedding of {distinct:,} values, {dimension} numbers each", (vocabulary, embedding))
    hashed = {"_target_": named("Hashed"), "key": column.name, "buckets": MANY, **gaps}
    return Verdict(f"embedding of {MANY:,} hashes, {dimension} numbers each", (hashed, embedding))


def _time(column: Overview) -> Verdict:
    days = column.there.astype("datetime64[D]")
    parts = ["month", "weekday", *(["hour"] if (days != column.there).any() else [])]
    part = {"_target_": named("Time"), "key": column.name, "parts": parts, "encoding": "cyclic"}
    return Verdict(f"{', '.join(parts)}, cyclic", ({**part, "missing": 0.0} if column.missing else part,))


def named(column: str) -> str:
    """The target of a feature column."""
    return f"components.feature.{column}"
