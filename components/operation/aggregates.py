"""Aggregates: one value of an expression for each group of rows, such as `sum(price)`. Missing values are ignored."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
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
    """The values of an expression that aren't missing, in the order of their rows.

    Attributes:
        kind: their type.
        values: the values: (values,).
        groups: the group of each value, int64 (values,).
        counts: the number of values of each group, int64 (groups,).
    """

    kind: Kind
    values: Any
    groups: np.ndarray
    counts: np.ndarray

    @cached_property
    def numbers(self) -> np.ndarray:
        """The values as floats."""
        return np.asarray(self.values, np.float64)

    @cached_property
    def sums(self) -> np.ndarray:
        """The sums of the values as floats."""
        return self.add(self.numbers)

    @cached_property
    def means(self) -> np.ndarray:
        return self.sums / np.maximum(self.counts, 1)

    def add(self, values: np.ndarray) -> np.ndarray:
        """The sum of values of each group."""
        return self.reduce(np.add, values, values.dtype.type(0))

    def reduce(self, function: np.ufunc, values: np.ndarray, initial: Any) -> np.ndarray:
        """The result of a function of two values over those of each group. `initial`: that of no value."""
        result = np.full(len(self.counts), initial, values.dtype)
        function.at(result, self.groups, values)
        return result


class Aggregate(NamedTuple):
    """A function of the values of a group.

    Attributes:
        accepted: the types of values that it takes.
        compute: computes the value of each group; any for those that have none.
        counts: whether it counts, and so has a value for each group.
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
    """Leaves out the missing values of an expression.

    Args:
        kind: their type.
        operand: the values of all rows.
        group_of: the group of each row, int64.
        count: the number of groups.
    """
    values, groups = operand.values, group_of
    if operand.valid_mask is not None:
        rows = np.flatnonzero(operand.valid_mask)
        values, groups = take_rows(values, rows), groups[rows]
    return GroupedValues(kind, values, groups, np.bincount(groups, minlength=count))


def compute_aggregate(name: str, grouped: GroupedValues) -> Operand:
    """Computes an aggregate of each group. It is missing where a group has no value, or one for a deviation."""
    aggregate = AGGREGATES[name]
    with np.errstate(all="ignore"):
        values = aggregate.compute(grouped)
    has_value = grouped.counts > (1 if name == "std" else 0)
    if aggregate.counts or has_value.all():
        return Operand(values)
    return Operand(*take_or_gap(values, None, np.where(has_value, np.arange(len(has_value)), -1)))


def find_overflow(name: str, grouped: GroupedValues) -> int | None:
    """The first group whose sum exceeds the numbers of its type. None: there is none."""
    if name not in ("sum", "mean", "std") or (name != "sum" and grouped.kind != "number"):
        return None
    with np.errstate(all="ignore"):
        if grouped.kind != "number":
            is_too_large = np.abs(grouped.sums) > MAX_SUM
        else:
            is_too_large = ~np.isfinite(AGGREGATES[name].compute(grouped))
            if is_too_large.any():  # rather than infinite because a value is
                is_too_large[grouped.groups[~np.isfinite(grouped.numbers)]] = False
    return int(is_too_large.argmax()) if is_too_large.any() else None


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
    return np.bincount(grouped.groups[keys.group_rows().first_rows], minlength=len(grouped.counts))


def _sum(grouped: GroupedValues) -> np.ndarray:
    return grouped.sums if grouped.kind == "number" else grouped.add(np.asarray(grouped.values, np.int64))


def _deviate(grouped: GroupedValues) -> np.ndarray:
    """The standard deviation of a sample: the sum of squares is divided by the number of values less one."""
    squares = (grouped.numbers - grouped.means[grouped.groups]) ** 2
    return np.sqrt(grouped.add(squares) / np.maximum(grouped.counts - 1, 1))


def _find_median(grouped: GroupedValues) -> np.ndarray:
    values = np.append(grouped.numbers[np.lexsort((grouped.numbers, grouped.groups))], np.nan)  # for no values
    starts = offsets_of(grouped.counts)[:-1]
    low, high = starts + np.maximum(grouped.counts - 1, 0) // 2, starts + grouped.counts // 2
    return np.where(low == high, values[low], 0.5 * values[low] + 0.5 * values[high])


def _find_extremum(function: np.ufunc, grouped: GroupedValues) -> np.ndarray:
    """The lowest or the highest value of each group. Times and booleans are compared as whole numbers."""
    values = grouped.values
    compared = values if values.dtype.kind == "f" else values.astype(np.int64)
    is_low = function is np.minimum
    if compared.dtype.kind == "f":
        initial: Any = np.inf if is_low else -np.inf
    else:
        initial = np.iinfo(np.int64).max if is_low else np.iinfo(np.int64).min
    return grouped.reduce(function, compared, initial).astype(values.dtype)


def _take(grouped: GroupedValues, *, last: bool) -> Any:
    """The first or the last value of each group. Those of groups without a value are any."""
    positions, order = np.zeros(len(grouped.counts), np.int64), slice(None, None, 1 if last else -1)
    positions[grouped.groups[order]] = np.arange(len(grouped.groups))[order]  # the last assignment stays
    return take_or_gap(grouped.values, None, np.where(grouped.counts > 0, positions, -1))[0]


AGGREGATES: Mapping[str, Aggregate] = {
    "count": Aggregate(ANY, _count, counts=True),
    "count_distinct": Aggregate(ANY, _count_distinct, counts=True),
    "sum": Aggregate(NUMERIC, _sum),
    "mean": Aggregate(NUMERIC, lambda grouped: grouped.means),
    "std": Aggregate(NUMERIC, _deviate),
    "median": Aggregate(NUMERIC, _find_median),
    "min": Aggregate(NUMERIC | {"time"}, partial(_find_extremum, np.minimum)),
    "max": Aggregate(NUMERIC | {"time"}, partial(_find_extremum, np.maximum)),
    "first": Aggregate(ANY, partial(_take, last=False)),
    "last": Aggregate(ANY, partial(_take, last=True)),
}
