"""Facts about a table. The runner suggests features, architecture and optimizer from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

ColumnType: TypeAlias = Literal["float", "int", "string", "bool", "timestamp"]
"""The type of a column of a table."""


class NonNumbers(NamedTuple):
    """The texts that are not numbers, in a column that otherwise holds numbers.

    Attributes:
        row_count: the number of rows with a text that is not a number.
        first_location: the location of the first of these rows, for messages.
        texts: the distinct texts, in order of first occurrence.
    """

    row_count: int
    first_location: str
    texts: tuple[str, ...]


class TextKind(NamedTuple):
    """The kind of texts that a column holds.

    Attributes:
        kind: `numbers` with decimal commas or thousands separators, `dates` in another format than ISO 8601, `prose` of
            several words, or `names` for all other texts.
        example: one of the texts.
    """

    kind: Literal["numbers", "dates", "prose", "names"]
    example: str


class ColumnProfile(Protocol):
    """Facts about a column of a table. An implementation may compute each fact when it is first read.

    Below, "the numbers" are the values that aren't missing, in a column of numbers, booleans (0 and 1) or times.
    """

    @property
    def name(self) -> str:
        """The column's name."""

    @property
    def kind(self) -> ColumnType:
        """The type that the values were read as."""

    @property
    def is_type_declared(self) -> bool:
        """Whether the user declared the type."""

    @property
    def rows(self) -> int:
        """The number of rows, including rows with missing values."""

    @property
    def missing_count(self) -> int:
        """The number of rows with a missing value."""

    @property
    def first_missing_location(self) -> str:
        """The location of the first missing value, for messages."""

    @property
    def missing_spellings(self) -> Mapping[str, int]:
        """The spellings of missing values, such as `NA`, and how often each occurs; empty fields aren't counted."""

    @property
    def distinct_count(self) -> int | None:
        """The number of distinct values. None: the column has times, or numbers that aren't all whole."""

    @property
    def is_constant(self) -> bool:
        """Whether all values are equal, apart from missing values."""

    @property
    def rarest_value(self) -> tuple[str, int]:
        """The rarest value and its number of rows. The column must not have missing values."""

    @property
    def minimum(self) -> float:
        """The smallest of the numbers."""

    @property
    def maximum(self) -> float:
        """The largest of the numbers."""

    @property
    def skewness(self) -> float:
        """The third standardized moment of the numbers; 0 if they are constant or not all finite."""

    @property
    def is_far_from_zero(self) -> bool:
        """Whether the mean of the numbers is more than 1,000 standard deviations from 0."""

    @property
    def infinite_count(self) -> int:
        """How many of the numbers are infinite or NaN."""

    @property
    def first_infinite_location(self) -> str:
        """The location of the first infinite number or NaN, for messages."""

    @property
    def has_time_of_day(self) -> bool:
        """Whether any of the times differs from midnight."""

    @property
    def non_numbers(self) -> NonNumbers | None:
        """The texts that aren't numbers, if most texts of the column are numbers; otherwise None."""

    @property
    def text_kind(self) -> TextKind | None:
        """The kind of texts. None: the column holds no texts."""


@dataclass(frozen=True)
class TableProfile:
    """Facts about a table.

    Attributes:
        origin: the name of the table for messages.
        columns: the facts about each column, in the order of the table.
        target: the name of the column to predict, if the source specifies it.
    """

    origin: str
    columns: Sequence[ColumnProfile]
    target: str | None = None


@runtime_checkable
class Profiled(Protocol):
    """A source with a profile. The runner can suggest feature columns, architecture and optimizer for it."""

    def profile(self) -> TableProfile:
        """The facts about the columns, computed from all rows."""
