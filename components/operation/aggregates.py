"""Aggregates: one value of an expression for each group of rows, such as `sum(price)`. Missing values are ignored."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from components.closest import join_names, suggest_name
from components.expression.operands import ANY, NUMERIC, Kind, Operand, describe_kinds
from components.expression.parser import parse
from components.operation.expressions import find_type
from components.operation.gaps import take_or_gap
from components.operation.keys import Keys
from components.ragged import offsets_of, take_rows
from components.types import FieldError, UserError

COUNT = re.compile(r"\s*count\s*\(\s*\)\s*")  # of rows
MAX_SUM = 9.2e18  # of whole numbers in 64 bits


@dataclass(frozen=True, eq=False)
class GroupedValues:
    """The values of an expression that aren't missing, group by group, in their order.

    Attributes:
        kind: their type.
        values: the values of the first group, then those of the next one: (values,).
        groups: the group of each value, ascending int64.
        counts: the number of values of each group, int64 (groups,).
    """

    kind: Kind
    values: Any
    groups: np.ndarray
    counts: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """The position of the first value of each group that has one."""
        return offsets_of(self.counts)[:-1][self.counts > 0]

    def reduce(self, function: np.ufunc, values: np.ndarray) -> np.ndarray:
        """The result of a function of two values over those of each group that has one."""
        return function.reduceat(values, self.starts) if len(self.starts) else values[:0]

    @property
    def numbers(self) -> np.ndarray:
        """The values as floats."""
        return np.asarray(self.values, np.float64)

    @property
    def means(self) -> np.ndarray:
        return self.reduce(np.add, self.numbers) / self.counts[self.counts > 0]


class Aggregate(NamedTuple):
    """A function of the values of a group.

    Attributes:
        accepted: the types of values that it takes.
        compute: computes the values of the groups that have one.
        counts: whether it computes a number for each group, also for those without values.
    """

    accepted: Collection[Kind]
    compute: Callable[[GroupedValues], Any]
    counts: bool = False


class ParsedAggregate(NamedTuple):
    """An aggregate of a configuration.

    Attributes:
        text: its text.
        name: the name of the function.
        expression: the text of its expression. None: it counts the rows.
    """

    text: str
    name: str
    expression: str | None


def make_groups(kind: Kind, operand: Operand, group_of: np.ndarray, count: int) -> GroupedValues:
    """Arranges the values of an expression by groups.

    Args:
        kind: their type.
        operand: the values of all rows.
        group_of: the group of each row, int64.
        count: the number of groups.
    """
    rows = np.arange(len(group_of)) if operand.valid_mask is None else np.flatnonzero(operand.valid_mask)
    rows = rows[np.argsort(group_of[rows], kind="stable")]
    groups = group_of[rows]
    return GroupedValues(kind, take_rows(operand.values, rows), groups, np.bincount(groups, minlength=count))


def compute_aggregate(name: str, grouped: GroupedValues) -> Operand:
    """Computes an aggregate of each group. It is missing where a group has no value, or one for a deviation."""
    aggregate = AGGREGATES[name]
    has_value = grouped.counts > (1 if name == "std" else 0)
    with np.errstate(all="ignore"):
        values = aggregate.compute(grouped)
    if aggregate.counts or has_value.all():
        return Operand(values)
    index = np.cumsum(grouped.counts > 0) - 1  # of the groups among those with a value
    return Operand(*take_or_gap(values, None, np.where(has_value, index, -1)))


def find_overflow(name: str, grouped: GroupedValues) -> int | None:
    """The first group whose sum exceeds the numbers of its type. None: there is none."""
    if name not in ("sum", "mean", "std") or not len(grouped.starts):
        return None
    with np.errstate(all="ignore"):
        if grouped.kind != "number":
            is_too_large = np.abs(grouped.reduce(np.add, grouped.numbers)) > MAX_SUM
            is_too_large &= name == "sum"
        else:
            results = AGGREGATES[name].compute(grouped)
            is_finite = grouped.reduce(np.logical_and, np.isfinite(grouped.numbers))
            is_too_large = ~np.isfinite(results) & is_finite
    groups = np.flatnonzero(grouped.counts > 0)
    return int(groups[is_too_large.argmax()]) if is_too_large.any() else None


def parse_aggregate(field: str, text: str) -> ParsedAggregate:
    """Reads an aggregate. Raises FieldError if it isn't one, or takes values of another type."""
    if COUNT.fullmatch(text):
        return ParsedAggregate(text, "count", None)
    allowed = join_names(AGGREGATES)
    try:
        parsed = parse(text)
    except UserError as error:
        raise FieldError(field, str(error)) from error
    match parsed.tree:
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in AGGREGATES:
            inner = parsed.read_whole(argument)
        case ast.Call(func=ast.Name(id=name)) if name not in AGGREGATES:
            raise FieldError(field, f"`{text}` calls {name}, which is no aggregate. {suggest_name(name, AGGREGATES)}")
        case _:
            remedy = f"Write one call of {allowed}, of one expression, such as sum(price)"
            raise FieldError(field, f"`{text}` is no aggregate. {remedy}; `derive` computes with the results")
    aggregate = ParsedAggregate(text, name, inner)
    if fault := find_kind_fault(aggregate, find_type(field, inner)):
        raise FieldError(field, fault)
    return aggregate


