"""Plans the feature columns for a column of a table.

- Numbers and booleans: z-score, after a logarithm if they are skewed.
- Times: a trend and the year, standardized; month, weekday and hour, each on a circle.
- Texts: one-hot up to MAX_ONE_HOT different texts, an embedding up to MAX_VOCABULARY, else an embedding of hashes.
- Texts of several words that rarely repeat: an embedding of their words and pairs of words.

- A column with one value and gaps: whether a value is missing.

A column is left out if it has one value only, counts the rows, or has a different text in most rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from components.types import ColumnProfile, ColumnType
from runner.suggest.messages import (
    describe_infinite_numbers,
    describe_likely_dates,
    describe_likely_tags,
    describe_rounding,
    describe_sentinel,
    format_drop_override,
    format_type_override,
)

# Numbers
MIN_EXPECTED_PAIRS = 10  # equal pairs expected by chance; if at least so many are and none occurs, numbers may be ids
MAX_EXACT = 2.0**53  # larger whole numbers are not exact in float64
MAX_SKEWNESS = 2.0  # above it, non-negative numbers get a logarithm

# Texts
MAX_ONE_HOT = 32  # a column with more distinct texts gets an embedding instead of one-hot vectors
MAX_VOCABULARY = 20_000  # a column with more distinct texts is hashed
MAX_DISTINCT_SHARE = 0.5  # distinct texts per row; above it, few texts would occur again in new rows
WORD_DIMENSION = 8  # numbers in the embedding of a text's words


class ColumnPlan(NamedTuple):
    """The plan for a column of a table.

    Attributes:
        description: a description for the user.
        feature_columns: the configurations of the feature columns. Each reads the previous one. Empty: the column is
            left out.
        kind: the type that the column should be read as; None: the type in its profile.
        notes: what the user should know about the column, after its name.
    """

    description: str
    feature_columns: tuple[dict[str, Any], ...] = ()
    kind: ColumnType | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_tokens(self) -> bool:
        """Whether the feature columns include the words of a text."""
        return any(column["_target_"] == "components.feature.Tokens" for column in self.feature_columns)


def plan_column(column: ColumnProfile, image_remedy: str = "", *, keep_counter: bool = False) -> ColumnPlan:
    """Plans a column that is not the target.

    Args:
        column: the profile of the column.
        image_remedy: the end of a sentence about a column of paths of images, which says how to use the images.
        keep_counter: whether a column that counts the rows is kept.
    """
    if not is_allowed_name(column.name):
        return _leave_out("its name is not allowed in a configuration. Rename it.")
    if column.missing_count == column.rows:
        return _leave_out("it has no values")
    if column.is_constant:
        return _plan_missing_indicator(column) if column.missing_count else _leave_out("it has one value only")
    if column.counts_rows and not keep_counter and not column.is_type_declared:
        override = f". To keep it, set {format_type_override(column.name, 'float')}" if column.name.strip() else ""
        return _leave_out(f"it numbers the rows{override}")
    plan = _plan_values(column)
    if not plan.feature_columns and column.has_image_paths:
        return _leave_out(f"it has paths of images{image_remedy}")
    if not column.is_type_declared and column.likely_dates is not None:
        likely_dates = describe_likely_dates(column)
        if not plan.feature_columns:
            return plan._replace(description=f"{plan.description}. It {likely_dates}")
        plan = plan._replace(notes=(*plan.notes, likely_dates))
    sentinels = [describe_sentinel(column, sentinel) for sentinel in column.sentinels]
    return plan._replace(notes=(*plan.notes, *sentinels)) if plan.feature_columns else plan


def _plan_values(column: ColumnProfile) -> ColumnPlan:
    """Plans a column of several values."""
    if column.kind == "timestamp":
        return _plan_times(column)
    if column.kind != "string":
        return _plan_numbers(column)
    if column.is_type_declared:
        return _plan_categories(column)
    plan = _plan_texts(column)
    if not plan.feature_columns or plan.has_tokens:
        return plan
    return plan._replace(notes=(*plan.notes, *describe_likely_tags(column, "Tokens")))


def is_allowed_name(name: str) -> bool:
    """Whether a name is allowed in a configuration: some texts mean a reference, a missing value or a part."""
    return "${" not in name and name not in ("???", "_target_")


def make_identifier(name: str, taken: Collection[str]) -> str:
    """Turns a column's name into a name of letters, digits and underscores that is not taken."""
    base = identifier = re.sub(r"\W+", "_", name).strip("_") or "column"
    number = 1
    while identifier in taken:
        number += 1
        identifier = f"{base}_{number}"
    return identifier


