"""The source for CSV files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated

from components.closest import join_names, suggest_name
from components.data.csv.errors import DELIMITERS, find_line
from components.data.csv.reader import Columns, Reader
from components.data.packed import MAX_UNPACKED_GB, Packed
from components.data.profile import Profile
from components.data.table import Table
from components.input_files import candidate_paths, find_path, hash_file
from components.types import Block, ColumnType, DataError, Range, TableProfile, Values, row_count

FEW = 3  # names of files that a message lists
NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")


@dataclass(frozen=True, kw_only=True, eq=False)
class Csv(Table):
    """The columns of a CSV file in UTF-8, by the names in its first line.

    The file may be packed: gzip, bzip2, xz or Zstandard. A column of text is `Strings`, one of times datetime64.
    Missing values are marked in `valid` of a block. Empty lines are no rows.

    Attributes:
        path: the file. A relative one is looked up below $TITRATE_DATA, then below the working folder.
        delimiter: the character between fields, or its name: `tab`, `semicolon`, `pipe` or `comma`.
        nulls: how a missing value is written, quoted or not. It includes NaN, so NaN is a missing value.
        types: the types of some columns. The other types are found from all rows: `int` where all values are whole,
            else `float`, `bool` (true, false), `timestamp` (ISO 8601) or `string`. Digits are also a `string` where a
            value begins with a 0, as 01000, or is too long for 64 bits. A declared `int` may be written 2.0.
        target: the column to predict; an integer where that is its name. New rows may lack it.
        max_unpacked_gb: how many gigabytes (10^9 bytes) a packed file may unpack to.
    """

    path: str
    delimiter: str = ","
    nulls: tuple[str, ...] = NULLS
    types: dict[str, ColumnType] | None = None
    target: str | int | None = None
    valid: Annotated[float, Range(0, bounds="()")] = 0.15
    test: Annotated[float, Range(0, bounds="()")] = 0.15
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        if len(self._mark) != 1 or not self._mark.isascii() or self._mark in '"\r\n\0':
            raise DataError(
                f"`delimiter` (={self.delimiter!r}) must be one character of ASCII that is no quote, or one of "
                f"{', '.join(DELIMITERS)}"
            )

    @property
    def _mark(self) -> str:
        """The character between fields."""
        return "\t" if self.delimiter == r"\t" else DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def _target(self) -> str | None:
        return None if self.target is None else str(self.target)

    @cached_property
    def file(self) -> Packed:
        """The file; raises DataError where there is none, or a folder."""
        if place := _find_folder(self.path):
            names = sorted(path.name for path in place.glob("*.[ct]sv"))[:FEW]
            hint = f"name a file in it, such as {', '.join(names)}" if names else "name a file"
            raise DataError(f"`path` (={self.path}) is a folder, {place}; {hint}")
        return Packed(find_path(self.path, file=True), self.max_unpacked_gb)

    @cached_property
    def columns(self) -> Columns:
        """The columns of the file."""
        types = self.types or {}
        found = Reader(self.file, self._mark, self.nulls, types).read()
        if not found.rows:
            raise DataError(f"{self.path} has no rows below the names of its columns")
        if lacking := [name for name in types if name not in found.types and name != self._target]:
            alone = len(lacking) == 1
            hint = suggest_name(lacking[0], found.types) if alone else f"Columns: {join_names(found.types)}."
            names = ", ".join(f"`{name}`" for name in lacking)
            columns = "column" if alone else "columns"
            raise DataError(f"{self.path} has no {columns} {names}, which `types` names. {hint}")
        return found

    def profile(self) -> TableProfile:
        """Facts about the columns."""
        found, types = self.columns, self.types or {}

        @cache
        def count_spellings() -> Mapping[str, Mapping[str, int]]:
            return Reader(self.file, self._mark, self.nulls, {}).count_spellings(list(found.valid))

        profiles = (
            Profile(name, kind, name in types, found.values[name], found.valid.get(name), self._where, count_spellings)
            for name, kind in found.types.items()
        )
        is_here = os.path.isfile(os.path.expanduser(self.path))
        return TableProfile(self.path if is_here else str(self.file), tuple(profiles), self._target)

    @cached_property
    def _content(self) -> str:
        found = hash_file(self.file.path, digest_size=16).hexdigest()
        return f"{found}, self.delimiter={self._mark!r}, {self.nulls=}, {sorted((self.types or {}).items())}"

    def content(self) -> str:
        return self._content

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.columns.rows}

    def origin(self, part: str) -> str:
        return self.path

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {"all": self.columns.values}

    def block(self, part: str, columns: Mapping[str, Values], first: int) -> Block:
        rows = slice(first, first + row_count(next(iter(columns.values()))))
        valid = {name: mask[rows] for name, mask in self.columns.valid.items()}
        return Lines(columns=columns, valid=valid, origin=self.path, first_row=first, find=self._where)

    def _where(self, row: int) -> str:
        return f"{self.path}, line {find_line(self.file, self._mark, row + 1)}"


@dataclass(frozen=True, kw_only=True)
class Lines(Block):
    """Rows of a file. Messages name a row by its line, which is counted only then.

    Attributes:
        find: describes where a row of the file is.
    """

    find: Callable[[int], str]

    def locate(self, row: int) -> str:
        return self.find(self.first_row + row)


def _find_folder(path: str) -> Path | None:
    """The folder of that name; None where a file has the name, or nothing."""
    places = candidate_paths(path)
    if any(os.path.isfile(place) for place in places):
        return None
    return next((place for place in reversed(places) if os.path.isdir(place)), None)
