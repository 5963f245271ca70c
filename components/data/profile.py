"""Facts about the columns of a table. Each fact is computed when it is first read."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.data.csv.likely_dates import find_dates_in_numbers, find_dates_in_texts
from components.input_files import IMAGE_SUFFIXES
from components.types import ColumnType, Problem, Reading, Sentinel, Strings, Values, row_count

MAX_EXACT = 2.0**53 - 1  # beyond it, different whole numbers are the same float64
ROUNDED_STDS = 1e-3  # rounding by fewer standard deviations doesn't matter
FAR_STDS = 1000  # a mean of more standard deviations is far from 0; see `ColumnProfile.is_far_from_zero`
MAX_FLAGS = 1 << 24  # integers of at most this range are counted with an array of flags, which is faster than sorting
SAMPLED_TEXTS = 1000  # how many of the distinct texts decide whether a column holds prose, tags or times of a day
SAMPLED_NUMBERS = 200  # how many of the numbers decide whether they are likely dates
PROSE_WORDS = 4.0  # texts with at least this many words on average are prose
# Values that often stand for a missing one: 99, -99, 999, …, -1, and days since 1970-01-01.
CODES = (-1, *(sign * (10**digits - 1) for digits in range(2, 8) for sign in (1, -1)))
DATE_CODES = np.array(
    [
        *("0001-01-01", "1753-01-01", "1800-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1970-01-01"),
        *("2099-12-31", "2100-01-01", "2199-12-31", "2999-12-31", "9999-01-01", "9999-12-31"),
    ],
    "datetime64[D]",
).astype(np.int64)
MIN_CODE_ROWS = 3  # a number that is a code occurs in at least so many rows; a date may occur once
MAX_SPELLINGS = 5  # of a code
MAX_SHOWN = 40  # characters of a number in a message
MIN_OTHERS = 5  # distinct values beside the codes; with fewer, a code may be one of a few categories
CODE_STDS = 3  # standard deviations of the other values, from the nearest of them to a code
NEGATIVE_STDS = 0.5  # likewise for -1 where all others are positive
TAG_SEPARATORS = "|;,"
LIKELY_TAG_SEPARATORS = "|;"  # commas occur in names of one thing, too
MAX_TAG_WORDS = 3


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile of a column in memory; see the protocol `ColumnProfile`.

    Attributes:
        name: the column's name.
        kind: the column's type.
        is_type_declared: whether the user declared the type.
        values: the values of all rows.
        valid: (rows,), bool: False where a value is missing. None: no value is missing.
        locate: describes the location of a row, for messages.
        count_spellings: counts the spellings of missing values, by column and spelling.
        reading: how texts were read as numbers or times.
        problem: why the column can't be read without a decision of the user.
        list_spellings: the distinct spellings of the column's values in some rows. None: those of Python.
        row_numbers: the number in the data, from 0, of each row, if some rows are left out.
    """

    name: str
    kind: ColumnType
    is_type_declared: bool
    values: Values
    valid: np.ndarray | None
    locate: Callable[[int], str]
    count_spellings: Callable[[], Mapping[str, Mapping[str, int]]]
    reading: Reading | None = None
    problem: Problem | None = None
    list_spellings: Callable[[np.ndarray], tuple[str, ...]] | None = None
    row_numbers: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return row_count(self.values)

    @cached_property
    def missing_count(self) -> int:
        return 0 if self.valid is None else int(len(self.valid) - self.valid.sum())

    @property
    def first_missing_location(self) -> str:
        assert self.valid is not None
        return self.locate(int(np.argmin(self.valid)))

    @property
    def missing_spellings(self) -> Mapping[str, int]:
        return self.count_spellings().get(self.name, {}) if self.missing_count else {}

    @cached_property
    def distinct_count(self) -> int | None:
        if isinstance(self.values, Strings):
            return _count_strings(self.values) - (self.missing_count > 0 and not self._has_empty_text)
        numbers = self.numbers
        all_whole = self.kind == "float" and len(numbers) > 0 and bool(is_whole(numbers).all())
        if all_whole or self.kind in ("int", "bool"):
            return _count_integers(numbers.astype(np.int64, copy=False))
        return None

    @property
    def _has_empty_text(self) -> bool:
        """Whether a text is empty and isn't missing. It is the same string as the missing ones."""
        assert isinstance(self.values, Strings)
        is_empty = np.diff(self.values.offsets) == 0
        is_empty = is_empty if self.values.indices is None else is_empty[self.values.indices]
        return bool((is_empty if self.valid is None else is_empty & self.valid).any())

    @cached_property
    def is_constant(self) -> bool:
        if isinstance(self.values, Strings):
            return self.distinct_count == 1
        numbers = self.numbers
        return len(numbers) > 0 and bool((numbers == numbers[0]).all())

    @property
    def rarest_value(self) -> tuple[str, int]:
        values = np.array(self.values.tolist()) if isinstance(self.values, Strings) else np.asarray(self.values)
        distinct, counts = np.unique(values if self.valid is None else values[self.valid], return_counts=True)
        rarest = int(counts.argmin())
        return str(distinct[rarest]), int(counts[rarest])

    @cached_property
    def numbers(self) -> np.ndarray:
        """The numbers that aren't missing; an empty array for strings."""
        if isinstance(self.values, Strings):
            return np.empty(0)
        return np.asarray(self.values if self.valid is None else np.asarray(self.values)[self.valid])

    @cached_property
    def minimum(self) -> float:
        return self.numbers.min().item()

    @cached_property
    def maximum(self) -> float:
        return self.numbers.max().item()

    @cached_property
    def median(self) -> float:
        return np.median(self.numbers).item()

    @property
    def counts_rows(self) -> bool:
        if self.kind not in ("int", "float") or self.missing_count or not self.rows:
            return False
        first = self.numbers[0]
        row_numbers = np.arange(self.rows) if self.row_numbers is None else self.row_numbers
        start = first - row_numbers[0]
        return start in (0, 1) and np.array_equal(self.numbers, row_numbers + start)

    @property
    def skewness(self) -> float:
        if not self.is_far_from_zero:
            return skewness(self.numbers)
        if self.numbers.dtype.kind in "iu":  # beyond 2**53, differences are exact in integers only, which need a sign
            whole = self.numbers.astype(np.int64)
            return skewness(whole - whole[0])
        return skewness(self.numbers - self.median)

    @cached_property
    def is_far_from_zero(self) -> bool:
        numbers = self.numbers.astype(np.float64, copy=False)
        with np.errstate(all="ignore"):
            return bool(0 < FAR_STDS * numbers.std() < abs(numbers.mean()))

    @cached_property
    def is_rounded_in_float(self) -> bool:
        numbers = self.numbers
        if numbers.dtype.kind not in "iu" or not len(numbers) or max(-self.minimum, self.maximum) <= MAX_EXACT:
            return False
        floats = numbers.astype(np.float64)
        is_coarse = np.spacing(np.abs(floats).max()) > ROUNDED_STDS * floats.std()
        return bool(is_coarse) and len(np.unique(floats)) < len(np.unique(numbers))

    @cached_property
    def infinite_count(self) -> int:
        return int((~np.isfinite(self.numbers)).sum()) if self.kind == "float" else 0

    @property
    def first_infinite(self) -> str:
        valid = True if self.valid is None else self.valid
        row = int(np.argmax(~np.isfinite(np.asarray(self.values)) & valid))
        (text,) = (self.list_spellings or self._list_values)(np.array([row]))
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
        return f"{shown} ({self.locate(row)})"

    @property
    def time_parts(self) -> tuple[str, ...]:
        times = self.numbers
        years, months, days, hours = (times.astype(f"datetime64[{unit}]") for unit in "YMDh")
        parts = {
            "year": years.astype(np.int64),
            "month": (months - years.astype(months.dtype)).astype(np.int64),
            "weekday": days.astype(np.int64) % 7,
            "hour": (hours - days.astype(hours.dtype)).astype(np.int64),
        }
        return tuple(name for name, part in parts.items() if (part != part[0]).any())

    @cached_property
    def sentinels(self) -> tuple[Sentinel, ...]:
        if self.kind not in ("int", "float", "timestamp"):
            return ()
        values, codes, min_rows = np.asarray(self.values), np.array(CODES), MIN_CODE_ROWS
        if self.kind == "timestamp":
            min_rows = 1
            values, codes = values.astype("datetime64[D]").astype(np.int64), DATE_CODES
        usable = np.isfinite(values) if self.valid is None else np.isfinite(values) & self.valid
        found = []
        present = values if usable.all() else values[usable]
        for code in _find_codes(present.astype(np.float64, copy=False), codes):
            rows = np.flatnonzero((values == code) & usable)
            if len(rows) < min_rows:
                continue
            texts = self._list_values(rows) if self.list_spellings is None else self.list_spellings(rows)
            if len(texts) <= MAX_SPELLINGS:  # many times of one day are no code
                found.append(Sentinel(texts, len(rows)))
        return tuple(found)

    def _list_values(self, rows: np.ndarray) -> tuple[str, ...]:
        """The distinct values in some rows, as texts."""
        values = np.unique(np.asarray(self.values)[rows])
        if values.dtype.kind == "M":
            return tuple(str(np.datetime_as_string(value, unit="auto")) for value in values)
        return tuple(map(str, values.tolist()))

    @cached_property
    def likely_dates(self) -> str | None:
        if isinstance(self.values, Strings):
            return find_dates_in_texts([text for text in self._sampled_texts if text])
        numbers = self.numbers
        is_number = self.kind in ("int", "float")
        return find_dates_in_numbers(numbers[sample_evenly(len(numbers), SAMPLED_NUMBERS)]) if is_number else None

    @cached_property
    def is_prose(self) -> bool:
        if not isinstance(self.values, Strings):
            return False
        texts = [text for text in self._sampled_texts if text]
        return bool(texts) and sum(len(text.split()) for text in texts) >= PROSE_WORDS * len(texts)

    @cached_property
    def has_image_paths(self) -> bool:
        if not isinstance(self.values, Strings):
            return False
        texts = [text for text in self._sampled_texts if text]
        return 2 * sum(text.lower().endswith(IMAGE_SUFFIXES) for text in texts) > len(texts)

    @cached_property
    def tag_separator(self) -> str | None:
        if not isinstance(self.values, Strings):
            return None
        texts = {text for text in self._sampled_texts if text}
        return next((character for character in TAG_SEPARATORS if _are_tags(texts, character)), None)

    @cached_property
    def likely_tags(self) -> tuple[str, str] | None:
        if not isinstance(self.values, Strings):
            return None
        texts = sorted({text for text in self._sampled_texts if text})
        characters = self.tag_separator or LIKELY_TAG_SEPARATORS
        found = ((_find_tags(texts, character), character) for character in characters)
        return next(((text, character) for text, character in found if text is not None), None)

    @cached_property
    def _sampled_texts(self) -> list[str]:
        """Strings from all parts of the column, which are distinct if the strings have a dictionary."""
        assert isinstance(self.values, Strings)
        sample = sample_evenly(len(self.values.offsets) - 1, SAMPLED_TEXTS)
        return [text.decode() for text in self.values._replace(indices=sample).iterate_bytes()]


