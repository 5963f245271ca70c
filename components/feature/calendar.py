"""Times as they stand in columns, and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from components.feature import raw
from components.feature.strings import compact
from components.types import Block, DataError, Strings, Values

NEEDED = "a time is a timestamp or text, as 2026-10-25 or 2026-10-25T13:45:00; `format` reads other texts"
EPOCH, MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)


def times(
    block: Block, key: str, parents: Mapping[str, Mapping[str, Values]], format: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """A column of times, datetime64 (rows,), and which rows have one: a gap and "" are none.

    Raises DataError, which names the row, for what is no time.
    """
    values = next(iter(parents[key].values())) if key in parents else block.columns.get(key)
    if values is None:
        raw.column(block, key)  # raises
    valid = np.True_ if key in parents else block.valid.get(key, np.True_)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "M":
        there = ~np.isnat(values) & valid
        return np.where(there, values, np.zeros(1, values.dtype)), there
    distinct, rows = _distinct(block, key, values)
    there = np.array([value is not None and value != "" for value in distinct], bool)[rows] & valid
    read = [_read(value, format) for value in distinct]
    wrong = np.array([one is None for one in read], bool)[rows] & there
    if wrong.any():
        row = int(np.argmax(wrong))
        shape = NEEDED if format is None else f"a text like {format} is needed"
        raise raw.error(block, key, row, f"is {raw.show(distinct[int(rows[row])])}", shape)
    # NumPy's own conversion takes six times as long.
    since = np.array([0 if one is None else (one - EPOCH) // MICROSECOND for one in read], np.int64)
    return since.view("datetime64[us]")[rows], there


def _distinct(block: Block, key: str, values: Any) -> tuple[list[Any], np.ndarray]:
    """Values that are worked on once, and which of them each row has."""
    if isinstance(values, Strings):
        known, rows = compact(values)
        texts = known.tolist() or [""]  # the dictionary of a column of gaps alone may be empty
        return texts, np.arange(values.rows) if rows is None else rows
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "UO":
        kind = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else "of different lengths"
        raise DataError(f"column `{key}` of {block.origin} is {kind}; {NEEDED}")
    return values.tolist(), np.arange(len(values))


def _read(value: Any, format: str | None) -> datetime | None:
    """A time in UTC; None for what is no time."""
    if isinstance(value, date):
        value, format = value.isoformat(), None
    try:
        time = datetime.fromisoformat(value) if format is None else datetime.strptime(value, format)
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, TypeError, OverflowError):
        return None


def part_of(times: np.ndarray, part: str) -> np.ndarray:
    """A part of datetime64 (rows,), int64."""
    years, months, days = (times.astype(f"datetime64[{unit}]") for unit in "YMD")
    if part == "year":
        return years.astype(np.int64) + 1970
    if part == "month":
        return (months - years.astype(months.dtype)).astype(np.int64) + 1
    if part in ("day", "day_of_year"):
        begin = months if part == "day" else years
        return (days - begin.astype(days.dtype)).astype(np.int64) + 1
    if part == "weekday":
        return (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    seconds = (times.astype("datetime64[s]") - days.astype("datetime64[s]")).astype(np.int64)
    return {"hour": seconds // 3600, "minute": seconds // 60 % 60, "second": seconds % 60}[part]
