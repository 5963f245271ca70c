"""The source for CSV files."""

from __future__ import annotations

import codecs
import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import numpy as np

from components.closest import format_name, join_names, suggest_name
from components.data.csv.dialect import CHARACTERS, CsvFile
from components.data.csv.errors import find_line, name_character
from components.data.csv.reader import Columns, Reader
from components.data.csv.selection import MAX_LISTED, Nameless, find_rows_with_target, take_rows
from components.data.csv.texts import PLAIN_READINGS
from components.data.csv.times import FILE_READINGS, READINGS
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.profile import MAX_EXACT, Profile
from components.data.table import Table
from components.input_files import candidate_paths, find_path, hash_file
from components.time_format import find_fault
from components.types import Block, ColumnType, DataError, Range, Reading, TableProfile, Values, row_count

MAX_FILES_LISTED = 3  # in a message
ENCODINGS = ("utf-8", "utf-16", "latin1", "cp1252", "cp1250", "cp1251", "mac_roman", "shift_jis", "gb18030", "big5")
NUMBER_CHARACTERS = re.compile(r"[\w+\-()]")  # they can't separate decimals or thousands, except for the underscore


@dataclass(frozen=True, kw_only=True, eq=False)
class Csv(Table):
    """A CSV file, plain or packed with gzip, bzip2, xz or Zstandard. Its first line has the column names.

    A column of text is `Strings`; a column of times is datetime64. Empty lines aren't rows. A character may be written
    as itself or by its name: `tab`, `semicolon`, `pipe`, `comma`, `point`, `space`, `apostrophe`, `underscore`, `hash`,
    `percent`, `backslash`, `double_quote`, `single_quote`.

    Attributes:
        path: the file. A relative path is looked up below $TITRATE_DATA, then below the working folder.
        delimiter: the character between fields. A comma is replaced by the character of a first line such as `sep=;`.
        quote: the character around fields that contain delimiters, quotes or line breaks. A quote within a quoted field
            is written twice. None: no field is quoted.
        escape: the character before a delimiter or quote that is part of a field. None: there is none. With a
            backslash, a field `\\N` is empty, as in files of MySQL.
        comment: lines that start with this character are skipped. None: there are no comments.
        encoding: a text encoding of Python, such as utf-16 or cp1252.
        decimal: the decimal separator of numbers, of all columns or by column. None: a point; numbers with a decimal
            comma are an error.
        thousands: the separator of thousands, in addition to blanks, apostrophes and underscores. None: the one that
            the numbers show.
        nulls: the spellings of a missing value, quoted or not. A number stands for all its spellings. A list has those
            of all columns. A mapping has those of some columns; among numbers and times they are added to the usual
            ones. None: the empty field, NA, N/A, n/a, NaN, nan, NULL, null, #N/A and <NA>; and among numbers and times
            also other usual spellings, such as ?, - or unknown.
        types: the types of some columns. The types of the other columns are inferred from all rows: `int`, `float`,
            `bool` (true, false), `timestamp` or `string`. Columns of digits are also `string` if a value has a leading
            zero, such as 01000, or exceeds 64 bits. A declared `int` may be written as 2.0.
        dates: how times are written: `day_first`, `month_first` or (20/12/31) `year_first`; `utc` for times without a
            zone among times with one; `seconds`, `milliseconds` or `microseconds` since 1970; `yyyymmdd`; or a format
            of strptime. For all columns (day_first, month_first, utc), or by column.
        marks: the mark of the numbers of some columns, such as $, % or kg. A number with another mark is an error.
            None: the mark that most numbers of a column have.
        target: the column to predict, or several. Rows to predict need not have it.
        drop: columns to leave out.
        on_missing_target: `error`: a row without a value of `target` is an error. `drop`: it is left out and counted.
            A row needs one of several targets.
        valid: the rows of the validation split: a share in (0, 1), or a count.
        test: the rows of the test split: a share in (0, 1), or a count.
        max_unpacked_gb: the maximum size of the unpacked file in gigabytes (10^9 bytes).
    """

    path: str
    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    encoding: str = "utf-8"
    decimal: str | dict[str, str] | None = None
    thousands: str | None = None
    nulls: tuple[str | float, ...] | dict[str, tuple[str | float, ...]] | None = None
    types: dict[str, ColumnType] | None = None
    dates: str | dict[str, str] | None = None
    marks: dict[str, str] | None = None
    target: str | int | tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    on_missing_target: Literal["error", "drop"] = "error"
    valid: Annotated[float, Range(0, bounds="()")] = 0.15
    test: Annotated[float, Range(0, bounds="()")] = 0.15
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        dialect = {name: self._character(name) for name in ("delimiter", "quote", "escape", "comment")}
        given = {name: character for name, character in dialect.items() if character is not None}
        _check_different(given)
        decimals = [decimal for decimal in (self._decimal, *self._column_decimals.values()) if decimal is not None]
        if wrong := [decimal for decimal in decimals if decimal not in (".", ",")]:
            raise DataError(f"`decimal` (={wrong[0]}) must be point or comma")
        thousands = self._character("thousands")
        if thousands is not None and thousands != "_" and NUMBER_CHARACTERS.match(thousands):
            raise DataError(f"`thousands` (={thousands}) is part of numbers; set it to a point, a comma or a blank")
        for decimal in decimals:
            _check_different({"decimal": decimal} | ({} if thousands is None else {"thousands": thousands}))
        _check_encoding(self.encoding)
        if isinstance(self.dates, str):
            _check_dates("dates", self.dates, FILE_READINGS)
        for name, dates in self._dates.items() if isinstance(self.dates, dict) else ():
            _check_dates(f"dates.{name}", dates, READINGS)
        self._check_kinds()
        if self.on_missing_target == "drop" and not self._targets:
            raise DataError("`on_missing_target` (=drop) needs `target`, the column whose gaps are meant")

    def _check_kinds(self) -> None:
        """Raises DataError if two options of a column need different types."""
        decimals = self.decimal if isinstance(self.decimal, dict) else {}
        dates = self.dates if isinstance(self.dates, dict) else {}
        needed: dict[str, tuple[str, tuple[str, ...]]] = {}  # the option of each column, and the types that it allows
        for option, values in (("dates", dates), ("marks", self.marks or {}), ("decimal", decimals)):
            allowed = ("timestamp",) if option == "dates" else ("int", "float")
            for name, value in values.items():
                described = f"`{option}` (={value})"
                kind = (self.types or {}).get(name)
                if kind is not None and kind not in allowed:
                    _raise_contradiction(name, described, f"`types` (={kind})")
                other, other_allowed = needed.setdefault(name, (described, allowed))
                if other_allowed != allowed:
                    _raise_contradiction(name, other, described)

    def _character(self, option: str) -> str | None:
        """The character that an option stands for; raises DataError for anything else."""
        value = getattr(self, option)
        if value is None:
            return None
        character = "\t" if value == r"\t" else CHARACTERS.get(value, value)
        if len(character) != 1 or not (character.isascii() or option == "thousands") or character in "\r\n\0":
            names = ", ".join(CHARACTERS)
            raise DataError(
                f"`{option}` (={value!r}) must be one ASCII character other than a line break, or one of {names}"
            )
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
    def file(self) -> CsvFile:
        """The file and its dialect; raises DataError if it doesn't exist, or is a folder."""
        if folder := _find_folder(self.path):
            names = sorted(path.name for path in folder.glob("*.[ct]sv"))[:MAX_FILES_LISTED]
            hint = f"choose a file in it, such as {', '.join(names)}" if names else "choose a file"
            raise DataError(f"`path` (={self.path}) is a folder, {folder}; {hint}")
        return CsvFile(
            PackedFile(find_path(self.path, file=True), self.max_unpacked_gb),
            self._character("delimiter") or ",",
            self._character("quote"),
            self._character("escape"),
            self._character("comment"),
            self.encoding,
        )

    @cached_property
    def reader(self) -> Reader:
        types: dict[str, ColumnType] = {name: "timestamp" for name in self._dates if name}
        types |= dict.fromkeys(self.marks or {}, "float")
        return Reader(
            self.file,
            types | (self.types or {}),
            None if self.nulls is None or isinstance(self.nulls, dict) else tuple(map(str, self.nulls)),
            self._nulls_by_column,
            self._dates,
            self.marks or {},
            self._decimal,
            self._column_decimals,
            self._character("thousands"),
            self.drop,
            self._targets,
        )

    @cached_property
    def columns(self) -> Columns:
        """The columns of the file."""
        columns = self.reader.read()
        if not columns.rows:
            raise DataError(f"{self.path} has no rows below the names of its columns")
        for option in ("types", "nulls", "dates", "marks", "decimal"):
            value = getattr(self, option)
            self._check_names(option, value if isinstance(value, dict) else {}, columns.types)
        return columns if self.on_missing_target == "error" else self._leave_out_rows(columns)

    def _leave_out_rows(self, columns: Columns) -> Columns:
        """The columns without the rows that have no target. Raises DataError if no row has one."""
        targets = [name for name in self._targets if name in columns.types]
        rows = find_rows_with_target(columns.valid, targets)
        if rows is None:
            return columns
        if not len(rows):
            raise DataError(f"{self.path} has no row with a value of {self._describe_targets()}")
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

    def _check_names(self, option: str, names: Mapping[str, object], columns: Mapping[str, object]) -> None:
        """Raises DataError if an option has a value for a column that doesn't exist."""
        unknown = [name for name in names if name not in columns and name not in (*self._targets, *self.drop)]
        if len(unknown) == 1:
            hint = suggest_name(unknown[0], columns)
            raise DataError(f"{self.path} has no column `{unknown[0]}`, which `{option}` lists. {hint}")
        if unknown:
            listed = ", ".join(f"`{name}`" for name in unknown)
            hint = f"Columns: {join_names(columns)}."
            raise DataError(f"{self.path} has no columns {listed}, which `{option}` lists. {hint}")

    def profile(self) -> TableProfile:
        """The facts about the columns. Raises DataError for a column with values and without a name."""
        columns, types = self.columns, self.reader.types

        @cache
        def count_spellings() -> Mapping[str, Mapping[str, int]]:
            return self.reader.count_spellings({name: columns.types[name] for name in columns.valid}, columns.records)

        profiles = {
            name: Profile(
                name,
                kind,
                name in types,
                columns.values[name],
                columns.valid.get(name),
                self._locate,
                count_spellings,
                columns.readings.get(name),
                columns.problems.get(name),
                partial(self._list_spellings, name),
                columns.records,
            )
            for name, kind in columns.types.items()
        }
        for nameless in columns.nameless:
            is_index = nameless.name in profiles and profiles[nameless.name].counts_rows
            if nameless.record is not None and not is_index and nameless.name not in (*types, *self._targets):
                raise self._make_nameless_error(nameless)
        exists_here = os.path.isfile(os.path.expanduser(self.path))  # and not only below $TITRATE_DATA
        return TableProfile(
            origin=self.path if exists_here else str(self.file),
            columns=tuple(profiles.values()),
            target=self._targets if isinstance(self.target, tuple) else next(iter(self._targets), None),
            options=self._inferred_dialect,
            notes=(*self._describe_columns_left_out(), *self.left_out()),
        )

    def left_out(self) -> tuple[str, ...]:
        """A sentence about rows without a target that are left out, if there are such rows."""
        count, everything = self.columns.left_out, self.columns.left_out + self.columns.rows
        if not count:
            return ()
        rows = f"{count:,} of {everything:,} rows {'has' if count == 1 else 'have'} no value"
        return (f"{rows} of {self._describe_targets()} and {'is' if count == 1 else 'are'} left out",)

    def row_numbers(self) -> np.ndarray | None:
        """The number in the file, from 0, of each row that isn't left out. None: no row is left out."""
        return self.columns.records

    def _describe_targets(self) -> str:
        return " or ".join(map(format_name, self._targets))

    def _describe_columns_left_out(self) -> Iterator[str]:
        """Sentences about columns without name and value, and about those that `drop` lists."""
        if empty := [str(column.position) for column in self.columns.nameless if column.record is None]:
            if len(empty) == 1:
                yield f"column {empty[0]} has no name and no value, and is left out"
            else:
                listed = ", ".join(empty[:MAX_LISTED]) + (", …" if len(empty) > MAX_LISTED else "")
                yield f"{len(empty):,} columns ({listed}) have no name and no value, and are left out"
        if self.drop:
            yield f"left out by `drop`: {', '.join(map(format_name, self.drop))}"

    def _make_nameless_error(self, nameless: Nameless) -> DataError:
        assert nameless.record is not None
        location = f"{self.path}, line {find_line(self.file, nameless.record + 1)}"
        name = "no name" if not nameless.name else f"the blank name {nameless.name!r}"
        return DataError(
            f"column {nameless.position} of {self.path} has {name}, but values: the first is {str(nameless.example)!r} "
            f"({location}). Name it in the first line, or list its name, {nameless.name!r}, in `drop`."
        )

    @property
    def _inferred_dialect(self) -> dict[str, str]:
        """The options of the whole table that were inferred."""
        options = {}
        if self.file.field_delimiter != self._character("delimiter"):
            options["delimiter"] = name_character(self.file.field_delimiter)
        if self.columns.separators is not None:
            options["thousands"] = name_character(self.columns.separators.thousands)
        return options

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> dict[str, Any]:
        """The options with which other rows are read in the same way."""
        types: dict[str, ColumnType] = {}
        for name, kind in self.columns.types.items():
            other_kind = columns.get(name) if kind == "int" else kind
            if other_kind == "float" and kind == "int" and not self._is_exact_in_float64(name):
                other_kind = None
            if name in columns and other_kind is not None:
                types[name] = other_kind
        options: dict[str, Any] = {"types": types}
        for name, reading in self.columns.readings.items():
            for option, value in reading.options.items() if name in columns else ():
                options.setdefault(option, {})[name] = value
        return options | self._inferred_dialect

    def _is_exact_in_float64(self, name: str) -> bool:
        numbers = np.asarray(self.columns.values[name])
        return bool(((numbers <= MAX_EXACT) & (numbers >= -MAX_EXACT)).all())

    def reading_notes(self, columns: Collection[str], *, declared: bool) -> tuple[str, ...]:
        notes = []
        for name, reading in self.columns.readings.items():
            if name not in columns or not reading.description:
                continue
            if name not in self.reader.types:
                notes.append(f"column `{name}`: {reading.describe()}. For text, set `types` ({name}: string)")
            elif reading.options:  # a mark or an order of dates was inferred, which a suggestion would have set
                notes.append(f"column `{name}`: {reading.describe()}")
            elif declared and (unusual := reading.describe_unusual()):
                notes.append(f"column `{name}`: {'; '.join(unusual)}")
        return tuple(f"{self.path}: {note}" for note in notes)

    @cached_property
    def _content_digest(self) -> str:
        digest = hash_file(self.file.file.path, digest_size=16).hexdigest()
        # This form and these texts are those of earlier versions, whose runs know the digest.
        nulls = EARLIER_NULLS if self.nulls is None else self.nulls
        types = sorted((self.types or {}).items())
        text = f"{digest}, self.delimiter={self._character('delimiter')!r}, self.{nulls=}, {types}"
        options = {name: getattr(self, name) for name in LATER_OPTIONS if getattr(self, name) != DEFAULTS[name]}
        required = f", only rows with {self._targets}" if self.on_missing_target == "drop" else ""
        return (f"{text}, {sorted(options.items())}" if options else text) + required

    def content_digest(self) -> str:
        return self._content_digest

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.columns.rows}

    def origin(self, part: str) -> str:
        return self.path

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {"all": self.columns.values}

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        rows = slice(first_row, first_row + row_count(next(iter(columns.values()))))
        valid = {name: mask[rows] for name, mask in self.columns.valid.items()}
        return LineBlock(
            columns=columns, valid=valid, origin=self.path, first_row=first_row, locate_in_file=self._locate
        )

    def _find_records(self, rows: np.ndarray) -> np.ndarray:
        """The positions of rows in the file, which may have more rows."""
        return rows if self.columns.records is None else self.columns.records[rows]

    def _list_spellings(self, name: str, rows: np.ndarray) -> tuple[str, ...]:
        """The distinct spellings of a column's values in some rows."""
        return self.reader.list_spellings(name, self._find_records(rows))

    def _locate(self, row: int) -> str:
        record = int(self._find_records(np.array([row]))[0])
        return f"{self.path}, line {find_line(self.file, record + 1)}"


