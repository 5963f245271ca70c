"""The source for CSV files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from components.closest import format_name, join_names, suggest_name
from components.data.csv.errors import DELIMITERS, find_line
from components.data.csv.reader import Columns, Reader
from components.data.csv.selection import MAX_LISTED, Nameless
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.profile import Profile
from components.data.table import Table
from components.input_files import candidate_paths, find_path, hash_file
from components.types import Block, ColumnType, DataError, Range, TableProfile, Values, row_count

MAX_FILES_LISTED = 3  # in a message
NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")


@dataclass(frozen=True, kw_only=True, eq=False)
class Csv(Table):
    """A CSV file in UTF-8, plain or packed with gzip, bzip2, xz or Zstandard. Its first line has the column names.

    A column of text is `Strings`; a column of times is datetime64. Empty lines aren't rows.

    Attributes:
        path: the file. A relative path is looked up below $TITRATE_DATA, then below the working folder.
        delimiter: the character between fields, or its name: `tab`, `semicolon`, `pipe` or `comma`.
        nulls: the spellings of a missing value, quoted or not. By default NaN is a missing value.
        types: the types of some columns. The types of the other columns are inferred from all rows: `int`, `float`,
            `bool` (true, false), `timestamp` (ISO 8601) or `string`. Columns of digits are also `string` if a value has
            a leading zero, such as 01000, or exceeds 64 bits. A declared `int` may be written as 2.0.
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
    nulls: tuple[str, ...] = NULLS
    types: dict[str, ColumnType] | None = None
    target: str | int | tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    on_missing_target: Literal["error", "drop"] = "error"
    valid: Annotated[float, Range(0, bounds="()")] = 0.15
    test: Annotated[float, Range(0, bounds="()")] = 0.15
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        character = self._delimiter
        if len(character) != 1 or not character.isascii() or character in '"\r\n\0':
            names = ", ".join(DELIMITERS)
            raise DataError(
                f"`delimiter` (={self.delimiter!r}) must be one ASCII character other than a quote, or one of {names}"
            )
        if self.on_missing_target == "drop" and not self._targets:
            raise DataError("`on_missing_target` (=drop) needs `target`, the column whose gaps are meant")

    @property
    def _delimiter(self) -> str:
        """The character between fields."""
        return "\t" if self.delimiter == r"\t" else DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def _targets(self) -> tuple[str, ...]:
        if self.target is None:
            return ()
        return tuple(map(str, self.target)) if isinstance(self.target, tuple) else (str(self.target),)

    @property
    def _reader(self) -> Reader:
        required = self._targets if self.on_missing_target == "drop" else ()
        return Reader(self.file, self._delimiter, self.nulls, self.types or {}, self.drop, required, self._targets)

    @cached_property
    def file(self) -> PackedFile:
        """The file; raises DataError if it doesn't exist, or is a folder."""
        if folder := _find_folder(self.path):
            names = sorted(path.name for path in folder.glob("*.[ct]sv"))[:MAX_FILES_LISTED]
            hint = f"choose a file in it, such as {', '.join(names)}" if names else "choose a file"
            raise DataError(f"`path` (={self.path}) is a folder, {folder}; {hint}")
        return PackedFile(find_path(self.path, file=True), self.max_unpacked_gb)

    @cached_property
    def columns(self) -> Columns:
        """The columns of the file."""
        types = self.types or {}
        columns = self._reader.read()
        if not columns.rows and columns.all_rows:
            raise DataError(f"{self.path} has no row with a value of {self._describe_targets()}")
        if not columns.rows:
            raise DataError(f"{self.path} has no rows below the names of its columns")
        unknown = [name for name in types if name not in columns.types and name not in (*self._targets, *self.drop)]
        if len(unknown) == 1:
            hint = suggest_name(unknown[0], columns.types)
            raise DataError(f"{self.path} has no column `{unknown[0]}`, which `types` lists. {hint}")
        if unknown:
            names = ", ".join(f"`{name}`" for name in unknown)
            hint = f"Columns: {join_names(columns.types)}."
            raise DataError(f"{self.path} has no columns {names}, which `types` lists. {hint}")
        return columns

    def profile(self) -> TableProfile:
        """The facts about the columns. Raises DataError for a column with values and without a name."""
        columns, types = self.columns, self.types or {}

        @cache
        def count_spellings() -> Mapping[str, Mapping[str, int]]:
            return self._reader.count_spellings(list(columns.valid))

        profiles = {
            name: Profile(
                name,
                kind,
                name in types,
                columns.values[name],
                columns.valid.get(name),
                self._locate,
                count_spellings,
                partial(self._list_spellings, name),
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
            notes=(*self._describe_columns_left_out(), *self.left_out()),
        )

    def left_out(self) -> tuple[str, ...]:
        """A sentence about rows without a target that are left out, if there are such rows."""
        count = self.columns.all_rows - self.columns.rows
        if not count:
            return ()
        rows = f"{count:,} of {self.columns.all_rows:,} rows {'has' if count == 1 else 'have'} no value"
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
        location = f"{self.path}, line {find_line(self.file, self._delimiter, nameless.record + 1)}"
        name = "no name" if not nameless.name else f"the blank name {nameless.name!r}"
        return DataError(
            f"column {nameless.position} of {self.path} has {name}, but values: the first is {str(nameless.example)!r} "
            f"({location}). Name it in the first line, or list its name, {nameless.name!r}, in `drop`."
        )

    @cached_property
    def _content_digest(self) -> str:
        digest = hash_file(self.file.path, digest_size=16).hexdigest()
        options = f"self.delimiter={self._delimiter!r}, {self.nulls=}, {sorted((self.types or {}).items())}"
        if self.drop:
            options += f", {self.drop=}"
        if self.on_missing_target == "drop":
            options += f", only rows with {self._targets}"
        return f"{digest}, {options}"

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
        return self._reader.list_spellings(name, self._find_records(rows))

    def _locate(self, row: int) -> str:
        record = int(self._find_records(np.array([row]))[0])
        return f"{self.path}, line {find_line(self.file, self._delimiter, record + 1)}"


@dataclass(frozen=True, kw_only=True)
class LineBlock(Block):
    """A block of rows of a file. Messages name a row by its line, which is counted only for the message.

    Attributes:
        locate_in_file: describes the location of a row, counted from the start of the file.
    """

    locate_in_file: Callable[[int], str]

    def locate(self, row: int) -> str:
        return self.locate_in_file(self.first_row + row)


def _find_folder(path: str) -> Path | None:
    """The folder at a path; None if there is a file, or nothing."""
    candidates = candidate_paths(path)
    if any(map(os.path.isfile, candidates)):
        return None
    return next((candidate for candidate in reversed(candidates) if os.path.isdir(candidate)), None)
