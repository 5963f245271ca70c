"""Times on the host: texts as times, parts of times, and distances between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from components.arrow import convert_numbers, mask_column, strings_to_arrow
from components.time_format import convert_to_utc, parse_time
from components.types import Strings

NEED_TIME = "a time is a timestamp or text such as 2026-10-25 or 2026-10-25T13:45:00"
FIRST_TIME, MISSING_TIME = np.datetime64("0001-01-01", "us"), np.datetime64("NaT", "us")
EPOCH, MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
MISSING_MICROSECONDS = int(MISSING_TIME.view(np.int64))


def parse_texts(texts: Strings, format: str | None = None) -> np.ndarray:
    """Converts texts without a dictionary to times, datetime64[us]: NaT for "", and where a text is no time.

    Args:
        texts: the texts. One with an offset from UTC, or Z, is converted to UTC.
        format: the format, as in Python's strptime. None: ISO 8601.
    """
    if format is None and (times := _parse_iso(texts)) is not None:
        return times
    return parse_values(texts.tolist(), format)


def _parse_iso(texts: Strings) -> np.ndarray | None:
    """Parses texts of ISO 8601 by Arrow, which is faster than Python and lets other threads run.

    Returns:
        The times. None: Arrow can't parse one of the texts, which Python may.
    """
    import pyarrow

    is_empty = np.diff(texts.offsets) == 0
    array = strings_to_arrow(texts)
    if is_empty.any():
        array = mask_column(array, ~is_empty)
    try:
        times = convert_numbers(array.cast(pyarrow.timestamp("us")), "M8[us]", ~is_empty, MISSING_TIME)
    except pyarrow.ArrowInvalid:
        return None
    return None if (times < FIRST_TIME).any() else times  # the year 0, which Python refuses


def parse_values(values: Sequence[Any], format: str | None) -> np.ndarray:
    """Converts texts and dates of Python to times, as `parse_texts`."""
    times = [_parse(value, format) for value in values]
    # NumPy's own conversion takes six times as long.
    microseconds = [MISSING_MICROSECONDS if time is None else (time - EPOCH) // MICROSECOND for time in times]
    return np.array(microseconds, np.int64).view("datetime64[us]")


def _parse(value: Any, format: str | None) -> datetime | None:
    """Parses a time and converts it to UTC. None: the value is no time."""
    if isinstance(value, date):
        value, format = value.isoformat(), None
    try:
        return convert_to_utc(datetime.fromisoformat(value)) if format is None else parse_time(value, format)
    except (ValueError, TypeError, OverflowError):
        return None


def count_days(times: np.ndarray) -> np.ndarray:
    """The days since 1970-01-01 with their fraction, float64. Microseconds of a late year would exceed float64."""
    days = times.astype("datetime64[D]")
    return days.astype(np.int64) + (times - days) / np.timedelta64(1, "D")


def count_seconds_between(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The seconds from one time to another with their fraction, float64. It is negative if `stop` is earlier."""
    first, last = start.astype("datetime64[D]"), stop.astype("datetime64[D]")
    second = np.timedelta64(1, "s")
    return (last - first).astype(np.int64) * 86400.0 + ((stop - last) / second - (start - first) / second)


def extract_part(times: np.ndarray, part: str) -> np.ndarray:
    """Extracts a part of times, datetime64 (rows,), as int64."""
    years, months, days = (times.astype(f"datetime64[{unit}]") for unit in "YMD")
    if part == "year":
        return years.astype(np.int64) + 1970
    if part == "month":
        return (months - years.astype(months.dtype)).astype(np.int64) + 1
    if part in ("day", "day_of_year"):
        start = months if part == "day" else years
        return (days - start.astype(days.dtype)).astype(np.int64) + 1
    if part == "weekday":
        return (days.astype(np.int64) + 3) % 7  # 1 January 1970 was a Thursday
    seconds = (times.astype("datetime64[s]") - days.astype("datetime64[s]")).astype(np.int64)
    return {"hour": seconds // 3600, "minute": seconds // 60 % 60, "second": seconds % 60}[part]
