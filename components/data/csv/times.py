"""Reads texts such as `31.12.2020`, `5 Jan 2020 10:30 PM` and `2020-01-05T10:30:00+02:00` as times.

Dates have the day, the month or (with two digits) the year first. All dates of a column have the same order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from components.data.csv.epoch import MAX_MICROSECONDS, MIN_MICROSECONDS, NUMBER_READINGS
from components.time_format import parse_time

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = ORDERS = ("day_first", "month_first", "year_first")  # the last: 20/12/31
ASSUME_UTC, NO_ZONE = "utc", "no_zone"  # times without a zone are UTC; no time has a zone
FILE_READINGS = (DAY_FIRST, MONTH_FIRST, ASSUME_UTC)  # of all columns
READINGS = (*FILE_READINGS, YEAR_FIRST, NO_ZONE, *NUMBER_READINGS)
# In English, German, French, Spanish, Italian, Portuguese and Dutch; also the first three letters of each
MONTH_NAMES = (
    "january januar janvier enero gennaio janeiro januari",
    "february februar février febrero febbraio fevereiro februari fev",
    "march märz mars marzo março maart mrt mrz",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho juil",
    "august août agosto augustus",
    "september septembre septiembre settembre setembro sept",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember décembre diciembre dicembre dezembro",
)
MONTHS = {
    name: number
    for number, names in enumerate(MONTH_NAMES, start=1)
    for full_name in names.split()
    for name in (full_name, full_name[:3])
} | {"jui": 0}  # of June and July in French: neither
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKDAY = rf"(?:(?P<weekday>{'|'.join(WEEKDAYS)})[a-z]*\.?,?\s+)?"
TIME = (
    r"(?:(?:\s*T\s*|,?\s+(?:at\s+)?)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"
)
COMPACT_TIME = (
    r"(?:T|\s+)(?P<hour>\d\d)(?P<minute>\d\d)(?:(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?P<half>)(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
)
NAME = r"(?P<name>[^\W\d_]{3,10})\.?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
COMPACT_DATE = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
DATES = (
    r"(?P<year>\d{4})(?P<separator>[-/.])(?P<month>\d{1,2})(?P=separator)(?P<day>\d{1,2})",
    r"(?P<first>\d{1,2})(?P<separator>[-/.])(?P<second_number>\d{1,2})(?P=separator)(?P<year>\d{4}|\d\d)",
    rf"{DAY}[-\s/.]*{NAME}[-\s/.,]*(?P<year>\d{{4}}|\d\d)",
    rf"{NAME}[-\s]*{DAY},?[-\s]+(?P<year>\d{{4}})",
    r"(?P<year>\d{4})-(?P<month>\d\d)",
    rf"{NAME}[-\s,]+(?P<year>\d{{4}})",
    rf"{COMPACT_DATE}(?=\s*T|\s)",
)
PATTERNS = [
    *(re.compile(WEEKDAY + pattern + TIME, re.IGNORECASE) for pattern in DATES),
    re.compile(COMPACT_DATE + COMPACT_TIME, re.IGNORECASE),
]
EPOCH = date(1970, 1, 1).toordinal()
DAY_MICROSECONDS = 86_400 * 10**6
MAX_ZONE_HOURS = 14
MIN_SHARE_OF_ORDER = 0.95  # of the dates that show their order; the others are wrong


class _Parts(NamedTuple):
    """A date in parts, and the time of its day.

    Attributes:
        numbers: year, month and day; or the three numbers of a date whose order is not known, as they are written.
        is_ordered: whether the order is known.
        has_points: whether points separate the numbers.
        has_short_year: whether the order is not known, and the year has two digits.
        may_have_year_first: whether this year may also be the first number.
        weekday: the day of the week, from 0 for Monday. None: the text has none.
        microseconds: the time of day in UTC. None: it is no time.
        is_cut: whether the time has a fraction of a microsecond.
        has_zone: whether the text has a time zone.
        note: what is missing in the text; "": nothing.
    """

    numbers: tuple[int, int, int]
    is_ordered: bool
    has_points: bool
    has_short_year: bool
    may_have_year_first: bool
    weekday: int | None
    microseconds: int | None
    is_cut: bool
    has_zone: bool
    note: str

    def find_date(self, order: str) -> date | None:
        """The date; None: there is none. `order`: the order of the numbers, if it is not known; one of ORDERS."""
        if order == YEAR_FIRST and not self.is_ordered and not self.may_have_year_first:
            return None
        first, second, third = self.numbers
        year, month, day = self.numbers
        if not self.is_ordered and order != YEAR_FIRST:
            year, month, day = (third, first, second) if order == MONTH_FIRST else (third, second, first)
        if self.has_short_year:
            year = _complete_year(year)
        try:
            found = date(year, month, day)
        except ValueError:
            return None
        return found if self.weekday in (None, found.weekday()) else None

    def find_microseconds(self, order: str) -> int | None:
        """Microseconds since 1970; None: there is no such time."""
        found = self.find_date(order)
        if found is None or self.microseconds is None:
            return None
        microseconds = (found.toordinal() - EPOCH) * DAY_MICROSECONDS + self.microseconds
        return microseconds if MIN_MICROSECONDS <= microseconds < MAX_MICROSECONDS else None  # in UTC


class Times(NamedTuple):
    """The times of a column.

    Attributes:
        values: (texts,), datetime64[us]; NaT where a text is no time.
        is_time: (texts,), bool.
        has_form: (texts,), bool: the texts that have the form of a time, also if there is no such time.
        order: the order of the numbers in the dates, one of ORDERS. "": no date depends on it.
        order_problem: why the order isn't known. "": it is known.
        possible_orders: the orders between which the user must choose, or in which more dates exist.
        without_zone: the number of rows without a time zone.
        with_zone: the number of rows with one.
        descriptions: how the texts are read, for messages.
        unit: one of `epoch.NUMBER_READINGS` if the texts are numbers; "": they aren't.
    """

    values: np.ndarray
    is_time: np.ndarray
    has_form: np.ndarray
    order: str
    order_problem: str
    possible_orders: tuple[str, ...]
    without_zone: int
    with_zone: int
    descriptions: tuple[str, ...]
    unit: str = ""


class TimeTexts:
    """The distinct texts of a column that may be times.

    Args:
        texts: the texts.
        rows: the number of rows of each text.
    """

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        self._texts = [text.strip() for text in texts]
        self._rows = rows
        self._parts = [_split(text) for text in self._texts]

    def read(self, order: str | None = None) -> Times:
        """Reads the times. `order`: one of ORDERS; None: the order that the dates show."""
        problem = ""
        possible_orders: tuple[str, ...] = ()
        note = self._find_note()
        if order is None:
            order, problem, possible_orders = self._find_order(note)
        # If most texts have a day and a year of four digits, others probably lost a part.
        microseconds = [
            None if parts is None or parts.note != note else parts.find_microseconds(order) for parts in self._parts
        ]
        is_time = np.array([value is not None for value in microseconds], bool)
        values = np.array([np.iinfo(np.int64).min if value is None else value for value in microseconds], np.int64)
        valid = [parts for parts, value in zip(self._parts, microseconds, strict=True) if parts and value is not None]
        zoned = np.array([parts is not None and parts.has_zone for parts in self._parts], bool)
        without_zone, with_zone = (int(self._rows[is_time & subset].sum()) for subset in (~zoned, zoned))
        depends = any(
            not parts.is_ordered and not (order == DAY_FIRST and parts.has_points and not parts.has_short_year)
            for parts in valid
        )
        notes = (
            order.replace("_", " ") if depends else "",
            note,
            "converted to UTC" if with_zone else "",
            "without fractions of microseconds" if any(parts.is_cut for parts in valid) else "",
        )
        has_form = np.array([parts is not None for parts in self._parts], bool)
        return Times(
            values.view("datetime64[us]"),
            is_time,
            has_form,
            order if depends else "",
            problem,
            possible_orders,
            without_zone,
            with_zone,
            tuple(filter(None, notes)),
        )

    def read_format(self, format: str) -> Times:
        """Reads the times in a format of Python's strptime; times with a zone are converted to UTC."""
        times = [parse_time(text, format) for text in self._texts]
        is_time = np.array([time is not None for time in times], bool)
        values = np.array(["NaT" if time is None else time for time in times], "datetime64[us]")
        return Times(values, is_time, is_time, "", "", (), 0, 0, (f"in the format {format}",))

    def _find_note(self) -> str:
        """The note of most rows."""
        rows: Counter[str] = Counter()
        for parts, count in zip(self._parts, self._rows.tolist(), strict=True):
            if parts is not None:
                rows[parts.note] += count
        return max(rows, key=lambda note: rows[note], default="")

    def _list_unordered_dates(self, note: str) -> list[tuple[str, _Parts, int]]:
        """The distinct dates with a note whose order is not known: a text, its parts, and the number of rows."""
        rows: Counter[tuple[int | bool, ...]] = Counter()  # a date may occur with many times of day
        examples: dict[tuple[int | bool, ...], tuple[str, _Parts]] = {}
        for text, parts, count in zip(self._texts, self._parts, self._rows.tolist(), strict=True):
            if parts is not None and not parts.is_ordered and parts.note == note and count:
                key = (*parts.numbers, parts.has_points, parts.may_have_year_first)
                rows[key] += count
                examples.setdefault(key, (text, parts))
        return [(*examples[key], count) for key, count in rows.items()]

    def _find_order(self, note: str) -> tuple[str, str, tuple[str, ...]]:
        """The order of the dates with a note, why it isn't clear ("": it is), and other orders that are possible."""
        dates = self._list_unordered_dates(note)
        order, problem = _find_order_of_day_and_month(dates)
        rows_by_order = {
            name: sum(rows for _, parts, rows in dates if parts.find_date(name) is not None) for name in ORDERS
        }
        min_rows = MIN_SHARE_OF_ORDER * max(*rows_by_order.values(), 1)
        possible = tuple(name for name in ORDERS if rows_by_order[name] >= min_rows)
        if problem:
            possible = tuple(dict.fromkeys((DAY_FIRST, MONTH_FIRST, *possible)))
        if order not in possible and YEAR_FIRST in possible:
            return YEAR_FIRST, "", ()
        if order not in possible and possible:  # points, or a few slashes, mislead
            example = next(text for text, parts, _ in dates if parts.find_date(order) is None)
            return order, f"{example!r} is no date with the {order.replace('_', ' ')}", possible
        fitting = (
            possible if problem else tuple(name for name in possible if rows_by_order[name] > rows_by_order[order])
        )
        if YEAR_FIRST not in possible:
            return order, problem, fitting
        first_numbers, last_numbers = ({parts.numbers[place] for _, parts, _ in dates} for place in (0, 2))
        if len(last_numbers) < len(first_numbers):  # in most tables, there are fewer years than days
            return order, problem, tuple(name for name in fitting if name != YEAR_FIRST)
        return order, _describe_orders(dates, possible), possible


