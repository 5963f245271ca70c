"""Plans the feature columns for a column of a table."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from components.types import ColumnProfile, ColumnType, OddTexts

MAX_ONE_HOT = 32  # a column with more distinct texts gets an embedding instead of one-hot vectors
MAX_VOCABULARY = 20_000  # a column with more distinct texts is hashed
MAX_DISTINCT_SHARE = 0.5  # distinct texts per row; above it, few texts would occur again in new rows
MIN_EXPECTED_REPEATS = 10  # equal pairs expected by chance; if at least so many are and none occurs, numbers are ids
MAX_NULL_TEXTS = 3  # distinct texts in a column of numbers; so few may stand for missing values
WORD_DIMENSION = 8  # numbers in the embedding of a text's words
MAX_EXACT = 2.0**53  # larger whole numbers are not exact in float64
MAX_SKEWNESS = 2.0  # above it, non-negative numbers get a logarithm
UNQUOTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")  # texts that need no quotes


class ColumnPlan(NamedTuple):
    """The plan for a column of a table.

    Attributes:
        text: a description for the user.
        parts: the feature columns, as plain values. Each reads the previous one. Empty: the column is left out.
        kind: the type that the column should be read as; None: the type in its profile.
    """

    text: str
    parts: tuple[dict[str, Any], ...] = ()
    kind: ColumnType | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether the feature columns include the words of a text."""
        return any(part["_target_"] == feature_target("Tokens") for part in self.parts)


def plan_column(column: ColumnProfile) -> ColumnPlan:
    """Plans a column that is not the target."""
    if not is_usable(column.name):
        return ColumnPlan("left out: its name is not allowed in a configuration. Rename it.")
    if column.missing_count == column.rows:
        return ColumnPlan("left out: it has no values")
    # Whether a text is missing is information too, so a constant text with missing values is kept.
    if column.is_constant and not (column.kind == "string" and column.missing_count):
        return ColumnPlan("left out: it has one value only")
    if column.kind == "string":
        return _plan_categories(column) if column.is_type_declared else _plan_text(column)
    return _plan_time(column) if column.kind == "timestamp" else _plan_number(column)


def is_usable(name: str) -> bool:
    """Whether a name is allowed in a configuration: some texts mean a reference, a missing value or a part."""
    return "${" not in name and name not in ("???", "_target_")


def feature_target(name: str) -> str:
    """The `_target_` of a feature column, by the name of its class."""
    return f"components.feature.{name}"


def format_override(key: str, value: str) -> str:
    """The override that sets a key to the name of a column, with quotes if they are needed in a shell."""
    return f"{key}={value}" if UNQUOTED.fullmatch(value) else f"""'{key}="{value}"'"""


def format_type(name: str, kind: str) -> str:
    """The override that sets the type of a column, or the line in a YAML file if its name is not allowed in a key."""
    if UNQUOTED.fullmatch(name):
        return f"data.types.{name}={kind}"
    return f"`{name}: {kind}` below `types:` in the file that mode=init writes"


def format_row_count(rows: int) -> str:
    """Formats a number of rows: `1 row`, `2,000 rows`."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def _plan_number(column: ColumnProfile) -> ColumnPlan:
    if reason := _describe_identifiers(column):
        return ColumnPlan(f"left out: {reason}")
    if column.is_far_from_zero:
        return _plan_far_numbers(column)
    if column.kind == "int" and max(-column.minimum, column.maximum) > MAX_EXACT:
        plan = _plan_text(column)
        return plan._replace(kind="string") if plan.parts else plan
    return _plan_scaling(column, {"key": column.name}, column.minimum)


def _describe_identifiers(column: ColumnProfile) -> str | None:
    """Why whole numbers seem to identify the rows; None: they don't."""
    all_differ = column.distinct_count == column.rows
    if column.kind == "bool" or not all_differ or column.rows <= 2:
        return None
    distance = column.maximum - column.minimum
    if distance == column.rows - 1:
        return "it numbers the rows"
    expected_repeats = column.rows * (column.rows - 1) / 2 / (distance + 1)  # of random whole numbers, as of birthdays
    return "it identifies the rows: all of its values differ" if expected_repeats > MIN_EXPECTED_REPEATS else None


def _plan_far_numbers(column: ColumnProfile) -> ColumnPlan:
    """Subtracts the median from numbers such as seconds since 1970, since they would lose precision in float32."""
    if "`" in column.name:
        return ColumnPlan("left out: its numbers are far from 0, and no expression can use a name with a `. Rename it.")
    are_whole = column.distinct_count is not None  # it is None for fractions and times
    shift = round(column.median) if are_whole else column.median
    expression = f"`{column.name}` {'-' if shift > 0 else '+'} {abs(shift)!r}"
    plan = _plan_scaling(column, {"expression": expression}, column.minimum - shift)
    return plan._replace(text=f"{'minus' if shift > 0 else 'plus'} {abs(shift)!r}, {plan.text}")


