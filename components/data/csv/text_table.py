"""The base class of tables whose texts are read as numbers, times or booleans: CSV files, and tables from Python."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from components.closest import closest_name, format_name, join_names, suggest_name
from components.data.bad_rows import BadRowsError, are_too_many, check_remaining_classes, join_errors
from components.data.csv.codes import NEUTRAL
from components.data.csv.dialect import CHARACTERS, CsvFile
from components.data.csv.errors import format_setting, name_character
from components.data.csv.options import check_dates, check_different, raise_contradiction
from components.data.csv.reader import Columns, Reader
from components.data.csv.selection import MAX_LISTED, find_rows_with_target, take_rows
from components.data.csv.texts import PLAIN_READINGS
from components.data.csv.times import ASSUME_UTC, FILE_READINGS, READINGS
from components.data.key_column import format_key, join_parts
from components.data.profile import MAX_EXACT, Profile
from components.data.skipping import SkipOptions
from components.data.splitting import DEFAULT_SHARE, KEY_OPTIONS
from components.data.table import LocatedBlock, Table
from components.types import Block, ColumnType, DataError, Range, Reading, Setting, Strings, TableProfile, Values

LISTS = ("nulls", "target", "drop", "classes")  # options that Python may set to lists
THOUSANDS = f".,{NEUTRAL}"  # the characters that may separate thousands


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTable(SkipOptions, Table):
    """A table whose columns of text are read as numbers, times or booleans, where all of their texts are such.

    Attributes:
        decimal: the decimal separator of numbers, of all columns or by column. None: a point; numbers with a decimal
            comma are an error.
        thousands: the separator of thousands, in addition to blanks, apostrophes and underscores. None: the one that
            the numbers show.
        nulls: the spellings of a missing value, quoted or not. A number or a time stands for all its spellings. A list
            has those of all columns. A mapping has those of some columns; among numbers and times they are added to the
            usual ones. None: the empty field, NA, N/A, n/a, NaN, nan, NULL, null, #N/A and <NA>; and among numbers and
            times also other usual spellings, such as ?, - or unknown.
        types: the types of some columns. The types of the other columns are inferred from all rows: `int`, `float`,
            `bool` (true, false), `timestamp` or `string`. Columns of digits are also `string` if a value has a leading
            zero, such as 01000, or exceeds 64 bits. A declared `int` may be written as 2.0.
        dates: how times are written: `day_first`, `month_first` or (20/12/31) `year_first`; `utc` for times without a
            zone among times with one; `seconds`, `milliseconds` or `microseconds` since 1970; `yyyymmdd`; or a format
            of strptime. For all columns (day_first, month_first, utc), or by column; "" is the key of all columns.
        marks: the mark of the numbers of some columns, such as $, % or kg. A number with another mark is an error.
            None: the mark that most numbers of a column have.
        target: the column to predict, or several. Rows to predict need not have it.
        drop: columns to leave out.
        on_missing_target: `error`: a row without a value of `target` is an error. `drop`: it is left out and counted.
            A row needs one of several targets.
    """

    has: ClassVar[str] = "has"  # follows the label in messages
    decimal: str | dict[str, str] | None = None
    thousands: str | None = None
    nulls: tuple[str | float, ...] | dict[str, tuple[str | float, ...]] | None = None
    types: dict[str, ColumnType] | None = None
    dates: str | dict[str, str] | None = None
    marks: dict[str, str] | None = None
    target: str | int | tuple[str | int, ...] | None = None
    drop: tuple[str, ...] = ()
    on_missing_target: Literal["error", "drop"] = "error"
    valid: Annotated[float, Range(0, bounds="()")] | str | tuple[str, ...] | None = None
    test: Annotated[float, Range(0, bounds="()")] | str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for option in LISTS:
            object.__setattr__(self, option, _make_tuples(option, getattr(self, option)))
        decimals = [decimal for decimal in (self._decimal, *self._column_decimals.values()) if decimal is not None]
        if wrong := [decimal for decimal in decimals if decimal not in (".", ",")]:
            raise DataError(f"`decimal` (={wrong[0]}) must be point or comma")
        thousands = self._character("thousands")
        if thousands is not None and thousands not in THOUSANDS:
            raise DataError(
                f"`thousands` (={self.thousands}) separates no thousands. Allowed are point, comma, space, apostrophe "
                "and underscore, and other blanks and apostrophes of Unicode"
            )
        if self._decimal is not None:  # a column with a decimal of its own doesn't have these thousands
            check_different({"decimal": self._decimal} | ({} if thousands is None else {"thousands": thousands}))
        if isinstance(self.dates, str):
            check_dates("dates", self.dates, FILE_READINGS)
        for name, dates in self._dates.items() if isinstance(self.dates, dict) else ():
            check_dates(f"dates.{name}", dates, READINGS if name else FILE_READINGS)
        self._check_kinds()
        if self.on_missing_target == "drop" and not self._targets:
            raise DataError("`on_missing_target` (=drop) needs `target`, the column whose gaps are meant")

    def _check_kinds(self) -> None:
        """Raises DataError if two options of a column need different types."""
        decimals = self.decimal if isinstance(self.decimal, dict) else {}
        dates = {name: dates for name, dates in self._dates.items() if name}
        needed: dict[str, tuple[str, tuple[str, ...]]] = {}  # the option of each column, and the types that it allows
        for option, values in (("dates", dates), ("marks", self.marks or {}), ("decimal", decimals)):
            allowed = ("timestamp",) if option == "dates" else ("int", "float")
            for name, value in values.items():
                described = f"`{option}` (={value})"
                kind = (self.types or {}).get(name)
                if kind is not None and kind not in allowed:
                    raise_contradiction(name, described, f"`types` (={kind})")
                other, other_allowed = needed.setdefault(name, (described, allowed))
                if other_allowed != allowed:
                    raise_contradiction(name, other, described)

    @property
    @abstractmethod
    def label(self) -> str:
        """The name of the table for messages."""

    @property
    @abstractmethod
    def reader(self) -> Reader:
        """Reads the columns of text."""

    @property
    @abstractmethod
    def text_names(self) -> Collection[str]:
        """The names of the columns that the reader reads."""

    @abstractmethod
    def read_columns(self) -> Columns:
        """Reads all columns."""

    @abstractmethod
    def _locate(self, row: int) -> str:
        """The location of a row that isn't left out, for messages."""

    @property
    def tables(self) -> Mapping[str, TextTable]:
        """The table of each part."""
        return {"all": self}

    @property
    def has_all_classes(self) -> bool:
        """Whether each of `classes` must be in the table."""
        return True

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns of which a row needs a value: other rows are left out."""
        return ()

    def list_training_classes(self, name: str) -> set[str]:
        """The classes of a column in the training file, if this is another file."""
        return set()

    @property
    def class_column(self) -> str:
        return self.stratify or next(iter(self._targets), super().class_column)

    @property
    def omitted_share(self) -> float | None:
        is_default = self.split_by is None and self.split_column is None
        return DEFAULT_SHARE if is_default else None

    def _make_reader(self, file: CsvFile, types: Mapping[str, ColumnType], drop: tuple[str, ...]) -> Reader:
        """Makes a reader of a file, with the types that are declared for its columns, and the columns to leave out."""
        return Reader(
            file,
            types,
            None if self.nulls is None or isinstance(self.nulls, dict) else tuple(map(str, self.nulls)),
            self._nulls_by_column,
            self._dates,
            self.marks or {},
            self._decimal,
            self._column_decimals,
            self._character("thousands"),
            drop,
            self.on_bad_row,
            self.used_columns,
        )

    def read_with_skipping(self) -> Columns:
        """Reads the columns of text, until no row that can't be read is left, if such rows are skipped."""
        while True:
            columns = self.reader.read()
            if not columns.errors and self.on_bad_row == "skip":
                columns = columns._replace(errors=self.find_file_errors(columns))
            if not columns.errors:
                return columns
            self._skip_rows(columns)

    def find_file_errors(self, columns: Columns) -> tuple[BadRowsError, ...]:
        """The errors of rows whose files can't be read."""
        return ()

    def _skip_rows(self, columns: Columns) -> None:
        """Lets the reader skip the rows of errors. Raises DataError if these are most rows, or all of a class."""
        for error in columns.errors:
            if are_too_many(len(error.rows), columns.rows):
                raise DataError(
                    f"{error}. More than half of the rows are like this, so `on_bad_row` (=skip) doesn't skip them."
                )
        rows, describe = join_errors(columns.errors)
        locate, bad_rows = self.reader.file.locate, self.bad_rows
        prefix = "" if self.reader.file.is_in_memory else f"{self.label}, "
        bad_rows = bad_rows.add(rows, lambda row: f"{prefix}{locate(row)}: {describe(row)}")
        bad_rows.check(columns.rows + len(self.bad_rows), self.label)
        file = replace(self.reader.file, skipped=tuple(bad_rows.rows.tolist()))
        self.__dict__.update(bad_rows=bad_rows, reader=replace(self.reader, file=file))  # replaces the cached ones

    def _check_remaining_classes(self, columns: Columns) -> None:
        """Raises DataError if all rows of a class are skipped. `columns`: the rows that remain."""
        for name in self.class_separators if len(self.bad_rows) else ():
            remaining = self.list_classes(name, columns) | self.list_training_classes(name)
            skipped = self.find_skipped_classes(name, columns, remaining)
            check_remaining_classes(skipped, remaining, self.label, self._describe_skipped)

    def list_classes(self, name: str, columns: Columns) -> set[str]:
        """The classes in a column; empty for a column of arrays."""
        values = columns.values.get(name)
        if not isinstance(values, Strings) and (not isinstance(values, np.ndarray) or values.ndim > 1):
            return set()
        mask = columns.valid.get(name, np.ones(columns.rows, bool))
        distinct = join_parts("classes", name, [(values, mask)]).number_values()[0]
        return self.find_classes(name, (value for value in distinct if value is not None))

    def find_skipped_classes(self, name: str, columns: Columns, remaining: Collection[str]) -> dict[int, set[str]]:
        """The classes of the rows that are skipped, by the number of the row.

        Args:
            name: the column of classes.
            columns: the rows that remain.
            remaining: their classes.
        """
        found, uneven = dict[int, set[str]](), dict[int, list[str]]()
        for number, texts in self.reader.file.read_skipped(name):
            values = [
                value for text in texts if text != name and (value := self.reader.read_class(name, text, columns))
            ]
            if len(texts) == 1:
                found[number] = self.find_classes(name, values)
            elif values and not any(self.find_classes(name, [value]).issubset(remaining) for value in values):
                uneven[number] = values
        # A single row with a wrong number of fields may be a line of other text. Several with one class aren't.
        counts = Counter(value for values in uneven.values() for value in {*values})
        classes = {number: max(values, key=lambda value: counts[value]) for number, values in uneven.items()}
        return found | {
            number: self.find_classes(name, [value]) for number, value in classes.items() if counts[value] > 1
        }

    def _describe_skipped(self, number: int) -> str:
        """What is wrong with a row that is skipped, or only its location."""
        file = replace(self.reader.file, skipped=())
        prefix = "" if file.is_in_memory else f"{self.label}, "
        return dict(self.bad_rows.messages).get(number) or f"{prefix}{file.locate(number)}"

    @property
    def _declared_types(self) -> dict[str, ColumnType]:
        """The types of the columns that `types`, `dates` or `marks` lists."""
        types: dict[str, ColumnType] = {name: "timestamp" for name in self._dates if name}
        return types | dict.fromkeys(self.marks or {}, "float") | (self.types or {})

    def _character(self, option: str) -> str | None:
        """The character that an option stands for; raises DataError for anything else."""
        value = getattr(self, option)
        if value is None:
            return None
        character = "\t" if value == r"\t" else CHARACTERS.get(value, value)
        if len(character) != 1 or not (character.isascii() or option == "thousands") or character in "\r\n\0":
            names, kind = ", ".join(CHARACTERS), "character" if option == "thousands" else "ASCII character"
            raise DataError(f"`{option}` (={value!r}) must be one {kind} other than a line break, or one of {names}")
        return character

    @property
    def _decimal(self) -> str | None:
        """The decimal separator of all columns."""
        return None if isinstance(self.decimal, dict) else CHARACTERS.get(self.decimal or "", self.decimal)

    @property
    def _column_decimals(self) -> dict[str, str]:
        by_column = self.decimal if isinstance(self.decimal, dict) else {}
        return {name: CHARACTERS.get(decimal, decimal) for name, decimal in by_column.items()}

    @property
    def _nulls_by_column(self) -> dict[str, tuple[str, ...]]:
        nulls = self.nulls if isinstance(self.nulls, dict) else {}
        return {name: tuple(map(str, spellings)) for name, spellings in nulls.items()}

    @property
    def _dates(self) -> dict[str, str]:
        """How times are read, by column; "" stands for all columns."""
        return {"": self.dates} if isinstance(self.dates, str) else self.dates or {}

    @property
    def _targets(self) -> tuple[str, ...]:
        if self.target is None:
            return ()
        return tuple(map(str, self.target)) if isinstance(self.target, tuple) else (str(self.target),)

    @cached_property
    def table(self) -> Columns:
        """The columns, without the rows that are left out. Raises DataError if an option names no column."""
        columns = self.read_columns()
        if not columns.rows:
            raise DataError(f"{self.label} {self.has} no rows")
        columns = self._leave_out_rows(columns, self._find_used_rows(columns))
        self._check_remaining_classes(columns)
        return columns

    def _find_used_rows(self, columns: Columns) -> np.ndarray | None:
        """The rows that have a target, and one of `classes`. None: all rows. Raises DataError if there is none."""
        rows = None
        if self.on_missing_target == "drop":
            targets = [name for name in self._targets if name in columns.types]
            rows = find_rows_with_target(columns.valid, targets)
            if rows is not None and not len(rows):
                raise DataError(f"{self.label} {self.has} no row with a value of {self._describe_targets()}")
        for name in self.required_columns:
            mask = columns.valid.get(name, np.ones(columns.rows, bool))
            rows = np.flatnonzero(mask) if rows is None else rows[mask[rows]]
            if not len(rows):
                raise DataError(f"{self.label} {self.has} no row with a value of {format_name(name)}")
        if self.classes is None:
            return rows if rows is None or len(rows) < columns.rows else None
        name = self.class_column
        if name not in columns.values:
            raise DataError(
                f"`classes`: {self.label} {self.has} no column `{name}`. {suggest_name(name, columns.values)}"
            )
        mask = columns.valid.get(name, np.ones(columns.rows, bool))
        is_used = join_parts("classes", name, [(columns.values[name], mask)]).find_values(
            self.classes, check=self.has_all_classes
        )
        return np.flatnonzero(is_used) if rows is None else rows[is_used[rows]]

    def _leave_out_rows(self, columns: Columns, rows: np.ndarray | None) -> Columns:
        """The columns of some rows. None: all rows."""
        if rows is None:
            return columns
        masks = {name: mask[rows] for name, mask in columns.valid.items()}
        return columns._replace(
            values={name: take_rows(values, rows) for name, values in columns.values.items()},
            valid={name: mask for name, mask in masks.items() if not mask.all()},
            rows=len(rows),
            readings=dict(self._count_gaps_again(columns.readings, rows)),
            records=rows,
            left_out=columns.rows - len(rows),
        )

    def _count_gaps_again(self, readings: Mapping[str, Reading], rows: np.ndarray) -> Iterator[tuple[str, Reading]]:
        """The readings of columns of which only some rows remain."""
        for name, reading in readings.items():
            gaps = self.reader.count_gaps(name, reading.gaps, rows) if reading.gaps else ()
            if gaps or reading not in [Reading(kind, gaps=reading.gaps) for kind in PLAIN_READINGS]:
                unusual = reading.unusual and f"{reading.unusual}, including the rows left out"
                yield name, reading._replace(gaps=gaps, unusual=unusual)

    def _check_names(self, names: Collection[str]) -> None:
        """Raises DataError for all options that name a column which isn't among `names`, or that drop a target."""
        if errors := [*self._find_wrong_names(names)]:
            raise DataError("\n".join(dict.fromkeys(errors)))

    def _find_wrong_names(self, names: Collection[str]) -> Iterator[str]:
        """Sentences about the options that name a column which isn't among `names`, or that drop a target."""
        for name in self.drop:
            if name in self._targets:
                yield f"{self.label}: `drop` lists the target, {format_name(name)}. Take it out of the list."
        for option, listed in self._listed_columns():
            known = (*names, *self._targets) if option == "drop" else (*names, *self._targets, *self.drop)
            unknown = [name for name in listed if name not in known]
            reason = "the run reads" if {*unknown} <= {*(self.used_columns or ())} else f"`{option}` lists"
            if len(unknown) == 1:
                hint = suggest_name(unknown[0], names)
                yield f"{self.label} {self.has} no column `{unknown[0]}`, which {reason}. {hint}"
            elif unknown:
                nearest = {name: closest_name(name, names) for name in unknown}
                each = ", ".join(f"`{name}`" + (f" ({near}?)" if near else "") for name, near in nearest.items())
                found = f"{self.label} {self.has} no columns {each}, which {reason}"
                yield f"{found}. Columns: {join_names(names)}."
        for option in KEY_OPTIONS:
            name = getattr(self, option)
            if name is not None and (name not in names or name in self.drop):
                yield self._describe_wrong_key(option, name, names)

    def _listed_columns(self) -> Iterator[tuple[str, Collection[str]]]:
        """The options that list columns, and the columns that each lists."""
        yield "drop", self.drop
        for option in ("types", "nulls", "dates", "marks", "decimal"):
            value = getattr(self, option)
            if isinstance(value, dict):
                yield option, [name for name in value if name or option != "dates"]

    def profile(self) -> TableProfile:
        """The facts about the columns."""
        table, declared = self.table, self._declared_types
        has_all_rows = table.records is None and not len(self.bad_rows)
        row_numbers = None if has_all_rows else self._find_numbers(np.arange(table.rows))

        @cache
        def count_spellings() -> Mapping[str, Mapping[str, int]]:
            return self._count_spellings({name: table.types[name] for name in table.valid}, table.records)

        profiles = tuple(
            Profile(
                name,
                kind,
                name in declared,
                table.values[name],
                table.valid.get(name),
                self._locate,
                count_spellings,
                table.readings.get(name),
                table.problems.get(name),
                partial(self._list_spellings, name) if name in self.text_names else None,
                row_numbers,
            )
            for name, kind in table.types.items()
        )
        target = self._targets if isinstance(self.target, tuple) else next(iter(self._targets), None)
        notes = tuple(self._describe_columns_left_out())  # rows that are left out are a warning of the run
        return TableProfile(self.label, profiles, target, self.inferred_dialect, notes)

    def _count_spellings(
        self, types: Mapping[str, ColumnType], records: np.ndarray | None
    ) -> Mapping[str, Mapping[str, int]]:
        """Counts the spellings of missing values, by column and spelling. The arguments are those of the reader."""
        return self.reader.count_spellings(types, records)

    def skipped_rows(self) -> int | None:
        if self.on_bad_row == "error":
            return None
        return sum(len(table.bad_rows) for table in self.tables.values() if table.table.rows)  # `table` reads the rows

    def left_out(self) -> tuple[str, ...]:
        tables = [*self.tables.values()]
        origins = [f" of {table.label}" if len(tables) > 1 else "" for table in tables]
        return tuple(
            sentence
            for table, origin in zip(tables, origins, strict=True)
            for sentence in table._describe_rows_left_out(origin)
        )

    def _describe_rows_left_out(self, origin: str) -> Iterator[str]:
        """Sentences about rows that are left out. `origin` follows their number, such as ` of valid.csv`."""
        count, everything = self.table.left_out, self.table.left_out + self.table.rows
        if len(self.bad_rows):
            yield self.bad_rows.describe(len(self.bad_rows) + everything)
        if not count:
            return
        reasons = [f"no value of {self._describe_targets()}"] if self.on_missing_target == "drop" else []
        reasons += [f"no value of {format_name(name)}" for name in self.required_columns]
        reasons += [] if self.classes is None else [f"another class than {join_names(map(format_key, self.classes))}"]
        rows = f"{count:,} of {everything:,} rows{origin} {'has' if count == 1 else 'have'} {' or '.join(reasons)}"
        yield f"{rows} and {'is' if count == 1 else 'are'} left out"

    def row_numbers(self) -> np.ndarray | None:
        tables = [*self.tables.values()]
        if not any(table.table.left_out or len(table.bad_rows) for table in tables):
            return None
        numbers = [table._find_numbers(np.arange(table.table.rows)) for table in tables]  # reads the tables
        totals = [table.table.rows + table.table.left_out + len(table.bad_rows) for table in tables]
        starts = np.cumsum([0, *totals])
        return np.concatenate([own + start for own, start in zip(numbers, starts, strict=False)])

    def _describe_targets(self) -> str:
        return " or ".join(map(format_name, self._targets))

    def _describe_columns_left_out(self) -> Iterator[str]:
        """Sentences about columns without name and value, and about those that `drop` lists."""
        if empty := [str(column.position) for column in self.table.nameless if column.record is None]:
            if len(empty) == 1:
                yield f"column {empty[0]} has no name and no value, and is left out"
            else:
                listed = ", ".join(empty[:MAX_LISTED]) + (", …" if len(empty) > MAX_LISTED else "")
                yield f"{len(empty):,} columns ({listed}) have no name and no value, and are left out"
        if self.drop:
            yield f"left out by `drop`: {', '.join(map(format_name, self.drop))}"

    @property
    def inferred_dialect(self) -> dict[str, str]:
        """The options of the whole table that were inferred."""
        if self.table.separators is None:
            return {}
        return {"thousands": name_character(self.table.separators.thousands)}

    def times_with_zone(self) -> Collection[str]:
        """The columns of times that have a zone, whose values are in UTC."""
        times = [name for name, kind in self.table.types.items() if kind == "timestamp"]
        found = {name: reading.options.get("dates") for name, reading in self.table.readings.items()}
        return [
            name for name in times if (self._dates.get(name) or found.get(name) or self._dates.get("")) == ASSUME_UTC
        ]

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> dict[str, Any]:
        """The options with which other rows are read in the same way."""
        types: dict[str, ColumnType] = {}
        for name, kind in self.table.types.items():
            other_kind = columns.get(name) if kind == "int" else kind
            if other_kind == "float" and kind == "int" and not self._is_exact_in_float64(name):
                other_kind = None
            if name in columns and other_kind is not None:
                types[name] = other_kind
        options: dict[str, Any] = {"types": types}
        for name, reading in self.table.readings.items():
            for option, value in reading.options.items() if name and name in columns else ():  # "" is not a column
                options.setdefault(option, {})[name] = value
        return options | self.inferred_dialect

    def _is_exact_in_float64(self, name: str) -> bool:
        numbers = np.asarray(self.table.values[name])
        return bool(((numbers <= MAX_EXACT) & (numbers >= -MAX_EXACT)).all())

    def reading_notes(self, columns: Collection[str], *, declared: bool) -> tuple[str, ...]:
        notes = []
        for name, reading in self.table.readings.items():
            if name not in columns or not reading.description:
                continue
            if name not in self._declared_types:
                setting = reading.setting or Setting("for text", "types", "string")
                purpose = f"{setting.purpose[:1].upper()}{setting.purpose[1:]}"
                notes.append(f"column `{name}`: {reading.describe()}. {purpose}, set {format_setting(name, setting)}")
            elif reading.options:  # a mark or an order of dates was inferred, which a suggestion would have set
                notes.append(f"column `{name}`: {reading.describe()}")
            elif declared and (unusual := reading.describe_unusual()):
                notes.append(f"column `{name}`: {'; '.join(unusual)}")
        return tuple(f"{self.label}: {note}" for note in notes)

    def sizes(self) -> Mapping[str, int]:
        return {part: table.table.rows for part, table in self.tables.items()}

    def origin(self, part: str) -> str:
        return self.tables[part].label

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {part: table.table.values for part, table in self.tables.items()}

    def masks(self, part: str) -> Mapping[str, np.ndarray]:
        return self.tables[part].table.valid

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        block = super().make_block(part, columns, first_row)
        return LocatedBlock(**vars(block), locate_row=self.tables[part]._locate)

    def _find_records(self, rows: np.ndarray) -> np.ndarray:
        """The positions of rows among those that the reader reads."""
        return rows if self.table.records is None else self.table.records[rows]

    def _find_numbers(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of rows among all rows of the file, also those that are skipped."""
        return self.bad_rows.number(self._find_records(rows))

    def _list_spellings(self, name: str, rows: np.ndarray) -> tuple[str, ...]:
        """The distinct spellings of a column's values in some rows."""
        return self.reader.list_spellings(name, self._find_records(rows))


def _make_tuples(option: str, value: Any) -> Any:
    """The value of an option with tuples for lists; raises DataError for a text that would be a list of its letters."""
    if isinstance(value, Mapping):
        return {name: _make_tuples(f"{option}.{name}", each) for name, each in value.items()}
    if isinstance(value, str) and option != "target":
        raise DataError(
            f"`{option}` (={value}) must be a list. Set `{option}=[{json.dumps(value, ensure_ascii=False)}]`."
        )
    return tuple(value) if isinstance(value, list) else value
