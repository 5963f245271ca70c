"""Recognizes dates and times among values that were read as numbers or as text, to point them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.data.csv.epoch import EPOCH_UNITS, YEAR_MONTH_DAY, read_epoch
from components.time_format import parse_time

DIGITS = {  # how dates of so many digits are read
    6: "%Y%m",
    8: YEAR_MONTH_DAY,
    10: "%Y%m%d%H",
    12: "%Y%m%d%H%M",
    14: "%Y%m%d%H%M%S",
}
FORMATS = (  # of texts that aren't read as times: they rarely occur, or could be something else
    *("%I:%M %p", "%I:%M%p", "%I:%M:%S %p", "%I:%M:%S%p", "%I %p", "%I%p"),  # 10:30 AM
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y"),  # of C, and of social networks
    *("%d/%b/%Y:%H:%M:%S %z", "%d%b%Y:%H:%M:%S", "%Y-%m-%d %H:%M:%S %z UTC"),  # of web servers, SAS and Go
    *("%Y-%m-%d_%H:%M:%S", "%Y-%m-%d_%H-%M-%S", "%Y-%m-%dT%H-%M-%S", "%Y-%m-%d %H.%M.%S", "%Y%m%d_%H%M%S"),
    *("%Y-%m-%d%z", "%m/%Y", "%b-%y", "%d%m%Y", "%m%d%Y", "%G-W%V-%u", "%Y\u5e74%m\u6708%d\u65e5"),
)
WRITTEN = (np.datetime64("1900"), np.datetime64("2101"))  # bounds of likely dates that are written in digits
SINCE_1970 = (np.datetime64("1990"), np.datetime64("2036"))  # and of those that count seconds: more numbers are such
MIN_SHARE = 0.95  # of the values; the others may stand for missing ones
MIN_DISTINCT = 3  # two values may be anything
FIRST_TEXTS = 5  # if none of so many has a format, the others aren't parsed, which is slow
MIN_CHARACTERS = 3  # of a text in one of the formats, such as 1AM; it has a digit


def find_dates_in_numbers(numbers: np.ndarray) -> str | None:
    """The value of `dates` that reads numbers as times, if almost all of them are likely times. None: they aren't.

    Args:
        numbers: (rows,): some numbers of a column.
    """
    distinct = np.unique(numbers[np.isfinite(numbers)])
    if len(distinct) < MIN_DISTINCT:
        return None
    if (distinct == np.floor(distinct)).all():
        texts = [str(int(number)) for number in distinct]
        length = len(texts[len(texts) // 2])
        if (dates := DIGITS.get(length)) is not None:
            format = "%Y%m%d" if dates == YEAR_MONTH_DAY else dates
            # strptime accepts fewer digits.
            times = [parse_time(text, format) if len(text) == length else None for text in texts]
            if _are_mostly(np.array(times, "datetime64[us]"), WRITTEN):
                return dates
    return next((unit for unit in EPOCH_UNITS if _are_mostly(read_epoch(distinct, unit), SINCE_1970)), None)


def find_dates_in_texts(texts: Sequence[str]) -> str | None:
    """The value of `dates` that reads texts as times, if almost all of them are such times. None: they aren't.

    Args:
        texts: some distinct texts of a column.
    """
    stripped = [text.strip() for text in texts]
    first, others = stripped[:FIRST_TEXTS], stripped[FIRST_TEXTS:]
    has_possible = any(len(text) >= MIN_CHARACTERS and any(map(str.isdigit, text)) for text in first)
    if len(texts) < MIN_DISTINCT or not has_possible:
        return None
    for format in FORMATS:
        times = [parse_time(text, format) for text in first]
        if any(times):
            times += [parse_time(text, format) for text in others]
            if _are_mostly(np.array(times, "datetime64[us]"), WRITTEN):
                return format
    return None


def _are_mostly(times: np.ndarray, bounds: tuple[np.datetime64, np.datetime64]) -> bool:
    """Whether almost all times are within bounds, of which the second is excluded. NaT isn't."""
    return bool(((times >= bounds[0]) & (times < bounds[1])).mean() >= MIN_SHARE)