def _plan_scaling(column: ColumnProfile, source: dict[str, Any], minimum: float) -> ColumnPlan:
    """Plans standardized numbers.

    Args:
        column: the profile of the column.
        source: the parameter of `Numeric` that gives the numbers.
        minimum: the smallest of these numbers.
    """
    part = {"_target_": feature_target("Numeric"), **source, "normalize": "z_score"}
    texts = ["z-score"]
    if column.kind != "bool" and minimum >= 0 and column.skewness > MAX_SKEWNESS:
        part["normalize"], texts = ["log1p", "z_score"], ["logarithm of x + 1", "z-score"]
    if column.missing_count:
        part |= {"missing": "median", "indicate_missing": True}
        texts.append("missing: median and an indicator")
    if column.infinite_count:
        texts.append(f"but {describe_infinite(column)}, which a run does not allow")
    return ColumnPlan(", ".join(texts), (part,), "float" if column.kind == "int" else None)


def describe_infinite(column: ColumnProfile) -> str:
    """Says in how many rows a column is infinite or NaN."""
    return f"is inf or NaN in {format_row_count(column.infinite_count)}"


def _plan_text(column: ColumnProfile) -> ColumnPlan:
    """Plans texts that the user has not declared to be categories, or whole numbers that are not exact in float64."""
    distinct = column.distinct_count or 0
    has_many_texts = column.kind == "string" and distinct > MAX_ONE_HOT
    if has_many_texts and (reason := describe_unparsed_values(column)):
        return ColumnPlan(f"left out: {reason}")
    if distinct <= max(MAX_ONE_HOT, MAX_DISTINCT_SHARE * (column.rows - column.missing_count)):
        return _plan_categories(column)
    if has_many_texts and column.text_kind is not None and column.text_kind.kind == "prose":
        return _plan_prose(column)
    return ColumnPlan("left out: almost every row has a different text")


def describe_unparsed_values(column: ColumnProfile) -> str | None:
    """Why texts that look like numbers or dates were read as texts; None: they don't look like them."""
    if column.odd_texts is not None:
        return _describe_odd_texts(column.name, column.odd_texts)
    text_kind = column.text_kind
    if text_kind is not None and text_kind.kind == "numbers":
        remedy = "Correct the file: use a point before decimals, and no separator of thousands."
        return f"its numbers, such as {text_kind.example!r}, are not valid. {remedy}"
    if text_kind is not None and text_kind.kind == "dates":
        remedy = "Write a feature column `Time` with their `format`, such as '%d/%m/%Y'."
        return f"its dates, such as {text_kind.example!r}, are not ISO 8601. {remedy}"
    return None


def _describe_odd_texts(name: str, odd: OddTexts) -> str:
    """Says which of a column's values are not numbers, and what to do about them."""
    values = "1 value is not a number" if odd.row_count == 1 else f"{odd.row_count:,} values are not numbers"
    problem = f"{values}, the first is {odd.texts[0]!r} ({odd.first_location})"
    categories = f"To read all values as categories, set {format_type(name, 'string')}"
    if len(odd.texts) <= MAX_NULL_TEXTS:
        nulls = ",".join(f'"{text}"' for text in ("", *odd.texts))
        return f"{problem}. To read them as missing, set 'data.nulls=[{nulls}]'. {categories}"
    return f"{problem}. Correct them. {categories}"


def _plan_prose(column: ColumnProfile) -> ColumnPlan:
    """Plans an embedding of a text's words and pairs of words: their mean, times the square root of their number."""
    buckets = 2 ** min(18, max(14, round(math.log2(4 * column.rows))))
    words = {"_target_": feature_target("Tokens"), "key": column.name, "ngrams": 2}
    hashed = {"_target_": feature_target("Hashed"), "buckets": buckets}
    small = {"_target_": "components.layer.TruncatedNormal", "stddev": 0.01}  # unseen words have almost no weight
    vectors = {
        "_target_": feature_target("Embedding"),
        "dimension": WORD_DIMENSION,
        "combiner": "sqrtn",
        "initializer": small,
    }
    return ColumnPlan(
        f"text: embedding of its words and pairs of words, {WORD_DIMENSION} numbers", (words, hashed, vectors)
    )


def _plan_categories(column: ColumnProfile) -> ColumnPlan:
    """Plans one-hot vectors or an embedding."""
    distinct = column.distinct_count or 0
    missing = {"missing": "missing"} if column.missing_count else {}
    vocabulary = {"_target_": feature_target("Vocabulary"), "key": column.name, "oov": 1, **missing}
    if distinct <= MAX_ONE_HOT:
        return ColumnPlan(f"one of {distinct} values", (vocabulary,))
    dimension = min(64, round(1.6 * distinct**0.56))
    embedding = {"_target_": feature_target("Embedding"), "dimension": dimension}
    if distinct <= MAX_VOCABULARY:
        vocabulary["min_count"] = 2
        return ColumnPlan(f"embedding of {distinct:,} values, {dimension} numbers each", (vocabulary, embedding))
    hashed = {"_target_": feature_target("Hashed"), "key": column.name, "buckets": MAX_VOCABULARY, **missing}
    return ColumnPlan(f"embedding of {MAX_VOCABULARY:,} hashes, {dimension} numbers each", (hashed, embedding))


def _plan_time(column: ColumnProfile) -> ColumnPlan:
    parts = ["month", "weekday", *(["hour"] if column.has_time_of_day else [])]
    part = {"_target_": feature_target("Time"), "key": column.name, "parts": parts, "encoding": "cyclic"}
    return ColumnPlan(f"{', '.join(parts)}, cyclic", ({**part, "missing": 0.0} if column.missing_count else part,))
