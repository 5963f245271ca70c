"""Tables from CSV files."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from components.data import csv_file, inference
from components.data.csv_file import Columns, Kind
from components.data.csv_mistake import line_of
from components.data.place import find
from components.data.table import Table
from components.types import Block, DataError, Range, Strings, Values

NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")


@dataclass(frozen=True, kw_only=True, eq=False)
class Csv(Table):
    """The columns of a CSV file in UTF-8, by the names in its first line.

    Text is `Strings`, a time datetime64; gaps are marked in `valid`. Empty lines are no rows.

    Attributes:
        path: the file; a relative one is looked up below $TITRATE_DATA, then below the working folder.
        delimiter: what stands between fields.
        nulls: how a gap is spelt, quoted or not. NaN is one of them: numbers that are none are gaps.
        types: the types of some columns; of the others they are found from all rows: `int` where all values are
            whole, else `float`, `bool` (true, false), `timestamp` (ISO 8601) or `string`; that too where all are digits
            and one begins with a 0, as 01000, or is too long for 64 bits. Declared, an `int` may be spelt 2.0.
        target: the column to predict, from which `suggest` begins; new rows may lack it.
    """

    path: str
    delimiter: str = ","
    nulls: tuple[str, ...] = NULLS
    types: dict[str, Kind] | None = None
    target: str | None = None
    valid: Annotated[float, Range(0, bounds="()")] = 0.15
    test: Annotated[float, Range(0, bounds="()")] = 0.15

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1:
            raise DataError(f"`delimiter` (={self.delimiter!r}) must be one character")

    @cached_property
    def file(self) -> Path:
        """Where the file is; raises DataError where it isn't."""
        return find(self.path, file=True)

    @cached_property
    def columns(self) -> Columns:
        """What the file holds."""
        types = self.types or {}
        found = csv_file.read(self.file, delimiter=self.delimiter, nulls=self.nulls, types=types)
        if not found.rows:
            raise DataError(f"{self.path} has no rows below the names of its columns")
        for name in types:
            if name not in found.kinds and name != self.target:
                near = difflib.get_close_matches(name, found.kinds, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(found.kinds)}"
                raise DataError(f"{self.path} has no column `{name}`, which data.types names; {hint}")
        return found

    def suggest(self) -> Mapping[str, Any]:
        """Answers to what else a run asks, from one pass over the columns; see `components.data.inference`.

        Raises DataError where `target` is missing or can't be predicted.
        """
        held_out = [share if share < 1 else share / self.columns.rows for share in (self.valid, self.test)]
        train = round(self.columns.rows * (1 - sum(held_out)))
        return inference.suggest(self.columns, self.target, self.path, train, self._line)

    @cached_property
    def _content(self) -> str:
        with self.file.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        return f"{digest}, {self.delimiter=}, {self.nulls=}, {sorted((self.types or {}).items())}"

    def content(self) -> str:
        return self._content

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.columns.rows}

    def origin(self, part: str) -> str:
        return self.path

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {"all": self.columns.values}

    def block(self, part: str, columns: Mapping[str, Values], first: int) -> Block:
        rows = slice(first, first + _rows(next(iter(columns.values()))))
        valid = {name: mask[rows] for name, mask in self.columns.valid.items()}
        return Lines(columns=columns, valid=valid, origin=self.path, first=first, line=self._line)

    def _line(self, row: int) -> str:
        return f"{self.path}, line {line_of(self.file, self.delimiter, row + 1)}"


@dataclass(frozen=True, kw_only=True)
class Lines(Block):
    """Rows of a file, named by the lines in which they begin, which are counted for a message only."""

    line: Callable[[int], str]

    def where(self, row: int) -> str:
        return self.line(self.first + row)


def _rows(values: Values) -> int:
    return values.rows if isinstance(values, Strings) else len(values)
