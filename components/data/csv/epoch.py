"""Reads numbers as times: the seconds since 1970, or dates such as 20201231."""

from __future__ import annotations

import numpy as np

EPOCH_UNITS = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}  # since 1970, in microseconds
EPOCH_LIMITS = (1e7, 1e8, 1e11, 1e14, 1e17)  # of yyyymmdd, seconds, milliseconds and microseconds
YEAR_MONTH_DAY = "yyyymmdd"  # numbers such as 20201231
NUMBER_READINGS = (*EPOCH_UNITS, YEAR_MONTH_DAY)
MIN_MICROSECONDS = -62_135_596_800_000_000  # since 1970: the first of the year 1
MAX_MICROSECONDS = 253_402_300_800_000_000  # since 1970: the first of the year 10000


def find_epoch_unit(numbers: np.ndarray) -> str | None:
    """The unit of numbers that stand for times, by the size of the finite ones. None: it isn't clear."""
    finite = np.abs(numbers[np.isfinite(numbers)].astype(np.float64))
    with np.errstate(over="ignore"):
        position = int(np.digitize(np.median(finite), EPOCH_LIMITS)) if len(finite) else 0
    return (None, YEAR_MONTH_DAY, *EPOCH_UNITS, None)[position]


def have_epoch_unit(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Which numbers have the size of a unit, bool (rows,)."""
    position = (YEAR_MONTH_DAY, *EPOCH_UNITS).index(unit) + 1
    return np.digitize(np.abs(numbers.astype(np.float64)), EPOCH_LIMITS) == position


def describe_epoch_unit(unit: str) -> str:
    """Describes a unit of `read_epoch`, for messages."""
    return "numbers such as 20201231" if unit == YEAR_MONTH_DAY else f"{unit} since 1970"


def read_epoch(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Converts numbers to datetime64[us]; NaT if there is no such time.

    Args:
        numbers: (rows,): times since 1970, or dates such as 20201231.
        unit: one of NUMBER_READINGS.
    """
    numbers = numbers.astype(np.int64 if numbers.dtype.kind == "i" else np.float64)  # small types overflow
    if unit != YEAR_MONTH_DAY:
        factor = EPOCH_UNITS[unit]
        with np.errstate(over="ignore"):
            scaled = numbers * factor if numbers.dtype.kind == "i" else np.round(numbers * factor)
            microseconds = numbers.astype(np.float64) * factor
        in_range = (microseconds >= MIN_MICROSECONDS) & (microseconds < MAX_MICROSECONDS)
        return np.where(in_range, scaled, np.iinfo(np.int64).min).astype(np.int64).view("datetime64[us]")
    whole = np.where((numbers >= 10101) & (numbers < 10**8) & (numbers == np.floor(numbers)), numbers, 0).astype(
        np.int64
    )
    years, months, days = whole // 10_000, whole // 100 % 100, whole % 100
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months - 1).astype("m8[M]")
    dates = first.astype("datetime64[D]") + (days - 1).astype("m8[D]")
    exists = (whole > 0) & (months >= 1) & (months <= 12) & (days >= 1) & (dates.astype("datetime64[M]") == first)
    return np.where(exists, dates.astype("datetime64[us]"), np.datetime64("NaT", "us"))
