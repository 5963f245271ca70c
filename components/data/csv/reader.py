"""CSV files as columns, whose types are found or checked against those that the user declares."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.arrow import convert_column
from components.data.csv.errors import (
    BLOCK_BYTES,
    check_delimiter,
    check_quotes,
    raise_encoding_error,
    raise_nul_error,
    raise_read_error,
    raise_value_error,
)
from components.data.csv.types import has_only_digits, has_padded_digits, is_timestamp, is_too_long, type_of
from components.data.packed import PackedFile
from components.data.profile import is_whole
from components.types import ColumnType, DataError, Values

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 1 << 19  # that are searched at once: they stay in a processor's cache


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        values: the values by column; a missing one is 0, NaN, NaT or "".
        valid: (rows,), bool by column: False where a value is missing; of the columns with missing values alone.
        types: the types by column.
        rows: the number of rows.
    """

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]
    types: Mapping[str, ColumnType]
    rows: int


@dataclass(frozen=True)
class Reader:
    """Reads a CSV file.

    Attributes:
        file: in UTF-8, packed or not. A field with delimiters, quotes or newlines is quoted.
        delimiter: one character.
        nulls: the spellings of a missing value.
        types: the declared types of some columns. The others get the first type that fits all their values: integers,
            numbers, or text. Digits alone are text where a value has a 0 before others, or more digits than an int64.
            A column without values has numbers. Declared integers may be written `2.0`.
    """

    file: PackedFile
    delimiter: str
    nulls: Sequence[str]
    types: Mapping[str, ColumnType]

    def read(self) -> Columns:
        """The columns, by the names in the first row.

        Raises:
            DataError: the file is empty, has a column twice, a row with another number of fields, or a value that
                doesn't have the declared type. The message names the line, the column and the value.
        """
        table = self._read_table()
        columns = {name: self._convert(name, column) for name, column in _pairs(table)}
        values = {name: value for name, (value, _, _) in columns.items()}
        valid = {name: mask for name, (_, mask, _) in columns.items() if mask is not None}
        return Columns(values, valid, {name: kind for name, (_, _, kind) in columns.items()}, table.num_rows)

    def count_spellings(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """How often each spelling of a missing value occurs in some columns, by column; empty fields don't count."""
        if not names:  # for Arrow an empty list means all columns
            return {}
        import pyarrow
        from pyarrow import compute

        table = dataclasses.replace(self, nulls=("",))._parse(dict.fromkeys(names, pyarrow.string()), names)
        found: dict[str, dict[str, int]] = {}
        for name, column in _pairs(table):
            missing = column.filter(compute.is_in(column, pyarrow.array(self.nulls, pyarrow.string())))
            found[name] = {one["values"]: one["counts"] for one in missing.value_counts().to_pylist()}
        return found

    def _convert(self, name: str, column: pyarrow.ChunkedArray) -> tuple[Values, np.ndarray | None, ColumnType]:
        """A column's values, which rows have one (None: all), and its type."""
        import pyarrow

        declared = self.types.get(name)
        if pyarrow.types.is_null(column.type):
            column = column.cast(pyarrow.timestamp("us") if declared == "timestamp" else pyarrow.float64())
        if pyarrow.types.is_binary(column.type):
            raise_encoding_error(self.file)
        values, valid = convert_column(name, column)
        found = type_of(column.type)
        if declared == "int" and found == "float":
            return self._round(name, np.asarray(values), valid), valid, "int"
        return values, valid, found

    def _round(self, name: str, values: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Numbers that were declared to be integers."""
        values = values if valid is None else np.where(valid, values, 0.0)
        whole = is_whole(values)
        if not whole.all():
            row = int(np.argmin(whole))
            raise_value_error(self.file, self.delimiter, row + 1, name, repr(values[row].item()), "int")
        return values.astype(np.int64)

    def _read_table(self) -> pyarrow.Table:
        import pyarrow

        known = {"float": pyarrow.float64(), "int": pyarrow.int64(), "bool": pyarrow.bool_()}
        wanted = {name: known.get(kind, pyarrow.string()) for name, kind in self.types.items() if kind != "timestamp"}
        whole = [name for name, kind in self.types.items() if kind == "int"]
        try:
            table = self._parse_typed(wanted)
            if self._marks[0]:
                check_quotes(self.file, self.delimiter)
            return table
        except UnicodeDecodeError:
            raise_encoding_error(self.file)
        except pyarrow.ArrowInvalid:
            pass
        try:  # integers may be written `2.0`; and errors number the rows only without threads
            return self._parse_typed(wanted | dict.fromkeys(whole, pyarrow.float64()), threads=False)
        except pyarrow.ArrowInvalid as error:
            raise_read_error(self.file, self.delimiter, self.types, str(error))

    def _parse_typed(self, wanted: Mapping[str, Any], threads: bool = True) -> pyarrow.Table:
        table = self._parse(wanted, threads=threads)
        if again := [name for name, count in Counter(table.column_names).items() if count > 1]:
            raise DataError(f"{self.file} has the column `{again[0]}` twice; rename one")
        check_delimiter(self.file, self.delimiter, table.column_names)
        if others := self._find_other_types(table):
            table = self._parse({**wanted, **others}, threads=threads)
        for name, column in self._read_codes(table).items():
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    def _parse(self, wanted: Mapping[str, Any], only: Iterable[str] = (), threads: bool = True) -> pyarrow.Table:
        from pyarrow import csv

        with self.file.open() as opened:
            return csv.read_csv(
                opened,
                csv.ReadOptions(use_threads=threads, block_size=BLOCK_BYTES),
                csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=self._marks[0]),
                csv.ConvertOptions(
                    null_values=list(self.nulls),
                    strings_can_be_null=True,
                    column_types=wanted,
                    include_columns=list(only),
                ),
            )

    def _find_other_types(self, table: pyarrow.Table) -> dict[str, Any]:
        """The types of the columns that must be read as another type than Arrow found."""
        import pyarrow

        found: dict[str, Any] = {}
        for name, column in _pairs(table):
            if pyarrow.types.is_time(column.type):  # a time of day: categories, unless the user declares a type
                found[name] = pyarrow.string()
            elif self.types.get(name) == "timestamp" and not is_timestamp(column.type):
                found[name] = pyarrow.timestamp("us")
        return found

    def _read_codes(self, table: pyarrow.Table) -> dict[str, pyarrow.ChunkedArray]:
        """Columns of digits that aren't numbers, as text: like `01000`, or with more digits than an int64 has."""
        import pyarrow

        padded, types = self._marks[1], pyarrow.types
        free = {name: column for name, column in _pairs(table) if name not in self.types}
        whole = [name for name, column in free.items() if types.is_integer(column.type)] if padded else []
        long = [name for name, column in free.items() if types.is_floating(column.type) and is_too_long(column)]
        if not whole and not long:
            return {}
        texts = dict(_pairs(self._parse(dict.fromkeys([*whole, *long], pyarrow.string()), [*whole, *long])))
        return {name: column for name, column in texts.items() if has_only_digits(column, padded=name in whole)}

    @cached_property
    def _marks(self) -> tuple[bool, bool]:
        """Whether there are quotes, and fields that begin with a 0 and a digit; raises DataError for NUL bytes."""
        quotes = padded = False
        before = b"\n"
        with self.file.open() as opened:
            while chunk := opened.read(CHUNK_BYTES):
                if b"\0" in chunk:
                    raise_nul_error(self.file)
                quotes = quotes or b'"' in chunk
                padded = padded or has_padded_digits(before + chunk, self.delimiter)
                before = (before + chunk)[-2:]
        return quotes, padded


def _pairs(table: pyarrow.Table) -> Iterator[tuple[str, pyarrow.ChunkedArray]]:
    yield from zip(table.column_names, table.columns, strict=True)
