"""CSV files as columns, their types found or held against those declared; mistakes are named by their line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components import arrow
from components.data.csv_mistake import refuse_encoding, refuse_value
from components.data.csv_table import Kind, Reader, pairs
from components.data.packed import Packed
from components.types import Values

if TYPE_CHECKING:
    import pyarrow

EXACT = 2.0**53  # beyond which float64 skips whole numbers


class Columns(NamedTuple):
    """The columns of a file; a gap is 0, NaN, NaT or "" in the values."""

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]  # (rows,), bool: of those that have gaps
    kinds: Mapping[str, Kind]
    rows: int


def read(file: Packed, *, delimiter: str, nulls: Sequence[str], types: Mapping[str, Kind]) -> Columns:
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
    file: Packed, delimiter: str, name: str, column: pyarrow.ChunkedArray, declared: Kind | None
) -> tuple[Values, np.ndarray | None, Kind]:
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


def is_whole(values: np.ndarray) -> np.ndarray:
    """Which numbers are whole, and not so large that float64 skips some."""
    return (np.abs(values) <= EXACT) & (values == np.floor(values))


def _integers(file: Packed, delimiter: str, name: str, values: np.ndarray) -> np.ndarray:
    """Numbers that were declared to be whole."""
    whole = is_whole(values)
    if not whole.all():
        row = int(np.argmin(whole))
        refuse_value(file, delimiter, row + 1, name, repr(values[row].item()), "int")
    return values.astype(np.int64)