def make_feature_column(class_name: str, **parameters: Any) -> dict[str, Any]:
    """The configuration of a feature column.

    ("Label", key="y") -> {"_target_": "components.feature.Label", "key": "y"}
    """
    return {"_target_": f"components.feature.{class_name}", **parameters}


def _leave_out(reason: str) -> ColumnPlan:
    return ColumnPlan(f"left out: {reason}")


def _plan_missing_indicator(column: ColumnProfile) -> ColumnPlan:
    indicator = make_feature_column("MissingIndicator", key=column.name)
    return ColumnPlan("one value: whether it is missing", (indicator,))


def _plan_times(column: ColumnProfile) -> ColumnPlan:
    """Plans times. A part that is equal in all rows is left out."""
    numbers = ["elapsed", *(part for part in column.time_parts if part == "year")]
    cyclic = [part for part in column.time_parts if part != "year"]
    parameters: dict[str, Any] = {"key": column.name, "parts": [*numbers, *cyclic], "normalize": "z_score"}
    descriptions = [" and ".join(["trend", *numbers[1:]]) + ", z-score"]
    if cyclic:
        parameters["encoding"] = "cyclic"
        descriptions.append(f"{', '.join(cyclic)}, cyclic")
    if column.missing_count:
        parameters |= {"missing": 0.0, "indicate_missing": True}
        descriptions.append("missing: 0 and an indicator")
    return ColumnPlan("; ".join(descriptions), (make_feature_column("Time", **parameters),))


# ---------------------------------------------------------------------------------------------------------- numbers


def _plan_numbers(column: ColumnProfile) -> ColumnPlan:
    """Plans numbers or booleans."""
    # Whole numbers that are not exact, but far from 0, are times in nanoseconds.
    are_times = column.is_far_from_zero and not column.is_rounded_in_float
    is_exact = column.kind != "int" or max(-column.minimum, column.maximum) <= MAX_EXACT or are_times
    if not is_exact and not column.is_type_declared:
        plan = _plan_texts(column)._replace(kind="string")
        if not column.is_rounded_in_float:
            return plan
        rounded = f"{describe_rounding()}. For rounded numbers, set {format_type_override(column.name, 'float')}"
        if not plan.feature_columns:
            return plan._replace(description=f"{plan.description}. It {rounded}")
        return plan._replace(notes=(*plan.notes, rounded))
    plan = _plan_scaling(column)
    if column.is_rounded_in_float:
        return plan._replace(notes=(*plan.notes, describe_rounding()))
    if column.is_type_declared or not _may_be_identifiers(column):
        return plan
    override = format_drop_override(column.name)
    note = f"has {column.rows:,} different numbers in as many rows. If they only name the rows, set {override}"
    return plan._replace(notes=(note,))


def _may_be_identifiers(column: ColumnProfile) -> bool:
    """Whether whole numbers may only name the rows: they all differ, which is improbable for other numbers.

    Example: 1,000 random whole numbers from 0 to 9,999 have about 50 equal pairs. If they have none, they may be ids.
    """
    if column.kind == "bool" or column.distinct_count != column.rows or column.rows <= 2:
        return False
    pairs = column.rows * (column.rows - 1) / 2
    return pairs / (column.maximum - column.minimum + 1) > MIN_EXPECTED_PAIRS


