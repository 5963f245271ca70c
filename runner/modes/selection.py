"""Which runs are meant: the conditions of `runs.where`, and the order of `runs.sort`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from components.closest import suggest_name
from components.types import UserError
from runner.modes.listing import FACTS, Entry

FORM = 'write FIELD = VALUE, several joined by `and`: "status = finished and test/accuracy > 0.9"'
SIGNS = "=, !=, <, <=, >, >=, and ~ for contains; a value with a sign, a quote, `and` or `or` in it stands in quotes"
CONDITION = re.compile(
    r"""\s*(?P<field>[^\s=!<>~"']+)
        \s*(?P<sign>[!<>]=|==|[=<>~])
        \s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>(?:(?!\s+(?:and|or)\s)[^=!<>~"'])+?))
        (?:\s+and\s+|\s*$)""",
    re.VERBOSE,
)
MOMENT = re.compile(r"\d{4}(-\d\d(-\d\d([ T]\d\d(:\d\d(:\d\d)?)?)?)?)?")
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


class Condition(NamedTuple):
    """What is asked of a field; a run that lacks the field doesn't meet it."""

    field: str
    sign: str
    value: str

    def __str__(self) -> str:
        return f"{self.field} {self.sign} {self.value}"


def select(entries: Sequence[Entry], where: str | None, sort: str) -> list[Entry]:
    """The runs that meet all conditions of `where`, in the order of `sort`.

    `sort` is a field, ascending, or with a minus descending; `created` alone is the newest first. Runs that lack
    the field, or have NaN there, come last; where it is the same, the newest first.

    Raises UserError for what is no condition, for a field that no run has, and for a value that the field can't have.
    """
    conditions = [one._replace(field=named(one.field, entries, "where")) for one in parse(where or "")]
    field = named(sort.removeprefix("-"), entries, "sort")
    found = [entry for entry in entries if all(_meets(entry, one) for one in conditions)]
    kept = [entry for entry in found if not _lacks(entry, field)]
    descending = sort.startswith("-") != (field == "created")
    kept.sort(key=lambda entry: _rank(entry.fields[field]), reverse=descending)
    return [*kept, *(entry for entry in found if _lacks(entry, field))]


def parse(where: str) -> list[Condition]:
    """The conditions that a text joins by `and`; raises UserError where it doesn't."""
    conditions = []
    place = 0
    while place < len(where.rstrip()):
        if (found := CONDITION.match(where, place)) is None:
            raise UserError(f"runs.where: {where[place:].strip()!r} can't be read; {FORM} ({SIGNS})")
        value = next(text for text in found.group("double", "single", "bare") if text is not None)
        conditions.append(Condition(found["field"], found["sign"].replace("==", "="), value))
        place = found.end()
    if re.search(r"\sand\s*$", where):
        raise UserError(f"runs.where: nothing follows the last `and` of {where!r}; {FORM}")
    return conditions


def named(name: str, entries: Sequence[Entry], key: str) -> str:
    """The whole name of a field: `batch_size` is `training.batch_size` where only one parameter ends so.

    Raises UserError for a field that none of the runs has.
    """
    known = dict.fromkeys([*FACTS, *(field for entry in entries for field in entry.fields)])
    if name in known or not entries:
        return name
    ends = [one for one in known if one.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UserError(f"runs.{key}: {name} may be {' or '.join(ends)}; write the whole name")
    raise UserError(f"runs.{key}: none of the runs has a field {name}. {suggest_name(name, known)}")


def spelt(value: Any) -> str:
    """A value as it is written in a condition and shown in a table."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(spelt, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lacks(entry: Entry, field: str) -> bool:
    value = entry.fields.get(field)
    return value is None or (isinstance(value, float) and math.isnan(value))


def _rank(value: Any) -> tuple[bool, Any]:
    """Numbers by their size, then texts."""
    return (False, value) if isinstance(value, int | float) else (True, spelt(value))


def _meets(entry: Entry, condition: Condition) -> bool:
    field, sign, text = condition
    if field not in entry.fields:
        return False
    value = entry.fields[field]
    if sign == "~":
        return text.lower() in spelt(value).lower()
    if field == "created":
        moment = _matched(MOMENT, condition, "a date, 2026-11-20 or 2026-11-20 14:30")[0].replace("T", " ")
        return ORDERS[sign](value[: len(moment)], moment)
    if field == "age":
        count, unit = _matched(AGE, condition, "an age, 90 minutes or 2 days").groups()
        return ORDERS[sign](value, float(count) * SECONDS[unit])
    return _compares(value, condition)


def _compares(value: Any, condition: Condition) -> bool:
    """By size where both are numbers, else by spelling; only numbers are larger or smaller."""
    _, sign, text = condition
    number = _number(text)
    if number is None and sign not in ("=", "!="):
        raise UserError(f"runs.where: {condition}: after {sign} comes a number; =, != and ~ compare texts")
    if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
        return ORDERS[sign](value, number)
    return sign in ("=", "!=") and ORDERS[sign](*_bare([spelt(value), text]))


def _bare(texts: Iterable[str]) -> list[str]:
    return [re.sub(r"\s", "", text) for text in texts]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _matched(pattern: re.Pattern[str], condition: Condition, wanted: str) -> re.Match[str]:
    if (found := pattern.fullmatch(condition.value)) is None:
        raise UserError(f"runs.where: {condition}: {condition.value} is not {wanted}")
    return found