def _find_order_of_day_and_month(dates: Sequence[tuple[str, _Parts, int]]) -> tuple[str, str]:
    """The order of day and month that dates show, and why it isn't clear ("": it is).

    Args:
        dates: texts, their parts and their numbers of rows.
    """
    # The day stands before a point, wherever points are used.
    dates = [(text, parts, count) for text, parts, count in dates if not parts.has_points]
    rows = {DAY_FIRST: 0, MONTH_FIRST: 0}  # of dates that allow only this order
    examples: dict[str, str] = {}
    for text, parts, count in dates:
        possible = [order for order in rows if parts.find_date(order) is not None]
        if len(possible) == 1:
            rows[possible[0]] += count
            examples.setdefault(possible[0], text)
    if not examples:
        return DAY_FIRST, _describe_orders(dates, tuple(rows))
    order = max(rows, key=lambda name: rows[name])
    if rows[order] >= MIN_SHARE_OF_ORDER * sum(rows.values()):
        return order, ""
    return order, f"{examples[DAY_FIRST]!r} has the day first, and {examples[MONTH_FIRST]!r} the month"


def _describe_orders(dates: Sequence[tuple[str, _Parts, int]], orders: Sequence[str]) -> str:
    """Describes the readings of the first date that differs in some orders; "": there is none."""
    for text, parts, _ in dates:
        found = {order: each for order in orders if (each := parts.find_date(order)) is not None}
        if len(set(found.values())) > 1:
            readings = [f"{each} (the {order.replace('_', ' ')})" for order, each in found.items()]
            return f"{text!r} may be {', '.join(readings[:-1])} or {readings[-1]}"
    return ""


