"""Columns at a glance: gaps, different values, extremes."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from components.data.csv.reader import Columns, Kind, is_whole
from components.types import Strings, Values

NARROW = 1 << 24  # whole numbers that lie so close together are ticked off


class Overview(NamedTuple):
    """What is to be known of a column without looking at what it means."""

    name: str
    kind: Kind
    rows: int
    missing: int
    distinct: int | None  # of strings, truths and numbers that are all whole
    constant: bool  # of what isn't missing
    values: Values  # all of them
    there: np.ndarray  # those that aren't missing; of strings none

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @property
    def infinite(self) -> int:
        """How many numbers are none that can be reckoned with."""
        return int((~np.isfinite(self.there)).sum()) if self.kind == "float" else 0


def overview(columns: Columns, name: str) -> Overview:
    """Counts what a column has."""
    values, valid, kind = columns.values[name], columns.valid.get(name), columns.kinds[name]
    missing = 0 if valid is None else int(len(valid) - valid.sum())
    if isinstance(values, Strings):
        different = _different(values, missing)
        return Overview(name, kind, columns.rows, missing, different, different == 1, values, np.empty(0))
    there = np.asarray(values if valid is None else np.asarray(values)[valid])
    constant = len(there) > 0 and bool((there == there[0]).all())
    whole = kind in ("int", "bool") or (kind == "float" and len(there) > 0 and bool(is_whole(there).all()))
    distinct = _count(there.astype(np.int64)) if whole else None
    return Overview(name, kind, columns.rows, missing, distinct, constant, values, there)


def skewness(values: np.ndarray) -> float:
    """The third moment of numbers, standardized; 0 where they are constant or not all finite."""
    numbers = values.astype(np.float64)
    with np.errstate(all="ignore"):
        deviation = numbers - numbers.mean()
        width = math.sqrt(np.square(deviation).mean())
    if not (0 < width < math.inf):
        return 0.0
    return float((deviation / width) @ np.square(deviation / width)) / len(numbers)


def rarest(column: Overview) -> tuple[str, int]:
    """The rarest value of a column without gaps, and how many rows have it."""
    values = column.values
    found, counts = np.unique(values.tolist() if isinstance(values, Strings) else values, return_counts=True)
    place = int(counts.argmin())
    return str(found[place]), int(counts[place])


def _count(values: np.ndarray) -> int:
    """The number of different integers."""
    if not len(values):
        return 0
    low, high = int(values.min()), int(values.max())
    if high - low > NARROW:
        return len(np.unique(values))
    seen = np.zeros(high - low + 1, bool)
    seen[values - low] = True
    return int(seen.sum())


def _different(strings: Strings, missing: int) -> int:
    """The number of different strings; those of a dictionary are, but for the one that stands for gaps."""
    distinct = len(strings.offsets) - 1 if strings.indices is not None else len(set(strings.tolist()))
    return distinct - bool(missing)


LOOKED_AT = 1000  # texts, from the first
WORDS = 4.0  # a text, on average, from which on they are prose
GROUPED = re.compile(r"[-+]?\d{1,3}([,.]\d{3})+([.,]\d+)?")
COMMA = re.compile(r"[-+]?\d*,\d+")
DATE = re.compile(r"(\d{1,2}|\d{4})([/.-])\d{1,2}\2(\d{4}|\d{1,2})( .*)?")


class Odd(NamedTuple):
    """Texts among numbers."""

    rows: int  # that hold one
    first: int  # of these rows
    texts: tuple[str, ...]  # the different ones


def odd(strings: Strings, present: int) -> Odd | None:
    """The texts that are no numbers, where most of those present are; else None."""
    texts = strings._replace(indices=None).tolist()
    number = np.array([is_number(text) for text in texts], bool)
    held = number if strings.indices is None else number[strings.indices]
    rows = int((~held).sum())
    if not 0 < 2 * rows < present:
        return None
    return Odd(rows, int(np.argmin(held)), tuple(dict.fromkeys(np.array(texts, object)[~number].tolist())))


def foreign(strings: Strings) -> str | None:
    """What texts are that are all numbers or dates, but spelt as nothing reads them; None where they aren't."""
    texts = [text for text in _first(strings) if text]
    other = next((text for text in texts if not is_number(text)), None)
    if other and all(GROUPED.fullmatch(text) or COMMA.fullmatch(text) or is_number(text) for text in texts):
        return f"numbers such as {other!r} need a point before decimals and nothing between thousands; mend the file"
    if texts and all(DATE.fullmatch(text) for text in texts):
        return f"dates such as {texts[0]!r} aren't ISO 8601; a column `Time` takes them with `format`, as '%d/%m/%Y'"
    return None


def is_prose(strings: Strings) -> bool:
    """Whether texts have some words each."""
    texts = [text for text in _first(strings) if text]
    return sum(len(text.split()) for text in texts) >= WORDS * max(len(texts), 1)


def _first(strings: Strings) -> list[str]:
    """The first of the different texts."""
    return strings._replace(indices=None, offsets=strings.offsets[: LOOKED_AT + 1]).tolist()


def is_number(text: str) -> bool:
    """Whether a text is one, or empty."""
    try:
        float(text)
    except ValueError:
        return not text
    return True
