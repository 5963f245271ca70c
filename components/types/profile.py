"""Facts about a table, from which the runner suggests what to learn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

ColumnType: TypeAlias = Literal["float", "int", "string", "bool", "timestamp"]
"""The type of a column of a table."""


class OddTexts(NamedTuple):
    """Texts in a column that otherwise holds numbers.

    Attributes:
        rows: how many rows hold one.
        where: where the first of these rows is, for messages.
        texts: the distinct texts, in the order in which they occur.
    """

    rows: int
    where: str
    texts: tuple[str, ...]


class TextKind(NamedTuple):
    """What the texts of a column are.

    Attributes:
        kind: `numbers` that are written with commas or with separators of thousands, `dates` that aren't ISO 8601,
            `prose` of several words, or `names`, that is all else.
        example: one of them.
    """

    kind: Literal["numbers", "dates", "prose", "names"]
    example: str


class ColumnProfile(Protocol):
    """Facts about a column of a table. An implementation may compute each when it is first read.

    "The numbers" are the values of a column of numbers, booleans (0 and 1) or times that aren't missing.
    """

    @property
    def name(self) -> str:
        """The column's name."""

    @property
    def kind(self) -> ColumnType:
        """The type that its values were read as."""

    @property
    def is_declared(self) -> bool:
        """Whether the user gave the type."""

    @property
    def rows(self) -> int:
        """The number of rows, with those that lack a value."""

    @property
    def missing(self) -> int:
        """The number of rows that lack a value."""

    @property
    def first_missing(self) -> str:
        """Where the first row without a value is, for messages."""

    @property
    def spellings(self) -> Mapping[str, int]:
        """How missing values are written where they aren't empty, and how often each spelling occurs."""

    @property
    def distinct(self) -> int | None:
        """The number of distinct values; None for times, and for numbers that aren't all whole."""

    @property
    def is_constant(self) -> bool:
        """Whether all values that aren't missing are equal."""

    @property
    def rarest(self) -> tuple[str, int]:
        """The rarest value and the number of its rows, of a column without missing values."""

    @property
    def minimum(self) -> float:
        """The smallest of the numbers."""

    @property
    def maximum(self) -> float:
        """The largest of the numbers."""

    @property
    def median(self) -> float:
        """The median of the numbers."""

    @property
    def skewness(self) -> float:
        """The skewness of the numbers: the third moment, standardized; 0 where they are constant or not finite."""

    @property
    def is_far_from_zero(self) -> bool:
        """Whether the mean of the numbers is more than 1,000 standard deviations from 0."""

    @property
    def infinite(self) -> int:
        """How many of the numbers are infinite or NaN."""

    @property
    def first_infinite(self) -> str:
        """Where the first row with such a number is, for messages."""

    @property
    def has_time_of_day(self) -> bool:
        """Whether some of the times aren't midnight."""

    @property
    def odd_texts(self) -> OddTexts | None:
        """The texts that aren't numbers where most texts are; None where most aren't, or the column holds no text."""

    @property
    def text_kind(self) -> TextKind | None:
        """What the texts are; None where the column holds no text."""


@dataclass(frozen=True)
class TableProfile:
    """Facts about a table.

    Attributes:
        origin: the table's name for messages.
        columns: the facts about each column, in the order of the table.
        target: the name of the column to predict, if the source has it.
    """

    origin: str
    columns: Sequence[ColumnProfile]
    target: str | None = None


@runtime_checkable
class Profiled(Protocol):
    """A source that is a table: the runner can suggest feature columns, architecture and optimizer for it."""

    def profile(self) -> TableProfile:
        """Facts about the columns of all rows."""
