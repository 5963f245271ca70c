"""Tables from CSV files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from components.closest import list_names, suggest_name
from components.data import csv_file, inference
from components.data.csv_file import Columns, Kind
from components.data.csv_mistake import DELIMITERS, line_of
from components.data.csv_table import Reader
from components.data.holdout import split
from components.data.packed import MAX_UNPACKED_GB, Packed
from components.data.table import Table
from components.place import candidates, find, hash_file
from components.types import Block, DataError, Range, Values, row_count

FEW = 3  # names of files that a message lists
NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")


@dataclass(frozen=True, kw_only=True, eq=False)
class Csv(Table):
    """The columns of a CSV file in UTF-8, by the names in its first line.

    The file may be packed: gzip, bzip2, xz or Zstandard. Text is `Strings`, a time datetime64; gaps are marked in
    `valid`. Empty lines are no rows.

    Attributes:
        path: the file; a relative one is looked up below $TITRATE_DATA, then below the working folder.
        delimiter: what stands between fields: a character, or its name `tab`, `semicolon`, `pipe` or `comma`.
        nulls: how a gap is spelt, quoted or not. NaN is one of them: numbers that are none are gaps.
        types: the types of some columns; of the others they are found from all rows: `int` where all values are
            whole, else `float`, `bool` (true, false), `timestamp` (ISO 8601) or `string`; that too where all are digits
            and one begins with a 0, as 01000, or is too long for 64 bits. Declared, an `int` may be spelt 2.0.
        target: the column to predict, from which `suggest` begins, a whole number where that is its name; new rows
            may lack it.
        max_unpacked_gb: how many gigabytes (10^9 bytes) a packed file unpacks to at most.
    """

    path: str
    delimiter: str = ","
    nulls: tuple[str, ...] = NULLS
    types: dict[str, Kind] | None = None
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
        """What stands between fields; a command line can't hold a tab."""
        return "\t" if self.delimiter == r"\t" else DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def _target(self) -> str | None:
        return None if self.target is None else str(self.target)

    @cached_property
    def file(self) -> Packed:
        """The file; raises DataError where there is none, or a folder."""
        if place := folder(self.path):
            names = sorted(path.name for path in place.glob("*.[ct]sv"))[:FEW]
            hint = f"name a file in it, such as {', '.join(names)}" if names else "name a file"
            raise DataError(f"data.path={self.path} is a folder, {place}; {hint}")
        return Packed(find(self.path, file=True), self.max_unpacked_gb)

    @cached_property
    def columns(self) -> Columns:
        """What the file holds."""
        types = self.types or {}
        found = csv_file.read(self.file, delimiter=self._mark, nulls=self.nulls, types=types)
        if not found.rows:
            raise DataError(f"{self.path} has no rows below the names of its columns")
        if lacking := [name for name in types if name not in found.kinds and name != self._target]:
            alone = len(lacking) == 1
            hint = suggest_name(lacking[0], found.kinds) if alone else f"there are {list_names(found.kinds)}"
            names = ", ".join(f"`{name}`" for name in lacking)
            columns = "column" if alone else "columns"
            raise DataError(f"{self.path} has no {columns} {names}, which data.types names; {hint}")
        return found

    def suggest(self) -> Mapping[str, Any]:
        """Answers to what else a run asks, from one pass over the columns; see `components.data.inference`.

        Raises DataError where `target` is missing or can't be predicted.
        """
        types = dict(self.types or {})
        table = inference.Suggested(self.columns, self._found_at, self._line, types, self._gaps, self._train)
        return inference.suggest(table, self._target)

    def _train(self) -> int:
        """The number of rows that are left to learn from."""
        rows = self.columns.rows
        try:
            return len(split({"all": rows}, valid=self.valid, test=self.test, seed=self.seed)["train"])
        except DataError as error:
            hint = "" if rows < inference.SPLITS else ", or write data.valid=1 data.test=1"
            raise DataError(f"{self._found_at} has {rows} rows: {error}; get more rows{hint}") from error

    @property
    def _found_at(self) -> str:
        """The file's name for people; the whole path where it isn't one from the working folder."""
        return self.path if os.path.isfile(os.path.expanduser(self.path)) else str(self.file)

    def _gaps(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        return Reader(self.file, self._mark, self.nulls, {}).gaps(names)

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
        return Lines(columns=columns, valid=valid, origin=self.path, first=first, line=self._line)

    def _line(self, row: int) -> str:
        return f"{self.path}, line {line_of(self.file, self._mark, row + 1)}"


@dataclass(frozen=True, kw_only=True)
class Lines(Block):
    """Rows of a file, named by the lines in which they begin, which are counted for a message only."""

    line: Callable[[int], str]

    def where(self, row: int) -> str:
        return self.line(self.first + row)


def folder(path: str) -> Path | None:
    """The folder that a path names, where no file has that name."""
    places = candidates(path)
    if any(os.path.isfile(place) for place in places):
        return None
    return next((place for place in reversed(places) if os.path.isdir(place)), None)
