"""Reads a CSV file into columns. Their types are inferred, or declared by the user."""

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
from components.data.csv.selection import Nameless, check_drop, select
from components.data.csv.types import (
    are_integers_beyond_int64,
    can_be_timestamp,
    convert_type,
    has_leading_zero,
    has_only_digits,
)
from components.data.packed import PackedFile
from components.data.profile import is_whole
from components.types import ColumnType, DataError, Values

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 1 << 19  # the file is scanned in chunks that fit into the processor's cache


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        values: the values by column name. A missing value is 0, NaN, NaT or "".
        valid: masks (rows,), bool, of the columns with missing values: False where a value is missing.
        types: the types by column name.
        rows: the number of rows.
        all_rows: the number of rows of the file.
        records: the position in the file of each row, from 0; None: all rows of the file are there.
        nameless: the columns without a name. Those without a value, or of the same name as another, aren't in `values`.
    """

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]
    types: Mapping[str, ColumnType]
    rows: int
    all_rows: int
    records: np.ndarray | None
    nameless: tuple[Nameless, ...]


@dataclass(frozen=True)
class Reader:
    """Reads a CSV file.

    Attributes:
        file: the file in UTF-8, packed or not. Fields with delimiters, quotes or newlines must be quoted.
        delimiter: the character between fields.
        nulls: the spellings of a missing value.
        types: the declared types of some columns. The types of the other columns are inferred from all their values. A
            column of digits is inferred as text if a value has a leading zero or exceeds an int64. A column without
            values is inferred as numbers. Declared integers may be written as `2.0`.
        drop: the columns to leave out.
        required: the columns of which a row must have a value of at least one. Other rows are left out. Names that
            aren't columns are ignored. Empty: all rows are read.
        targets: the columns that `drop` may not list.
    """

    file: PackedFile
    delimiter: str
    nulls: Sequence[str]
    types: Mapping[str, ColumnType]
    drop: Sequence[str] = ()
    required: Sequence[str] = ()
    targets: Sequence[str] = ()

    def read(self) -> Columns:
        """Reads all columns. Their names are in the first line.

        Raises:
            DataError: the file is empty, two columns have the same name, a row has too few or too many fields, or a
                value doesn't have the declared type. The message names the line, the column and the value.
        """
        everything = self._read_table()
        check_drop(str(self.file), self.drop, everything.column_names, self.targets)
        table, records, nameless = select(everything, self.drop, self.required)
        columns = {name: self._convert(name, column, records) for name, column in _named_columns(table)}
        return Columns(
            values={name: value for name, (value, _, _) in columns.items()},
            valid={name: mask for name, (_, mask, _) in columns.items() if mask is not None},
            types={name: kind for name, (_, _, kind) in columns.items()},
            rows=table.num_rows,
            all_rows=everything.num_rows,
            records=records,
            nameless=nameless,
        )

    def list_spellings(self, name: str, records: np.ndarray) -> tuple[str, ...]:
        """The distinct spellings of a column's values in some records, as written in the file."""
        import pyarrow

        texts = dataclasses.replace(self, nulls=("",))._parse({name: pyarrow.string()}, [name])[name]
        return tuple(texts.take(pyarrow.array(records)).unique().to_pylist())

    def count_spellings(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Counts the spellings of missing values, by column and spelling. Empty fields aren't counted."""
        if not names:  # Arrow would read all columns
            return {}
        import pyarrow
        from pyarrow import compute

        table = dataclasses.replace(self, nulls=("",))._parse(dict.fromkeys(names, pyarrow.string()), names)
        counts: dict[str, dict[str, int]] = {}
        for name, column in _named_columns(table):
            missing = column.filter(compute.is_in(column, pyarrow.array(self.nulls, pyarrow.string())))
            counts[name] = {item["values"]: item["counts"] for item in missing.value_counts().to_pylist()}
        return counts

    def _convert(
        self, name: str, column: pyarrow.ChunkedArray, records: np.ndarray | None
    ) -> tuple[Values, np.ndarray | None, ColumnType]:
        """Returns the values of a column, its mask (None: no value is missing), and its type."""
        import pyarrow

        declared = self.types.get(name)
        if pyarrow.types.is_null(column.type):
            column = column.cast(pyarrow.timestamp("us") if declared == "timestamp" else pyarrow.float64())
        if pyarrow.types.is_binary(column.type):
            raise_encoding_error(self.file)
        values, valid = convert_column(name, column)
        inferred = convert_type(column.type)
        if declared == "int" and inferred == "float":
            return self._convert_to_integers(name, np.asarray(values), valid, records), valid, "int"
        return values, valid, inferred

    def _convert_to_integers(
        self, name: str, values: np.ndarray, valid: np.ndarray | None, records: np.ndarray | None
    ) -> np.ndarray:
        """Converts numbers that are declared as integers; raises DataError if a number isn't whole."""
        values = values if valid is None else np.where(valid, values, 0.0)
        whole = is_whole(values)
        if not whole.all():
            row = int(np.argmin(whole))
            record = row if records is None else int(records[row])
            raise_value_error(self.file, self.delimiter, record + 1, name, repr(values[row].item()), "int")
        return values.astype(np.int64)

    def _read_table(self) -> pyarrow.Table:
        import pyarrow

        arrow_types = {"float": pyarrow.float64(), "int": pyarrow.int64(), "bool": pyarrow.bool_()}
        # Arrow infers the types of times by itself: dates and timestamps of any unit.
        declared = {
            name: arrow_types.get(kind, pyarrow.string()) for name, kind in self.types.items() if kind != "timestamp"
        }
        integers = [name for name, kind in self.types.items() if kind == "int"]
        try:
            table = self._parse_typed(declared)
            if self._scan.has_quotes:
                check_quotes(self.file, self.delimiter)
            return table
        except UnicodeDecodeError:
            raise_encoding_error(self.file)
        except pyarrow.ArrowInvalid:
            pass
        # The second attempt accepts integers that are written as `2.0`. It uses no threads, because otherwise Arrow's
        # errors don't have the number of the row.
        try:
            return self._parse_typed(declared | dict.fromkeys(integers, pyarrow.float64()), threads=False)
        except pyarrow.ArrowInvalid as error:
            raise_read_error(self.file, self.delimiter, self.types, str(error))

    def _parse_typed(self, types: Mapping[str, Any], threads: bool = True) -> pyarrow.Table:
        """Parses all columns, and those again that need another type than Arrow inferred."""
        table = self._parse(types, threads=threads)
        counts = Counter(name for name in table.column_names if name.strip())  # several may have no name
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise DataError(f"{self.file} has two columns named `{repeated[0]}`; rename one")
        check_delimiter(self.file, self.delimiter, table.column_names)
        if corrected := self._correct_types(table):
            table = self._parse({**types, **corrected}, threads=threads)
        for name, column in self._read_codes(table).items():
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    def _parse(self, types: Mapping[str, Any], columns: Iterable[str] = (), threads: bool = True) -> pyarrow.Table:
        """Parses the file with Arrow; `columns` are the columns to read, by default all."""
        from pyarrow import csv

        with self.file.open() as opened:
            return csv.read_csv(
                opened,
                csv.ReadOptions(use_threads=threads, block_size=BLOCK_BYTES),
                csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=self._scan.has_quotes),
                csv.ConvertOptions(
                    null_values=list(self.nulls),
                    strings_can_be_null=True,
                    column_types=types,
                    include_columns=list(columns),
                ),
            )

    def _correct_types(self, table: pyarrow.Table) -> dict[str, Any]:
        """The types of the columns that need another type than Arrow inferred."""
        import pyarrow

        corrected: dict[str, Any] = {}
        for name, column in _named_columns(table):
            if pyarrow.types.is_time(column.type):  # no column takes a time of day as a number, so it is text
                corrected[name] = pyarrow.string()
            elif self.types.get(name) == "timestamp" and not can_be_timestamp(column.type):
                corrected[name] = pyarrow.timestamp("us")
        return corrected

    def _read_codes(self, table: pyarrow.Table) -> dict[str, pyarrow.ChunkedArray]:
        """Reads codes as text: columns of digits with leading zeros, or with more digits than an int64 has."""
        import pyarrow

        types = pyarrow.types
        undeclared = {name: column for name, column in _named_columns(table) if name not in self.types}
        integers = [name for name, column in undeclared.items() if types.is_integer(column.type)]
        maybe_padded = integers if self._scan.has_leading_zeros else []
        floats = {name: column for name, column in undeclared.items() if types.is_floating(column.type)}
        long = [name for name, column in floats.items() if are_integers_beyond_int64(column)]
        names = [*maybe_padded, *long]
        if not names:
            return {}
        texts = dict(_named_columns(self._parse(dict.fromkeys(names, pyarrow.string()), names)))
        return {
            name: column
            for name, column in texts.items()
            if has_only_digits(column, require_leading_zero=name in maybe_padded)
        }

    @cached_property
    def _scan(self) -> _Scan:
        """Scans the bytes of the file; raises DataError for NUL bytes."""
        has_quotes = has_leading_zeros = False
        previous = b"\n"
        with self.file.open() as opened:
            while chunk := opened.read(CHUNK_BYTES):
                if b"\0" in chunk:
                    raise_nul_error(self.file)
                has_quotes = has_quotes or b'"' in chunk
                has_leading_zeros = has_leading_zeros or has_leading_zero(previous + chunk, self.delimiter)
                previous = (previous + chunk)[-2:]
        return _Scan(has_quotes, has_leading_zeros)


class _Scan(NamedTuple):
    has_quotes: bool
    has_leading_zeros: bool  # whether some fields start with a 0 and another digit


def _named_columns(table: pyarrow.Table) -> Iterator[tuple[str, pyarrow.ChunkedArray]]:
    yield from zip(table.column_names, table.columns, strict=True)
