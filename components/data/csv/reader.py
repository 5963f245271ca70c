"""CSV files as Arrow's tables, the types of columns found or held against those declared."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components import arrow
from components.data.csv.errors import (
    BLOCK_BYTES,
    refuse,
    refuse_delimiter,
    refuse_encoding,
    refuse_quotes,
    refuse_value,
    refuse_zeros,
)
from components.data.packed import Packed
from components.data.profile import is_whole
from components.types import ColumnType, DataError, Values

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 1 << 19  # of what is searched at once, in a processor's cache
INTEGERS = 2.0**63  # where an int64 ends


@dataclass(frozen=True)
class Reader:
    """Reads a file; `types` are those declared."""

    file: Packed
    delimiter: str
    nulls: Sequence[str]
    types: Mapping[str, ColumnType]

    def table(self) -> pyarrow.Table:
        """The columns, by the names in the first row; see `read`."""
        import pyarrow

        known = {"float": pyarrow.float64(), "int": pyarrow.int64(), "bool": pyarrow.bool_()}
        wanted = {name: known.get(kind, pyarrow.string()) for name, kind in self.types.items() if kind != "timestamp"}
        whole = [name for name, kind in self.types.items() if kind == "int"]
        try:
            table = self._typed(wanted)
            if self._marks[0]:
                refuse_quotes(self.file, self.delimiter)
            return table
        except UnicodeDecodeError:
            refuse_encoding(self.file)
        except pyarrow.ArrowInvalid:
            pass
        try:  # whole numbers may be spelt `2.0`; and only without threads rows are numbered
            return self._typed(wanted | dict.fromkeys(whole, pyarrow.float64()), threads=False)
        except pyarrow.ArrowInvalid as error:
            refuse(self.file, self.delimiter, self.types, str(error))

    def _typed(self, wanted: Mapping[str, Any], threads: bool = True) -> pyarrow.Table:
        table = self._parsed(wanted, threads=threads)
        _check_names(self.file, self.delimiter, table.column_names)
        if others := self._others(table):
            table = self._parsed({**wanted, **others}, threads=threads)
        for name, column in self._codes(table).items():
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    def _parsed(self, wanted: Mapping[str, Any], only: Iterable[str] = (), threads: bool = True) -> pyarrow.Table:
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

    def count_spellings(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """How often each spelling of a gap occurs in some columns, by column; of those that aren't empty."""
        if not names:  # Arrow takes none for all
            return {}
        import pyarrow
        from pyarrow import compute

        spelt = dataclasses.replace(self, nulls=("",))
        table = spelt._parsed(dict.fromkeys(names, pyarrow.string()), names)
        found: dict[str, dict[str, int]] = {}
        for name, column in pairs(table):
            gaps = column.filter(compute.is_in(column, pyarrow.array(self.nulls, pyarrow.string())))
            found[name] = {one["values"]: one["counts"] for one in gaps.value_counts().to_pylist()}
        return found

    def _others(self, table: pyarrow.Table) -> dict[str, Any]:
        """Columns to be read as something else than what Arrow took them for."""
        import pyarrow

        found: dict[str, Any] = {}
        for name, column in pairs(table):
            if pyarrow.types.is_time(column.type):  # a time of day: categories, or for the reader to declare
                found[name] = pyarrow.string()
            elif self.types.get(name) == "timestamp" and not _is_timestamp(column.type):
                found[name] = pyarrow.timestamp("us")
        return found

    def _codes(self, table: pyarrow.Table) -> dict[str, pyarrow.ChunkedArray]:
        """Columns of digits that aren't numbers, as text: with `01000`, or with more digits than an int64 has."""
        import pyarrow

        padded, types = self._marks[1], pyarrow.types
        free = {name: column for name, column in pairs(table) if name not in self.types}
        whole = [name for name, column in free.items() if types.is_integer(column.type)] if padded else []
        long = [name for name, column in free.items() if types.is_floating(column.type) and _is_long(column)]
        if not whole and not long:
            return {}
        texts = dict(pairs(self._parsed(dict.fromkeys([*whole, *long], pyarrow.string()), [*whole, *long])))
        return {name: column for name, column in texts.items() if _is_code(column, padded=name in whole)}

    @cached_property
    def _marks(self) -> tuple[bool, bool]:
        """Whether there are quotes, and fields that begin with a 0 and another digit; raises DataError for bytes 0."""
        quotes = padded = False
        before = b"\n"
        with self.file.open() as opened:
            while chunk := opened.read(CHUNK_BYTES):
                if b"\0" in chunk:
                    refuse_zeros(self.file)
                quotes = quotes or b'"' in chunk
                padded = padded or _is_padded(before + chunk, self.delimiter)
                before = (before + chunk)[-2:]
        return quotes, padded


def pairs(table: pyarrow.Table) -> Iterator[tuple[str, pyarrow.ChunkedArray]]:
    yield from zip(table.column_names, table.columns, strict=True)


