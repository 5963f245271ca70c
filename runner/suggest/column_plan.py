"""Which feature columns a column of a table becomes."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from components.types import ColumnProfile, ColumnType, OddTexts

FEW = 32  # strings of at most so many values get one-hot vectors; of more, embeddings
MANY = 20_000  # and of more than these, hashes
UNIQUE = 0.5  # of the rows: with more distinct values, strings say little about new rows
REPEATS = 10  # equal pairs that are expected by chance: where there are none, the numbers identify the rows
MARKS = 3  # distinct texts among numbers that may stand for missing values
WIDTH = 8  # dimension of the embedding of words
EXACT = 2.0**53  # beyond which float64 skips whole numbers
SKEWED = 2.0  # non-negative numbers of a greater skewness go through a logarithm
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")  # words that need no quotes


class ColumnPlan(NamedTuple):
    """What a column of a table becomes.

    Attributes:
        text: a description for people.
        parts: feature columns as they stand in a configuration. Each but the first reads the one before it. Empty: the
            column is left out.
        kind: the type that the column should be read as. None: the one that was found.
    """

    text: str
    parts: tuple[dict[str, Any], ...] = ()
    kind: ColumnType | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether the model learns from the words of a text."""
        return any(part["_target_"] == feature("Tokens") for part in self.parts)


def plan_column(column: ColumnProfile) -> ColumnPlan:
    """Plans a column that isn't the target."""
    if not is_usable(column.name):
        return ColumnPlan("left out: a configuration can't name it; rename it")
    if column.missing_count == column.rows:
        return ColumnPlan("left out: it has no values")
    if column.is_constant and not (column.kind == "string" and column.missing_count):
        return ColumnPlan("left out: it has one value only")
    if column.kind == "string":
        return _plan_categories(column) if column.is_declared else _plan_text(column)
    return _plan_time(column) if column.kind == "timestamp" else _plan_number(column)


def is_usable(name: str) -> bool:
    """Whether a name has no special meaning in a configuration: a reference, a mandatory value, a part."""
    return "${" not in name and name not in ("???", "_target_")


def feature(column: str) -> str:
    """The target of a feature column."""
    return f"components.feature.{column}"


def format_override(key: str, value: str) -> str:
    """The word that sets a key to the name of a column on a command line, with quotes where they are needed."""
    return f"{key}={value}" if PLAIN.fullmatch(value) else f"""'{key}="{value}"'"""


def format_type(name: str, kind: str) -> str:
    """The word that declares the type of a column."""
    is_plain = PLAIN.fullmatch(name)
    return f"data.types.{name}={kind}" if is_plain else f"`{name}: {kind}` below `types:` of what mode=init writes"


def count_rows(rows: int) -> str:
    """`1 row` or `2,000 rows`."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def _plan_number(column: ColumnProfile) -> ColumnPlan:
    if reason := _find_numbering(column):
        return ColumnPlan(f"left out: {reason}")
    if column.is_far_from_zero:
        return _plan_far_numbers(column)
    if column.kind == "int" and max(-column.minimum, column.maximum) > EXACT:
        plan = _plan_text(column)
        return plan._replace(kind="string") if plan.parts else plan
    return _plan_scaling(column, {"key": column.name}, column.minimum)


def _find_numbering(column: ColumnProfile) -> str | None:
    """Why whole numbers identify the rows, in whatever order; None where they don't."""
    if column.kind == "bool" or not column.distinct_count == column.rows > 2:
        return None
    distance = column.maximum - column.minimum
    if distance == column.rows - 1:
        return "it numbers the rows"
    pairs = column.rows * (column.rows - 1) / 2
    return "it names the rows: no two have the same" if pairs > REPEATS * (distance + 1) else None


def _plan_far_numbers(column: ColumnProfile) -> ColumnPlan:
    """Numbers like seconds since 1970: their median is subtracted in float64, because float32 would blur them."""
    if "`" in column.name:
        return ColumnPlan("left out: its numbers lie far from 0, and arithmetic can't name it; rename it")
    shift = column.median if column.distinct_count is None else round(column.median)
    expression = f"`{column.name}` {'-' if shift > 0 else '+'} {abs(shift)!r}"
    plan = _plan_scaling(column, {"expression": expression}, column.minimum - shift)
    return plan._replace(text=f"{'minus' if shift > 0 else 'plus'} {abs(shift)!r}, {plan.text}")