@dataclass(frozen=True, kw_only=True)
class LineBlock(Block):
    """A block of rows of a file. Messages name a row by its line, which is counted only for the message.

    Attributes:
        locate_in_file: describes the location of a row, counted from the start of the file.
    """

    locate_in_file: Callable[[int], str]

    def locate(self, row: int) -> str:
        return self.locate_in_file(self.first_row + row)


DEFAULTS = {field.name: field.default for field in dataclasses.fields(Csv)}
EARLIER_NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")
LATER_OPTIONS = ("quote", "escape", "comment", "encoding", "decimal", "thousands", "dates", "marks", "drop")


def _raise_contradiction(column: str, option: str, other: str) -> NoReturn:
    raise DataError(f"column `{column}` has {option}, but {other}; remove one of them")


def _check_different(characters: Mapping[str, str]) -> None:
    """Raises DataError if two options are the same character."""
    for name, character in characters.items():
        for other in characters:
            if other != name and characters[other] == character:
                raise DataError(f"`{name}` and `{other}` must be different, both are {name_character(character)}")


def _check_encoding(encoding: str) -> None:
    """Raises DataError unless Python can decode a text in the encoding piece by piece."""
    try:
        is_text = codecs.getincrementaldecoder(encoding)().decode(b"", final=True) == ""
        known = is_text and codecs.lookup(encoding)._is_text_encoding
    except (LookupError, UnicodeError):
        known = False
    if not known:
        raise DataError(
            f"`encoding` (={encoding}) is not a text encoding of Python. {suggest_name(encoding, ENCODINGS)}"
        )


def _check_dates(option: str, dates: str, allowed: tuple[str, ...]) -> None:
    """Raises DataError for an unknown way to write times."""
    if "%" in dates and allowed is READINGS:
        if fault := find_fault(dates):
            raise DataError(f"`{option}` (={dates}) {fault}")
    elif dates not in allowed:
        formats = ", or a format such as %d/%m/%Y" if allowed is READINGS else ""
        hint = suggest_name(dates, allowed)
        raise DataError(f"`{option}` (={dates}) must be one of {', '.join(allowed)}{formats}. {hint}")


def _find_folder(path: str) -> Path | None:
    """The folder at a path; None if there is a file, or nothing."""
    candidates = candidate_paths(path)
    if any(map(os.path.isfile, candidates)):
        return None
    return next((candidate for candidate in reversed(candidates) if os.path.isdir(candidate)), None)
