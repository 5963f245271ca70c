"""Reads texts such as `31.12.2020`, `5 Jan 2020 10:30 PM` and `2020-01-05T10:30:00+02:00` as times.

Dates have the day first or the month first. All dates of a column have the same order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np

from components.types import DataError

DAY_FIRST, MONTH_FIRST = "day_first", "month_first"
ASSUME_UTC, NO_ZONE = "utc", "no_zone"  # times without a zone are UTC; no time has a zone
EPOCH_UNITS = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}  # since 1970, in microseconds
EPOCH_LIMITS = (1e7, 1e8, 1e11, 1e14, 1e17)  # of yyyymmdd, seconds, milliseconds and microseconds
YEAR_MONTH_DAY = "yyyymmdd"  # numbers such as 20201231
FILE_READINGS = (DAY_FIRST, MONTH_FIRST, ASSUME_UTC)  # of all columns
READINGS = (*FILE_READINGS, NO_ZONE, *EPOCH_UNITS, YEAR_MONTH_DAY)
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
WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
TIME = (
    r"(?:(?:\s*T\s*|,?\s+(?:at\s+)?)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"
)
NAME = r"(?P<name>[^\W\d_]{3,10})\.?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
DATES = (
    r"(?P<year>\d{4})(?P<separator>[-/.])(?P<month>\d{1,2})(?P=separator)(?P<day>\d{1,2})",
    r"(?P<first>\d{1,2})(?P<separator>[-/.])(?P<second_number>\d{1,2})(?P=separator)(?P<year>\d{4}|\d\d)",
    rf"{DAY}[-\s/.]*{NAME}[-\s/.,]*(?P<year>\d{{4}}|\d\d)",
    rf"{NAME}[-\s]*{DAY},?[-\s]+(?P<year>\d{{4}})",
    r"(?P<year>\d{4})-(?P<month>\d\d)",
    rf"{NAME}[-\s,]+(?P<year>\d{{4}})",
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?=\s*T)",
)
PATTERNS = [re.compile(WEEKDAY + pattern + TIME, re.IGNORECASE) for pattern in DATES]
EPOCH = date(1970, 1, 1).toordinal()
DAY_MICROSECONDS = 86_400 * 10**6
MAX_ZONE_HOURS = 14
MAX_MICROSECONDS = 8000 * 366 * DAY_MICROSECONDS  # since 1970: until the year 9999
MIN_SHARE_OF_ORDER = 0.95  # of the dates that show their order; the others are wrong


class _Parts(NamedTuple):
    """A date in parts, and the time of its day.

    Attributes:
        numbers: year, month and day; or year and the two numbers whose order is not known.
        is_ordered: whether the order of month and day is known.
        microseconds: the time of day in UTC. None: it is no time.
        has_zone: whether the text has a time zone.
        note: what is missing in the text; "": nothing.
    """

    numbers: tuple[int, int, int]
    is_ordered: bool
    microseconds: int | None
    has_zone: bool
    note: str

    def find_microseconds(self, order: str) -> int | None:
        """Microseconds since 1970; None: there is no such date."""
        year, month, day = self.numbers
        if not self.is_ordered and order == DAY_FIRST:
            month, day = day, month
        try:
            days = date(year, month, day).toordinal() - EPOCH
        except ValueError:
            return None
        return None if self.microseconds is None else days * DAY_MICROSECONDS + self.microseconds


class Times(NamedTuple):
    """The times of a column.

    Attributes:
        values: (texts,), datetime64[us]; NaT where a text is no time.
        is_time: (texts,), bool.
        has_form: (texts,), bool: the texts that have the form of a time, also if there is no such time.
        order: the order of month and day: `day_first` or `month_first`. "": no date depends on it.
        order_problem: why the order isn't known. "": it is known.
        without_zone: the number of rows without a time zone.
        with_zone: the number of rows with one.
        descriptions: how the texts are read, for messages.
    """

    values: np.ndarray
    is_time: np.ndarray
    has_form: np.ndarray
    order: str
    order_problem: str
    without_zone: int
    with_zone: int
    descriptions: tuple[str, ...]


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
        """Reads the times. `order`: `day_first` or `month_first`; None: the order that the dates show."""
        problem = ""
        if order is None:
            order, problem = self._find_order()
        note = self._find_note()
        # If most texts have a day and a year of four digits, others probably lost a part.
        microseconds = [
            None if parts is None or parts.note != note else parts.find_microseconds(order) for parts in self._parts
        ]
        is_time = np.array([value is not None for value in microseconds], bool)
        values = np.array([np.iinfo(np.int64).min if value is None else value for value in microseconds], np.int64)
        valid = [parts for parts, value in zip(self._parts, microseconds, strict=True) if parts and value is not None]
        zoned = np.array([parts is not None and parts.has_zone for parts in self._parts], bool)
        without_zone, with_zone = (int(self._rows[is_time & subset].sum()) for subset in (~zoned, zoned))
        depends = any(not parts.is_ordered for parts in valid)
        notes = (
            order.replace("_", " ") if depends else "",
            note,
            "converted to UTC" if with_zone else "",
        )
        has_form = np.array([parts is not None for parts in self._parts], bool)
        return Times(
            values.view("datetime64[us]"),
            is_time,
            has_form,
            order if depends else "",
            problem,
            without_zone,
            with_zone,
            tuple(filter(None, notes)),
        )

    def read_format(self, format: str) -> Times:
        """Reads the times in a format of Python's strptime; times with a zone are converted to UTC."""
        times = [_parse_format(text, format) for text in self._texts]
        is_time = np.array([time is not None for time in times], bool)
        values = np.array(["NaT" if time is None else time for time in times], "datetime64[us]")
        return Times(values, is_time, is_time, "", "", 0, 0, (f"in the format {format}",))

    def _find_note(self) -> str:
        """The note of most rows."""
        rows: Counter[str] = Counter()
        for parts, count in zip(self._parts, self._rows.tolist(), strict=True):
            if parts is not None:
                rows[parts.note] += count
        return max(rows, key=lambda note: rows[note], default="")

    def _find_order(self) -> tuple[str, str]:
        """The order of month and day that the dates show, and why it isn't clear ("": it is)."""
        rows = {DAY_FIRST: 0, MONTH_FIRST: 0}  # of dates that allow only this order
        examples: dict[str, str] = {}
        problem = ""
        for text, parts, count in zip(self._texts, self._parts, self._rows.tolist(), strict=True):
            if parts is None or parts.is_ordered or parts.numbers[1] == parts.numbers[2]:
                continue
            possible = [order for order in rows if parts.find_microseconds(order) is not None]
            if len(possible) == 1:
                rows[possible[0]] += count
                examples.setdefault(possible[0], text)
            elif possible and not problem:
                year, first, second = parts.numbers
                day_first, month_first = date(year, second, first), date(year, first, second)
                problem = f"{text!r} may be {day_first} (the day first) or {month_first} (the month first)"
        if not any(rows.values()):
            return DAY_FIRST, problem
        order = max(rows, key=lambda name: rows[name])
        if rows[order] >= MIN_SHARE_OF_ORDER * sum(rows.values()):
            return order, ""
        return order, f"{examples[DAY_FIRST]!r} has the day first, and {examples[MONTH_FIRST]!r} the month"