def find_kind_fault(aggregate: ParsedAggregate, kind: Kind) -> str:
    """Why an aggregate can't be computed of values of a type. "": it can."""
    accepted = AGGREGATES[aggregate.name].accepted
    if kind == "unknown" or kind in accepted:
        return ""
    fault = f"`{aggregate.text}` takes {describe_kinds([kind])}"
    return f"{fault}, but {aggregate.name} needs {describe_kinds([each for each in accepted if each != 'missing'])}"


def _count(grouped: GroupedValues) -> np.ndarray:
    return grouped.counts


def _count_distinct(grouped: GroupedValues) -> np.ndarray:
    keys = Keys(("group", "value"), ("integer", grouped.kind), (Operand(grouped.groups), Operand(grouped.values)))
    first_rows = keys.find_first_rows()
    is_first = first_rows == np.arange(len(first_rows))
    return np.bincount(grouped.groups[is_first], minlength=len(grouped.counts))


def _sum(grouped: GroupedValues) -> np.ndarray:
    dtype = np.float64 if grouped.kind == "number" else np.int64
    return grouped.reduce(np.add, np.asarray(grouped.values, dtype))


def _deviate(grouped: GroupedValues) -> np.ndarray:
    """The standard deviation of a sample: the sum of squares is divided by the number of values less one."""
    means = np.zeros(len(grouped.counts))
    means[grouped.counts > 0] = grouped.means
    squares = (grouped.numbers - means[grouped.groups]) ** 2
    return np.sqrt(grouped.reduce(np.add, squares) / np.maximum(grouped.counts[grouped.counts > 0] - 1, 1))


def _find_median(grouped: GroupedValues) -> np.ndarray:
    values = grouped.numbers[np.lexsort((grouped.numbers, grouped.groups))]
    counts = grouped.counts[grouped.counts > 0]
    low, high = grouped.starts + (counts - 1) // 2, grouped.starts + counts // 2
    return np.where(low == high, values[low], 0.5 * values[low] + 0.5 * values[high])


def _take_first(grouped: GroupedValues) -> Any:
    return take_rows(grouped.values, grouped.starts)


def _take_last(grouped: GroupedValues) -> Any:
    return take_rows(grouped.values, grouped.starts + grouped.counts[grouped.counts > 0] - 1)


AGGREGATES: Mapping[str, Aggregate] = {
    "count": Aggregate(ANY, _count, counts=True),
    "count_distinct": Aggregate(ANY, _count_distinct, counts=True),
    "sum": Aggregate(NUMERIC, _sum),
    "mean": Aggregate(NUMERIC, lambda grouped: grouped.means),
    "std": Aggregate(NUMERIC, _deviate),
    "median": Aggregate(NUMERIC, _find_median),
    "min": Aggregate(NUMERIC | {"time"}, lambda grouped: grouped.reduce(np.minimum, grouped.values)),
    "max": Aggregate(NUMERIC | {"time"}, lambda grouped: grouped.reduce(np.maximum, grouped.values)),
    "first": Aggregate(ANY, _take_first),
    "last": Aggregate(ANY, _take_last),
}
