"""Facts about a table. The runner suggests features, architecture and optimizer from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

ColumnType: TypeAlias = Literal["float", "int", "string", "bool", "timestamp"]
"""The type of a column of a table."""


class Gap(NamedTuple):
    """A text that was read as a missing value, because the column holds numbers or times.

    Attributes:
        text: the text.
        rows: the number of rows with it.
        first_location: the location of the first of these rows, for messages.
    """

    text: str
    rows: int
    first_location: str


class Sentinel(NamedTuple):
    """A number that occurs several times, or a date, far from all others, which often stands for a missing value.

    Attributes:
        texts: the spellings in the data, such as `-999` and `-999.0`.
        row_count: the number of rows with it.
    """

    texts: tuple[str, ...]
    row_count: int


class Setting(NamedTuple):
    """A value for an option of the source.

    Attributes:
        purpose: what it does, such as "to read all values as text".
        option: the option.
        value: the value.
        by_column: whether it is the value for the column, and not for all.
    """

    purpose: str
    option: str
    value: str | tuple[str, ...]
    by_column: bool = True


class Reading(NamedTuple):
    """How the texts of a column were read as another type.

    Attributes:
        description: the type, and what was decided, such as "numbers, without `$`"; "": there is nothing to say.
        options: the options of the source that read other rows in the same way: the value for this column, by name.
        gaps: the texts that were read as missing values.
        unusual: what is unusual about some values, such as "2 of 40 values have no `kg`"; "": nothing.
        setting: what reads a column of text as the type that most of its texts have. None: there is no note.
    """

    description: str
    options: Mapping[str, str] = {}
    gaps: tuple[Gap, ...] = ()
    unusual: str = ""
    setting: Setting | None = None

    def describe(self) -> str:
        """Describes the reading, the gaps and what is unusual."""
        return "; ".join((f"read as {self.description}", *self.describe_unusual()))

    def describe_unusual(self) -> tuple[str, ...]:
        """Describes the gaps, and what is unusual."""
        gaps = ", ".join(
            f"{gap.text!r} in {gap.rows:,} {'row' if gap.rows == 1 else 'rows'} (first: {gap.first_location})"
            for gap in self.gaps
        )
        return tuple(filter(None, (self.unusual, gaps and f"missing: {gaps}")))


class Problem(NamedTuple):
    """Why a column can't be read without a decision of the user.

    Attributes:
        fault: what is wrong, with the value and its location.
        settings: what the user may decide.
    """

    fault: str
    settings: tuple[Setting, ...]


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
        """The rarest value and its number of rows. The column must have a value."""

    @property
    def minimum(self) -> float:
        """The smallest of the numbers."""

    @property
    def maximum(self) -> float:
        """The largest of the numbers."""

    @property
    def counts_rows(self) -> bool:
        """Whether the numbers are 0, 1, 2, … or 1, 2, 3, … in the order of the rows."""

    @property
    def skewness(self) -> float:
        """The third standardized moment of the numbers; 0 if they are constant or not all finite."""

    @property
    def is_far_from_zero(self) -> bool:
        """Whether the mean of the numbers is more than 1,000 standard deviations from 0."""

    @property
    def is_rounded_in_float(self) -> bool:
        """Whether float64 makes different whole numbers equal, and its steps are more than 1/1,000 of their std."""

    @property
    def infinite_count(self) -> int:
        """How many of the numbers are infinite or NaN."""

    @property
    def first_infinite(self) -> str:
        """The first infinite number or NaN as it is written, such as 1e400, and its location, for messages."""

    @property
    def time_parts(self) -> tuple[str, ...]:
        """Those of the parts year, month, weekday and hour in which the times differ."""

    @property
    def sentinels(self) -> tuple[Sentinel, ...]:
        """The smallest and the largest of the numbers, as far as they seem to stand for missing values."""

    @property
    def likely_dates(self) -> str | None:
        """The value of `dates` that would read numbers or texts as times, as which they look. None: they don't."""

    @property
    def reading(self) -> Reading | None:
        """How texts were read as numbers or times. None: there is nothing to say about it."""

    @property
    def problem(self) -> Problem | None:
        """Why the column can't be read without a decision of the user. None: it can."""

    @property
    def is_prose(self) -> bool:
        """Whether the column holds texts of several words."""

    @property
    def has_image_paths(self) -> bool:
        """Whether most texts end as the names of image files do."""

    @property
    def tag_separator(self) -> str | None:
        """The character between tags such as `action|drama`. None: the texts are no lists of tags."""

    @property
    def likely_tags(self) -> tuple[str, str] | None:
        """A text that may be a list of tags, and the character between them; also if most texts are no lists. None:
        there is none."""


VOID = 255  # in masks, usually the borders of objects
SPARSE, MAX_ID = 10, 200  # ids of classes are below so many times their number, and below so much


class ImageProfile(NamedTuple):
    """Facts about a column of images.

    Attributes:
        name: the column's name.
        shapes: the height, width and number of channels (1: grey, 3: colors) of some of the images, and how many of
            these have each.
        masks: the number of masks that were read, if the column is the target.
        classes: the sorted classes of their pixels.
        missing_count: the number of rows without an image.
    """

    name: str
    shapes: Mapping[tuple[int, int, int], int]
    masks: int = 0
    classes: tuple[int, ...] = ()
    missing_count: int = 0


def find_void_class(classes: Collection[Any]) -> int | None:
    """255 among classes of pixels, if it seems to mark pixels of no class; None: it doesn't.

    Beside 0 only, it is white. Beside large classes, or a few that are far apart, it may be a level of grey.
    """
    others = [value for value in classes if isinstance(value, int) and value != VOID]
    if VOID not in classes or len(others) < 2 or min(others) < 0:
        return None
    return VOID if max(others) < min(SPARSE * len(others), MAX_ID) else None


@dataclass(frozen=True)
class TableProfile:
    """Facts about a table.

    Attributes:
        origin: the name of the table for messages.
        columns: the facts about each column, in the order of the table.
        target: the name of the column to predict, if the source specifies it; or several names.
        options: options of the source that were inferred and read other rows in the same way, for the whole table.
        notes: sentences for the user about what the source left out.
        images: the facts about each column of images.
        computed: the columns that operations on rows compute. Options of the source don't name them.
        operands: the columns that these operations read, so that they must keep their types.
        bytes_columns: the columns that are left out because they have bytes, such as images.
    """

    origin: str
    columns: Sequence[ColumnProfile]
    target: str | tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    images: Sequence[ImageProfile] = ()
    computed: frozenset[str] = frozenset()
    operands: frozenset[str] = frozenset()
    bytes_columns: tuple[str, ...] = ()


@runtime_checkable
class InfersTypes(Protocol):
    """A source that infers the types of its columns from all rows, and how their texts are read."""

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> Mapping[str, Any]:
        """The options of the source with which it reads other rows in the same way, as far as it inferred them.

        Args:
            columns: the columns that matter, and as what their whole numbers are read: categories (`int`) or numbers
                (`float`). None: any of them.
        """

    def reading_notes(self, columns: Collection[str], *, declared: bool) -> tuple[str, ...]:
        """How the texts of columns are read, as sentences for the user.

        Args:
            columns: the columns that matter.
            declared: whether to add what is unusual about the columns whose types are declared.
        """


@runtime_checkable
class Profiled(Protocol):
    """A source with a profile. The runner can suggest feature columns, architecture and optimizer for it."""

    def profile(self) -> TableProfile:
        """The facts about the columns, computed from all rows."""