def parse_plain_times(texts: Iterable[str]) -> np.ndarray:
    """The times among texts, datetime64[us], without those that other orders read as another time."""
    found = [TimeTexts([text], np.ones(1)).read() for text in texts]
    return np.array([times.values[0] for times in found if times.is_time[0] and not times.order_problem], "M8[us]")


def _split(text: str) -> _Parts | None:
    """Splits a time into its parts. None: the text has no known form."""
    for pattern in PATTERNS:
        if match := pattern.fullmatch(text):
            break
    else:
        return None
    found = match.groupdict()
    note = ""
    year = int(found["year"])
    has_short_year = len(found["year"]) == 2
    if has_short_year:
        note = "years of two digits are 1969 to 2068"
    is_ordered = "first" not in found
    may_have_year_first = False
    if not is_ordered:
        numbers = (int(found["first"]), int(found["second_number"]), year)
        may_have_year_first = has_short_year and len(found["first"]) == 2
        if found["separator"] == "." and has_short_year and len(found["first"] + found["second_number"]) < 4:
            return None  # a version such as 3.11.12
    else:
        month = MONTHS.get(found["name"].lower()) if "name" in found else int(found["month"])
        if not month:
            return None
        numbers = (year, month, int(found.get("day") or 1))
        if "day" not in found:
            note = "a month without a day is its first day"
    has_points = found.get("separator") == "."
    weekday = found.get("weekday")
    return _Parts(
        numbers,
        is_ordered,
        has_points,
        has_short_year,
        may_have_year_first,
        WEEKDAYS.index(weekday.lower()) if weekday else None,
        _find_time(found),
        bool((found["fraction"] or "")[6:].strip("0")),
        found["zone"] is not None,
        note,
    )


def _complete_year(year: int) -> int:
    """The year of two digits, as in POSIX."""
    return year + (1900 if year > 68 else 2000)


def _find_time(found: dict[str, str]) -> int | None:
    """The microseconds since midnight in UTC; None: it is no time of day."""
    if found["hour"] is None:
        return 0
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    microseconds = ((hour * 60 + minute) * 60 + second) * 10**6 + int((found["fraction"] or "").ljust(6, "0")[:6])
    zone = found["zone"] or "Z"
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        if int(digits[:2]) > MAX_ZONE_HOURS or int(digits[2:]) > 59:
            return None
        offset = (int(digits[:2]) * 60 + int(digits[2:])) * 60 * 10**6
        microseconds -= -offset if zone[0] == "-" else offset
    return microseconds
