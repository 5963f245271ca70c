"""Facts about the columns of a table, each computed when it is first read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.types import ColumnType, OddTexts, Strings, TextKind, Values, row_count

EXACT = 2.0**53  # beyond which float64 skips whole numbers
FAR = 1000  # standard deviations from 0, see `ColumnProfile.is_far_from_zero`
NARROW = 1 << 24  # whole numbers in so small a range are counted in an array of flags
TEXTS = 1000  # texts, from the first, that decide what texts are
WORDS = 4.0  # per text, on average, that make prose
GROUPED = re.compile(r"[-+]?\d{1,3}([,.]\d{3})+([.,]\d+)?")
COMMA = re.compile(r"[-+]?\d*,\d+")
DATE = re.compile(r"(\d{1,2}|\d{4})([/.-])\d{1,2}\2(\d{4}|\d{1,2})( .*)?")


@dataclass(frozen=True, eq=False)
class Profile:
    """A `ColumnProfile` of values in memory.

    Attributes:
        name: the column's name.
        kind: its type.
        is_declared: whether the user gave the type.
        values: its values in all rows.
        valid: (rows,), bool: which rows have a value. None: all.
        where: describes where a row is, for messages.
        count_spellings: the spellings of missing values and their counts, by column.
    """

    name: str
    kind: ColumnType
    is_declared: bool
    values: Values
    valid: np.ndarray | None
    where: Callable[[int], str]
    count_spellings: Callable[[], Mapping[str, Mapping[str, int]]]

    @property
    def rows(self) -> int:
        return row_count(self.values)

    @cached_property
    def missing_count(self) -> int:
        return 0 if self.valid is None else int(len(self.valid) - self.valid.sum())

    @property
    def first_missing_location(self) -> str:
        assert self.valid is not None
        return self.where(int(np.argmin(self.valid)))

    @property
    def missing_spellings(self) -> Mapping[str, int]:
        return self.count_spellings().get(self.name, {}) if self.missing_count else {}

    @cached_property
    def distinct_count(self) -> int | None:
        if isinstance(self.values, Strings):
            return _count_strings(self.values) - bool(self.missing_count)
        numbers = self.numbers
        whole = self.kind == "float" and len(numbers) > 0 and bool(is_whole(numbers).all())
        return _count_integers(numbers.astype(np.int64)) if whole or self.kind in ("int", "bool") else None

    @cached_property
    def is_constant(self) -> bool:
        if isinstance(self.values, Strings):
            return self.distinct_count == 1
        numbers = self.numbers
        return len(numbers) > 0 and bool((numbers == numbers[0]).all())

    @property
    def rarest_value(self) -> tuple[str, int]:
        values = self.values.tolist() if isinstance(self.values, Strings) else self.values
        found, counts = np.unique(np.asarray(values), return_counts=True)
        place = int(counts.argmin())
        return str(found[place]), int(counts[place])

    @cached_property
    def numbers(self) -> np.ndarray:
        """The values that aren't missing; of strings none."""
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
    def skewness(self) -> float:
        if not self.is_far_from_zero:
            return skewness(self.numbers)
        # Of whole numbers beyond 2**53 the difference alone is exact in float64.
        return skewness(self.numbers - (self.median if self.distinct_count is None else round(self.median)))

    @cached_property
    def is_far_from_zero(self) -> bool:
        numbers = self.numbers.astype(np.float64)
        with np.errstate(all="ignore"):
            return bool(0 < FAR * numbers.std() < abs(numbers.mean()))

    @cached_property
    def infinite_count(self) -> int:
        return int((~np.isfinite(self.numbers)).sum()) if self.kind == "float" else 0

    @property
    def first_infinite_location(self) -> str:
        return self.where(int(np.argmin(np.isfinite(np.asarray(self.values)))))

    @property
    def has_time_of_day(self) -> bool:
        return bool((self.numbers.astype("datetime64[D]") != self.numbers).any())

    @cached_property
    def odd_texts(self) -> OddTexts | None:
        if not isinstance(self.values, Strings):
            return None
        texts, indices = self.values._replace(indices=None).tolist(), self.values.indices
        number = np.array([is_number(text) for text in texts], bool)
        held = number if indices is None else number[indices]
        rows = int((~held).sum())
        if not 0 < 2 * rows < self.rows - self.missing_count:
            return None
        odd = dict.fromkeys(np.array(texts, object)[~number].tolist())
        return OddTexts(rows, self.where(int(np.argmin(held))), tuple(odd))

    @cached_property
    def text_kind(self) -> TextKind | None:
        if not isinstance(self.values, Strings):
            return None
        first = self.values._replace(indices=None, offsets=self.values.offsets[: TEXTS + 1]).tolist()
        texts = [text for text in first if text]
        other = next((text for text in texts if not is_number(text)), None)
        if other and all(GROUPED.fullmatch(text) or COMMA.fullmatch(text) or is_number(text) for text in texts):
            return TextKind("numbers", other)
        example = next(iter(texts), "")
        if texts and all(DATE.fullmatch(text) for text in texts):
            return TextKind("dates", example)
        is_prose = sum(len(text.split()) for text in texts) >= WORDS * max(len(texts), 1)
        return TextKind("prose" if is_prose else "names", example)


def is_whole(values: np.ndarray) -> np.ndarray:
    """Which numbers are whole, and not so large that float64 skips some."""
    return (np.abs(values) <= EXACT) & (values == np.floor(values))


def is_number(text: str) -> bool:
    """Whether a text is a number, or empty."""
    try:
        float(text)
    except ValueError:
        return not text
    return True


def skewness(values: np.ndarray) -> float:
    """The third standardized moment of numbers; 0 where they are constant or not all finite."""
    numbers = values.astype(np.float64)
    with np.errstate(all="ignore"):
        deviations = numbers - numbers.mean()
        std = math.sqrt(np.square(deviations).mean())
    if not (0 < std < math.inf):
        return 0.0
    return float((deviations / std) @ np.square(deviations / std)) / len(numbers)


def _count_integers(values: np.ndarray) -> int:
    """The number of distinct integers."""
    if not len(values):
        return 0
    low, high = int(values.min()), int(values.max())
    if high - low > NARROW:
        return len(np.unique(values))
    seen = np.zeros(high - low + 1, bool)
    seen[values - low] = True
    return int(seen.sum())


def _count_strings(strings: Strings) -> int:
    """The number of distinct strings, with "" where a value is missing. The strings of a dictionary are distinct."""
    return len(strings.offsets) - 1 if strings.indices is not None else len(set(strings.tolist()))
