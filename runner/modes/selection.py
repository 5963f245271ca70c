"""Selects and sorts runs: the conditions of `runs.where`, and the order of `runs.sort`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any, NamedTuple

from components.closest import suggest_name
from components.types import UserError
from runner.display.numbers import format_number
from runner.modes.listing import FACT_NAMES, RunInfo

SYNTAX = (
    'Write FIELD = VALUE, several joined by `and`: "status = finished and test/accuracy > 0.9". '
    "Operators are =, !=, <, <=, >, >= and ~ (contains). "
    "Put a value into quotes if it contains an operator, a quote, `and` or `or`."
)
CONDITION = re.compile(
    r"""\s*(?P<field>[^\s=!<>~"']+)
        \s*(?P<operator>[!<>]=|==|[=<>~])
        \s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'
        |(?P<bare>(?:(?!\s+(?:and|or)\s)[^=!<>~"'])+?))  # without quotes: up to the next `and` or `or`
        (?:\s+and\s+|\s*$)  # no `or`, which is thus a syntax error
    """,
    re.VERBOSE,
)
DATE = re.compile(r"\d{4}(-\d\d(-\d\d([ T]\d\d(:\d\d(:\d\d)?)?)?)?)?")
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge, "=": eq, "!=": ne}


class Condition(NamedTuple):
    """A condition on a field. A run without the field doesn't meet it.

    Attributes:
        field: the dotted name of the field, full or without its first parts (`batch_size`).
        operator: a key of COMPARISONS, or `~`.
        value: the text to compare with, without quotes.
    """

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.field} {self.operator} {self.value}"


def select_runs(runs: Sequence[RunInfo], where: str | None, sort: str) -> list[RunInfo]:
    """The runs that meet all conditions, sorted.

    Args:
        runs: all runs, the newest first.
        where: conditions joined by `and`; None: all runs.
        sort: a field: ascending, or descending with a minus before it. For `created` it is the other way around, the
            newest first. Runs without the field, or with NaN, come last. The newest of equal runs comes first.

    Raises:
        UserError: a condition has a syntax error, no run has the field, or its value has the wrong form.
    """
    conditions = [
        condition._replace(field=resolve_field(condition.field, runs, "where"))
        for condition in parse_conditions(where or "")
    ]
    for condition in conditions:
        _check_is_number(condition, runs)
    field = resolve_field(sort.removeprefix("-"), runs, "sort")
    selected = [run for run in runs if all(_meets(run, condition) for condition in conditions)]
    sortable = [run for run in selected if not _is_missing(run, field)]
    descending = sort.startswith("-") != (field == "created")  # without a minus, `created` has the newest first
    sortable.sort(key=lambda run: _sort_key(run.fields[field]), reverse=descending)
    return [*sortable, *(run for run in selected if _is_missing(run, field))]


def parse_conditions(where: str) -> list[Condition]:
    """The conditions that a text joins by `and`. Raises UserError for a syntax error."""
    conditions = []
    start = 0
    while start < len(where.rstrip()):
        if (match := CONDITION.match(where, start)) is None:
            raise UserError(f"runs.where: {where[start:].strip()!r} is not a condition. {SYNTAX}")
        value = next(text for text in match.group("double", "single", "bare") if text is not None)
        conditions.append(Condition(match["field"], match["operator"].replace("==", "="), value))
        start = match.end()
    if re.search(r"\sand\s*$", where):
        raise UserError(f"runs.where: no condition follows the last `and` of {where!r}. {SYNTAX}")
    return conditions


def resolve_field(name: str, runs: Sequence[RunInfo], key: str) -> str:
    """The full name of a field, such as `training.batch_size` for `batch_size`.

    Args:
        name: the full name, or its last parts if no other field ends with them.
        runs: all runs.
        key: `where`, `sort` or `columns`, the option with the name, for the error message.

    Raises:
        UserError: no field, or more than one, has that name.
    """
    known = dict.fromkeys([*FACT_NAMES, *(field for run in runs for field in run.fields)])
    if name in known or not runs:
        return name
    matches = [field for field in known if field.endswith(f".{name}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"runs.{key}: {name} matches {' and '.join(matches)}. Write the full name.")
    raise UserError(f"runs.{key}: no run has a field {name}. {suggest_name(name, known)}")


def format_field(value: Any) -> str:
    """The text of a value in conditions and in tables."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(format_field, value))}]"
    return format_number(value, 6) if isinstance(value, float) else str(value)


def _is_missing(run: RunInfo, field: str) -> bool:
    value = run.fields.get(field)
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sort_key(value: Any) -> tuple[bool, Any]:
    """Sorts numbers by their value, and texts after all numbers."""
    return (False, value) if isinstance(value, int | float) else (True, format_field(value))


def _meets(run: RunInfo, condition: Condition) -> bool:
    field, operator, text = condition
    if field not in run.fields:
        return False
    value = run.fields[field]
    if operator == "~":
        return text.lower() in format_field(value).lower()
    if field == "created":  # compares as many digits as the condition has: `2026-11` is the whole month
        date = _match_value(DATE, condition, "a date. Write 2026-11-20 or 2026-11-20 14:30.")[0].replace("T", " ")
        return COMPARISONS[operator](value[: len(date)], date)
    if field == "age":
        count, unit = _match_value(AGE, condition, "an age. Write 90 minutes or 2 days.").groups()
        return COMPARISONS[operator](value, float(count) * SECONDS[unit])
    return _compare(value, condition)


def _check_is_number(condition: Condition, runs: Sequence[RunInfo]) -> None:
    """Raises UserError if a field whose values are texts, such as the option of a group, is compared by its size."""
    name, operator, _ = condition
    values = [run.fields[name] for run in runs if run.fields.get(name) is not None]
    if operator in ("=", "!=", "~") or name in ("created", "age") or not values:
        return
    if any(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return
    known = dict.fromkeys(field for run in runs for field in run.metrics)
    meant = [field for field in known if field.rpartition("/")[2] == name]
    hint = f"Did you mean {' or '.join(meant)}?" if meant else "Only =, != and ~ compare texts."
    raise UserError(
        f"runs.where: {condition}: {name} is no number in any run, but for example {format_field(values[0])}. {hint}"
    )


def _compare(value: Any, condition: Condition) -> bool:
    """Compares two numbers by value, anything else as text.

    Only = and != compare texts. With another operator, a run with a text doesn't meet the condition.

    Raises:
        UserError: the condition has a text and another operator than = and !=.
    """
    _, operator, text = condition
    number = _parse_number(text)
    if number is None and operator not in ("=", "!="):
        raise UserError(f"runs.where: {condition}: {operator} needs a number. Only =, != and ~ compare texts.")
    if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
        return COMPARISONS[operator](value, number)
    if operator not in ("=", "!="):
        return False
    return COMPARISONS[operator](_remove_spaces(format_field(value)), _remove_spaces(text))


def _remove_spaces(text: str) -> str:
    return re.sub(r"\s", "", text)


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _match_value(pattern: re.Pattern[str], condition: Condition, expected: str) -> re.Match[str]:
    if (match := pattern.fullmatch(condition.value)) is None:
        raise UserError(f"runs.where: {condition}: {condition.value} is not {expected}")
    return match