def sample_evenly(count: int, size: int) -> np.ndarray:
    """Positions below `count` at equal distances, at most `size` of them, int64, ascending."""
    return np.arange(min(count, size)) * count // max(min(count, size), 1)


def is_whole(values: np.ndarray) -> np.ndarray:
    """Which numbers are whole, and small enough to be exact in float64."""
    numbers = values.astype(np.float64, copy=False)  # float16 can't hold MAX_EXACT
    return (np.abs(numbers) <= MAX_EXACT) & (numbers == np.floor(numbers))


def _find_codes(values: np.ndarray, codes: np.ndarray) -> Iterator[float]:
    """The smallest and the largest value, as far as they are codes far from all others."""
    if not len(values):
        return
    extremes = [value for value in np.unique([values.min(), values.max()]).tolist() if value in codes]
    if not extremes:
        return
    others = values[~np.isin(values, extremes)]
    distinct = np.unique(others)
    if len(distinct) < MIN_OTHERS:
        return
    with np.errstate(all="ignore"):
        std, gap = others.std(), np.diff(distinct).max()
    for code in extremes:
        distance = max(distinct[0] - code, code - distinct[-1])
        stds = NEGATIVE_STDS if code == -1 and distinct[0] > 0 else CODE_STDS
        if distance > max(stds * std, 2 * gap):
            yield code