def _plan_scaling(column: ColumnProfile) -> ColumnPlan:
    """Plans standardized numbers."""
    normalize: str | list[str] = "z_score"
    descriptions = ["z-score"]
    is_skewed = column.kind != "bool" and column.minimum >= 0 and column.skewness > MAX_SKEWNESS
    if is_skewed and not column.is_far_from_zero:  # far from 0, the logarithm is almost a straight line
        normalize = ["log1p", "z_score"]
        descriptions = ["logarithm of x + 1", "z-score"]
    missing: dict[str, Any] = {}
    if column.missing_count:
        missing = {"missing": "median", "indicate_missing": True}
        descriptions.append("missing: median and an indicator")
    if column.infinite_count:
        descriptions.append(f"but {describe_infinite_numbers(column)}, which a run does not allow")
    numeric = make_feature_column("Numeric", key=column.name, normalize=normalize, **missing)
    # Other rows may not be whole.
    kind: ColumnType | None = "float" if column.kind == "int" and not column.is_type_declared else None
    return ColumnPlan(", ".join(descriptions), (numeric,), kind)


# ------------------------------------------------------------------------------------------------------------ texts


def _plan_texts(column: ColumnProfile) -> ColumnPlan:
    """Plans texts that the user has not declared to be categories, or whole numbers that are not exact in float64."""
    distinct = column.distinct_count or 0
    texts = column.rows - column.missing_count
    if distinct <= max(MAX_ONE_HOT, MAX_DISTINCT_SHARE * texts):
        return _plan_categories(column)
    if column.is_prose:
        return _plan_prose(column)
    as_categories = f"To use them as categories, set {format_type_override(column.name, 'string')}"
    return _leave_out(f"it has {distinct:,} different values in {texts:,} rows. {as_categories}")


def _plan_categories(column: ColumnProfile) -> ColumnPlan:
    """Plans one-hot vectors or an embedding."""
    distinct = column.distinct_count or 0
    # Missing values become "", which has an id of its own, as in Keras. No text of a file is "".
    missing = {"mask": "", "missing": ""} if column.missing_count else {}
    vocabulary = make_feature_column("Vocabulary", key=column.name, oov=1, **missing)
    if distinct <= MAX_ONE_HOT:
        return ColumnPlan(f"one of {distinct} values", (vocabulary,))

    dimension = min(64, round(1.6 * distinct**0.56))
    embedding = make_feature_column("Embedding", dimension=dimension)
    few_recur = distinct > MAX_DISTINCT_SHARE * (column.rows - column.missing_count)  # so a vocabulary may be empty
    if distinct <= MAX_VOCABULARY and not few_recur:
        frequent = vocabulary | {"min_count": 2}
        return ColumnPlan(f"embedding of {distinct:,} values, {dimension} numbers each", (frequent, embedding))

    hashed = make_feature_column("Hashed", key=column.name, buckets=MAX_VOCABULARY, **missing)
    return ColumnPlan(f"embedding of {MAX_VOCABULARY:,} hashes, {dimension} numbers each", (hashed, embedding))


def _plan_prose(column: ColumnProfile) -> ColumnPlan:
    """Plans an embedding of a text's words and pairs of words: their mean, times the square root of their number."""
    bits = min(18, max(14, round(math.log2(4 * column.rows))))
    words = make_feature_column("Tokens", key=column.name, ngrams=2)
    hashed = make_feature_column("Hashed", buckets=2**bits)
    # Small vectors, so that words that occur in no training row have almost no weight.
    initializer = {"_target_": "components.layer.TruncatedNormal", "stddev": 0.01}
    embedding = make_feature_column("Embedding", dimension=WORD_DIMENSION, combiner="sqrtn", initializer=initializer)
    description = f"text: embedding of its words and pairs of words, {WORD_DIMENSION} numbers"
    return ColumnPlan(description, (words, hashed, embedding))
