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
DAY = 86400  # seconds
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of a second
PERIODS = {"weekday": (DAY, 7), "hour": (3600, 24), "minute": (60, 60), "second": (1, 60)}  # (seconds, period)


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
    days, rest, ticks = _split(times, DAY)
    return days + rest / ticks


def count_seconds_between(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The seconds from one time to another with their fraction, float64. It is negative if `stop` is earlier."""
    (first, first_rest, first_ticks), (last, last_rest, last_ticks) = _split(start, 1), _split(stop, 1)
    whole = (last - first).astype(np.float64)
    return whole if first_ticks == last_ticks == 1 else whole + (last_rest / last_ticks - first_rest / first_ticks)


def extract_part(times: np.ndarray, part: str) -> np.ndarray:
    """Extracts a part of times, datetime64 (rows,), as int64. That of NaT is any number."""
    if part == "year":
        return times.astype("M8[Y]").astype(np.int64) + 1970
    if part == "month":
        return _modulo(times.astype("M8[M]").astype(np.int64), 12) + 1
    if part in ("day", "day_of_year"):
        start = times.astype("M8[M]" if part == "day" else "M8[Y]").astype("M8[D]")
        return _split(times, DAY)[0] - start.astype(np.int64) + 1
    seconds, period = PERIODS[part]
    count, _, _ = _split(times, seconds)
    return _modulo(count + 3 if part == "weekday" else count, period)  # 1 January 1970 was a Thursday


def _split(times: np.ndarray, seconds: int) -> tuple[np.ndarray, Any, int]:
    """The whole units of some seconds since 1970-01-01, the rest in ticks of the times, and the ticks of a unit."""
    unit, count = np.datetime_data(times.dtype)
    if unit not in TICKS or count != 1:  # days and longer units, picoseconds and shorter ones
        unit = "ns" if unit in ("ps", "fs", "as") else "s"
        times = times.astype(f"M8[{unit}]")
    numbers, ticks = times.view(np.int64), TICKS[unit] * seconds
    units = numbers if ticks == 1 else numbers // ticks
    return units, numbers - units * ticks, ticks


def _modulo(numbers: np.ndarray, divisor: int) -> np.ndarray:
    """The remainder of whole numbers. NumPy's own takes twice as long."""
    return numbers - numbers // divisor * divisor
