"""Facts about the columns of a table. Each fact is computed when it is first read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.types import ColumnType, Problem, Reading, Strings, Values, row_count

MAX_EXACT = 2.0**53  # beyond it, float64 can't represent all whole numbers
FAR_STDS = 1000  # a mean of more standard deviations is far from 0; see `ColumnProfile.is_far_from_zero`
MAX_FLAGS = 1 << 24  # integers of at most this range are counted with an array of flags, which is faster than sorting
SAMPLED_TEXTS = 1000  # how many of the distinct texts decide whether a column holds prose
PROSE_WORDS = 4.0  # texts with at least this many words on average are prose


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
            return _count_strings(self.values) - bool(self.missing_count)
        numbers = self.numbers
        all_whole = self.kind == "float" and len(numbers) > 0 and bool(is_whole(numbers).all())
        if all_whole or self.kind in ("int", "bool"):
            return _count_integers(numbers.astype(np.int64))
        return None

    @cached_property
    def is_constant(self) -> bool:
        if isinstance(self.values, Strings):
            return self.distinct_count == 1
        numbers = self.numbers
        return len(numbers) > 0 and bool((numbers == numbers[0]).all())

    @property
    def rarest_value(self) -> tuple[str, int]:
        values = self.values.tolist() if isinstance(self.values, Strings) else self.values
        distinct, counts = np.unique(np.asarray(values), return_counts=True)
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
    def skewness(self) -> float:
        if not self.is_far_from_zero:
            return skewness(self.numbers)
        # The difference of two integers beyond 2**53 is exact only if it is computed in integers.
        return skewness(self.numbers - (self.median if self.distinct_count is None else round(self.median)))

    @cached_property
    def is_far_from_zero(self) -> bool:
        numbers = self.numbers.astype(np.float64)
        with np.errstate(all="ignore"):
            return bool(0 < FAR_STDS * numbers.std() < abs(numbers.mean()))

    @cached_property
    def infinite_count(self) -> int:
        return int((~np.isfinite(self.numbers)).sum()) if self.kind == "float" else 0

    @property
    def first_infinite_location(self) -> str:
        return self.locate(int(np.argmin(np.isfinite(np.asarray(self.values)))))

    @property
    def has_time_of_day(self) -> bool:
        return bool((self.numbers.astype("datetime64[D]") != self.numbers).any())

    @cached_property
    def is_prose(self) -> bool:
        if not isinstance(self.values, Strings):
            return False
        sample = self.values._replace(indices=None, offsets=self.values.offsets[: SAMPLED_TEXTS + 1]).tolist()
        texts = [text for text in sample if text]
        return bool(texts) and sum(len(text.split()) for text in texts) >= PROSE_WORDS * len(texts)


def is_whole(values: np.ndarray) -> np.ndarray:
    """Which numbers are whole, and small enough to be exact in float64."""
    return (np.abs(values) <= MAX_EXACT) & (values == np.floor(values))


def skewness(values: np.ndarray) -> float:
    """The third standardized moment of numbers; 0 if they are constant or not all finite."""
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