def _plan_scaling(column: ColumnProfile, source: dict[str, Any], minimum: float) -> ColumnPlan:
    """Standardized numbers; `minimum` is the smallest that `source` gives."""
    part = {"_target_": feature("Numeric"), **source, "normalize": "z_score"}
    texts = ["z-score"]
    if column.kind != "bool" and minimum >= 0 and column.skewness > SKEWED:
        part["normalize"], texts = ["log1p", "z_score"], ["logarithm of x + 1", "z-score"]
    if column.missing_count:
        part |= {"missing": "median", "indicate_missing": True}
        texts.append("gaps are the median, and marked")
    if column.infinite_count:
        texts.append(f"but {describe_infinite(column)}, which a run refuses")
    return ColumnPlan(", ".join(texts), (part,), "float" if column.kind == "int" else None)


def describe_infinite(column: ColumnProfile) -> str:
    """In how many rows the column is infinite or NaN."""
    return f"is inf or NaN in {count_rows(column.infinite_count)}"


def _plan_text(column: ColumnProfile) -> ColumnPlan:
    """Texts that the user hasn't declared to be categories; or whole numbers that are too large to be numbers."""
    distinct = column.distinct_count or 0
    many_texts = column.kind == "string" and distinct > FEW
    if many_texts and (reason := describe_misspelling(column)):
        return ColumnPlan(f"left out: {reason}")
    if distinct <= max(FEW, UNIQUE * (column.rows - column.missing_count)):
        return _plan_categories(column)
    if many_texts and column.text_kind is not None and column.text_kind.kind == "prose":
        return _plan_prose(column)
    return ColumnPlan("left out: almost every row has a text of its own")


def describe_misspelling(column: ColumnProfile) -> str | None:
    """Why texts that are almost numbers, or dates, were read as texts; None where they are neither."""
    if column.odd_texts is not None:
        return _describe_odd_texts(column.name, column.odd_texts)
    texts = column.text_kind
    if texts is not None and texts.kind == "numbers":
        needed = "need a point before decimals and nothing between thousands; correct the file"
        return f"numbers such as {texts.example!r} {needed}"
    if texts is not None and texts.kind == "dates":
        reader = "a column `Time` takes them with `format`, as '%d/%m/%Y'"
        return f"dates such as {texts.example!r} aren't ISO 8601; {reader}"
    return None


def _describe_odd_texts(name: str, odd: OddTexts) -> str:
    """That most values are numbers, and what to do about the others."""
    values, are = ("value", "is no number") if odd.row_count == 1 else ("values", "are no numbers")
    first = f"{odd.row_count:,} {values} {are}, the first {odd.texts[0]!r} ({odd.first_location})"
    if len(odd.texts) <= MARKS:
        nulls = ",".join(f'"{text}"' for text in ("", *odd.texts))
        categories = f"{format_type(name, 'string')} categories of all"
        return f"{first}; 'data.nulls=[{nulls}]' makes gaps of them, {categories}"
    return f"{first}; correct them, or {format_type(name, 'string')} makes categories of all"


def _plan_prose(column: ColumnProfile) -> ColumnPlan:
    """The mean embedding of a text's words and pairs of words, times the square root of their number."""
    buckets = 2 ** min(18, max(14, round(math.log2(4 * column.rows))))
    words = {"_target_": feature("Tokens"), "key": column.name, "ngrams": 2}
    hashed = {"_target_": feature("Hashed"), "buckets": buckets}
    small = {"_target_": "components.layer.TruncatedNormal", "stddev": 0.01}  # unseen words have almost no weight
    vectors = {"_target_": feature("Embedding"), "dimension": WIDTH, "combiner": "sqrtn", "initializer": small}
    return ColumnPlan(f"text: embedding of its words and pairs of words, {WIDTH} numbers", (words, hashed, vectors))


def _plan_categories(column: ColumnProfile) -> ColumnPlan:
    distinct = column.distinct_count or 0
    gaps = {"missing": "missing"} if column.missing_count else {}
    vocabulary = {"_target_": feature("Vocabulary"), "key": column.name, "oov": 1, **gaps}
    if distinct <= FEW:
        return ColumnPlan(f"one of {distinct} values", (vocabulary,))
    dimension = min(64, round(1.6 * distinct**0.56))
    embedding = {"_target_": feature("Embedding"), "dimension": dimension}
    if distinct <= MANY:
        vocabulary["min_count"] = 2
        return ColumnPlan(f"embedding of {distinct:,} values, {dimension} numbers each", (vocabulary, embedding))
    hashed = {"_target_": feature("Hashed"), "key": column.name, "buckets": MANY, **gaps}
    return ColumnPlan(f"embedding of {MANY:,} hashes, {dimension} numbers each", (hashed, embedding))


def _plan_time(column: ColumnProfile) -> ColumnPlan:
    parts = ["month", "weekday", *(["hour"] if column.has_time_of_day else [])]
    part = {"_target_": feature("Time"), "key": column.name, "parts": parts, "encoding": "cyclic"}
    return ColumnPlan(f"{', '.join(parts)}, cyclic", ({**part, "missing": 0.0} if column.missing_count else part,))