def check_strptime_format(option: str, format: str) -> None:
    """Raises DataError unless strptime understands a format."""
    try:
        datetime.strptime(datetime(2000, 1, 2).strftime(format), format)
    except ValueError as error:
        raise DataError(f"`{option}` (={format}) is not a format of Python's strptime: {error}") from None


def find_epoch_unit(numbers: np.ndarray) -> str | None:
    """The unit of numbers that stand for times, by their size. None: it isn't clear."""
    position = int(np.digitize(np.median(np.abs(numbers)), EPOCH_LIMITS))
    return (None, YEAR_MONTH_DAY, *EPOCH_UNITS, None)[position]


def have_epoch_unit(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Which numbers have the size of a unit, bool (rows,)."""
    position = (YEAR_MONTH_DAY, *EPOCH_UNITS).index(unit) + 1
    return np.digitize(np.abs(numbers), EPOCH_LIMITS) == position


def describe_epoch_unit(unit: str) -> str:
    """Describes a unit of `read_epoch`, for messages."""
    return "numbers such as 20201231" if unit == YEAR_MONTH_DAY else f"{unit} since 1970"


def read_epoch(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Converts numbers to datetime64[us]; NaT if there is no such time.

    Args:
        numbers: (rows,): times since 1970, or dates such as 20201231.
        unit: one of EPOCH_UNITS, or YEAR_MONTH_DAY.
    """
    if unit != YEAR_MONTH_DAY:
        factor = EPOCH_UNITS[unit]
        scaled = numbers * factor if numbers.dtype.kind == "i" else np.round(numbers * factor)
        in_range = np.abs(numbers.astype(np.float64)) * factor < MAX_MICROSECONDS
        return np.where(in_range, scaled, np.iinfo(np.int64).min).astype(np.int64).view("datetime64[us]")
    whole = np.where((numbers >= 101) & (numbers < 10**8) & (numbers == np.floor(numbers)), numbers, 0).astype(np.int64)
    years, months, days = whole // 10_000, whole // 100 % 100, whole % 100
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months - 1).astype("m8[M]")
    dates = first.astype("datetime64[D]") + (days - 1).astype("m8[D]")
    exists = (whole > 0) & (months >= 1) & (months <= 12) & (days >= 1) & (dates.astype("datetime64[M]") == first)
    return np.where(exists, dates.astype("datetime64[us]"), np.datetime64("NaT", "us"))


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
    if len(found["year"]) == 2:
        year += 1900 if year > 68 else 2000  # as in POSIX
        note = "years of two digits are 1969 to 2068"
    is_ordered = "first" not in found
    if not is_ordered:
        numbers = (year, int(found["first"]), int(found["second_number"]))
        if found["separator"] == "." and note and len(found["first"] + found["second_number"]) < 4:
            return None  # a version such as 3.11.12
        if found["separator"] == ".":  # the day stands before a point wherever it is used
            numbers, is_ordered = (year, numbers[2], numbers[1]), True
    else:
        month = MONTHS.get(found["name"].lower()) if "name" in found else int(found["month"])
        if not month:
            return None
        numbers = (year, month, int(found.get("day") or 1))
        if "day" not in found:
            note = "a month without a day is its first day"
    return _Parts(numbers, is_ordered, _find_time(found), found["zone"] is not None, note)


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


def _parse_format(text: str, format: str) -> datetime | None:
    try:
        time = datetime.strptime(text, format)
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