def _are_tags(texts: set[str], separator: str) -> bool:
    """Whether texts are lists of short tags, which recur in other texts in other combinations."""
    lists, counts = _split_tags(texts, separator)
    several = sum(len(tags) > 1 for tags in lists)
    are_several = several > 0 if separator == "|" else several > len(texts) / 2  # no other text has a |
    return are_several and _are_short(counts) and 2 * len(counts) <= sum(counts.values())


def _find_tags(texts: Collection[str], separator: str) -> str | None:
    """The first list of tags, of which one occurs in another text. None: there is none, or tags are long."""
    lists, counts = _split_tags(texts, separator)
    recur = (len(tags) > 1 and any(tag and counts[tag] > tags.count(tag) for tag in tags) for tags in lists)
    return next(itertools.compress(texts, recur), None) if _are_short(counts) else None


def _split_tags(texts: Iterable[str], separator: str) -> tuple[list[list[str]], Counter[str]]:
    """The tags of each text, and how often each occurs."""
    lists = [[tag.strip() for tag in text.split(separator)] for text in texts]
    return lists, Counter(tag for tags in lists for tag in tags)


def _are_short(tags: Iterable[str]) -> bool:
    return all(len(tag.split()) <= MAX_TAG_WORDS for tag in tags)


def skewness(values: np.ndarray) -> float:
    """The third standardized moment of numbers; 0 if they are constant or not all finite."""
    numbers = values.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        deviations = numbers - numbers.mean()
        std = math.sqrt(np.square(deviations).mean())
    if not (0 < std < math.inf):
        return 0.0
    deviations /= std  # in place, as a table may have many rows
    return float(deviations @ np.square(deviations)) / len(deviations)


def _count_integers(values: np.ndarray) -> int:
    """The number of distinct integers."""
    if not len(values):
        return 0
    low, high = int(values.min()), int(values.max())
    if high - low > MAX_FLAGS:
        return len(np.unique(values))
    seen = np.zeros(high - low + 1, bool)
    seen[values - low] = True
    return int(seen.sum())


def _count_strings(strings: Strings) -> int:
    """The number of distinct strings, including "" for missing values."""
    if strings.indices is not None:  # the strings of a dictionary are distinct
        return len(strings.offsets) - 1
    return len(set(strings.tolist()))