def _is_timestamp(kind: pyarrow.DataType) -> bool:
    import pyarrow

    return pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) or pyarrow.types.is_null(kind)


def _is_long(column: pyarrow.ChunkedArray) -> bool:
    """Whether some numbers are larger than an int64, and all are whole as far as float64 tells."""
    values = arrow.numbers(column, "f8", arrow.valid(column), 0.0)
    largest = np.abs(values).max(initial=0)
    return bool(INTEGERS <= largest < np.inf) and bool((values == np.floor(values)).all())


def _is_code(column: pyarrow.ChunkedArray, *, padded: bool) -> bool:
    """Whether all values are digits alone and, if `padded`, one has a 0 before others."""
    data, offsets, _ = arrow.plain(column)
    digits = data[offsets[0] : offsets[-1]] - np.uint8(48) < 10
    first = offsets[:-1][np.diff(offsets) > 1]
    return bool(digits.all()) and (not padded or bool((data[first] == 48).any()))


def _is_padded(text: bytes, delimiter: str) -> bool:
    """Whether a field begins with a 0 and another digit, behind the first byte."""
    codes = np.frombuffer(text, np.uint8)
    digit = codes - np.uint8(48) < 10
    found = np.flatnonzero((codes[1:-1] == 48) & digit[2:] & ~digit[:-2])
    return bool(np.isin(codes[found], np.frombuffer(f'{delimiter}\n\r"'.encode(), np.uint8)).any())


def _check_names(file: Packed, delimiter: str, names: Sequence[str]) -> None:
    if again := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{file} has the column `{again[0]}` twice; rename one")
    refuse_delimiter(file, delimiter, names)


class Columns(NamedTuple):
    """The columns of a file; a gap is 0, NaN, NaT or "" in the values."""

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]  # (rows,), bool: of those that have gaps
    kinds: Mapping[str, ColumnType]
    rows: int


def read(file: Packed, *, delimiter: str, nulls: Sequence[str], types: Mapping[str, ColumnType]) -> Columns:
    """The columns of a CSV file, by the names in its first row.

    Args:
        file: in UTF-8, packed or not; a field with delimiters, quotes or newlines is quoted.
        delimiter: one character.
        nulls: how a gap is spelt.
        types: the types of some columns; of others they are found from all values, integers rather than numbers
            rather than text; but digits alone are text where one has a 0 before others, or more of them than an int64
            holds. A column without values is one of numbers. Declared integers may be spelt `2.0`.

    Raises:
        DataError: the file is empty, has a column twice, or a row with another number of fields, or a value of another
            type than declared: with its line, column and value.
    """
    table = Reader(file, delimiter, nulls, types).table()
    columns = {name: _column(file, delimiter, name, column, types.get(name)) for name, column in pairs(table)}
    values = {name: value for name, (value, _, _) in columns.items()}
    valid = {name: mask for name, (_, mask, _) in columns.items() if mask is not None}
    return Columns(values, valid, {name: kind for name, (_, _, kind) in columns.items()}, table.num_rows)


def _column(
    file: Packed, delimiter: str, name: str, column: pyarrow.ChunkedArray, declared: ColumnType | None
) -> tuple[Values, np.ndarray | None, ColumnType]:
    """A column's values, which of them are there (None: all), and their type."""
    import pyarrow

    types, valid = pyarrow.types, arrow.valid(column)
    if types.is_null(column.type):
        column = column.cast(pyarrow.timestamp("us") if declared == "timestamp" else pyarrow.float64())
    if types.is_binary(column.type):
        refuse_encoding(file)
    if types.is_string(column.type):
        return arrow.strings(column, valid), valid, "string"
    if types.is_boolean(column.type):
        return arrow.numbers(column.cast(pyarrow.uint8()), "?", valid, False), valid, "bool"
    if types.is_date(column.type):
        days = column.cast(pyarrow.int32()).cast(pyarrow.int64())
        return arrow.numbers(days, "M8[D]", valid, np.datetime64("NaT", "D")), valid, "timestamp"
    if types.is_timestamp(column.type):
        unit = column.type.unit
        return arrow.numbers(column, f"M8[{unit}]", valid, np.datetime64("NaT", unit)), valid, "timestamp"
    if types.is_integer(column.type):
        return arrow.numbers(column, "i8", valid, 0), valid, "int"
    if declared == "int":
        return _integers(file, delimiter, name, arrow.numbers(column, "f8", valid, 0.0)), valid, "int"
    return arrow.numbers(column, "f8", valid, np.nan), valid, "float"


def _integers(file: Packed, delimiter: str, name: str, values: np.ndarray) -> np.ndarray:
    """Numbers that were declared to be whole."""
    whole = is_whole(values)
    if not whole.all():
        row = int(np.argmin(whole))
        refuse_value(file, delimiter, row + 1, name, repr(values[row].item()), "int")
    return values.astype(np.int64)
