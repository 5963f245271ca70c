"""CSV files as columns, their types found or held against those declared; mistakes are named by their line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from components.data.csv_mistake import refuse, refuse_encoding
from components.types import DataError, Strings, Values

if TYPE_CHECKING:
    import pyarrow

Kind: TypeAlias = Literal["float", "int", "string", "bool", "timestamp"]

BLOCK_BYTES = 8 << 20  # a row must fit into it
CHUNK_BYTES = 1 << 22
DELIMITERS = (";", "\t", "|", ",")


class Columns(NamedTuple):
    """The columns of a file; a gap is 0, NaN, NaT or "" in the values."""

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]  # (rows,), bool: of those that have gaps
    kinds: Mapping[str, Kind]
    rows: int


def read(path: Path, *, delimiter: str, nulls: Sequence[str], types: Mapping[str, Kind]) -> Columns:
    """The columns of a CSV file, by the names in its first row.

    Args:
        path: the file, UTF-8; a field with delimiters, quotes or newlines is quoted.
        delimiter: one character.
        nulls: how a gap is spelt.
        types: the types of some columns; of others they are found from all values, integers rather than numbers
            rather than text. A column without values is one of numbers.

    Raises:
        DataError: the file is empty, has a column twice, or a row with another number of fields, or a value of another
            type than declared: with its line, column and value.
    """
    table = _parsed(path, delimiter, nulls, types)
    _check_names(path, table.column_names)
    columns = {name: _column(path, name, column, types.get(name)) for name, column in _pairs(table)}
    values = {name: value for name, (value, _, _) in columns.items()}
    valid = {name: mask for name, (_, mask, _) in columns.items() if mask is not None}
    return Columns(values, valid, {name: kind for name, (_, _, kind) in columns.items()}, table.num_rows)


def _parsed(path: Path, delimiter: str, nulls: Sequence[str], types: Mapping[str, Kind]) -> pyarrow.Table:
    import pyarrow
    from pyarrow import csv as arrow

    known = {"float": pyarrow.float64(), "int": pyarrow.int64(), "string": pyarrow.string(), "bool": pyarrow.bool_()}
    wanted: dict[str, Any] = {name: known[kind] for name, kind in types.items() if kind in known}
    parsing = arrow.ParseOptions(delimiter=delimiter, newlines_in_values=_holds(path, b'"'))

    def parse(threads: bool) -> pyarrow.Table:
        return arrow.read_csv(
            path,
            arrow.ReadOptions(use_threads=threads, block_size=BLOCK_BYTES),
            parsing,
            arrow.ConvertOptions(null_values=list(nulls), strings_can_be_null=True, column_types=wanted),
        )

    try:
        table = parse(True)
        for name, column in _pairs(table):
            if pyarrow.types.is_time(column.type):  # a time of day: categories, or for the reader to declare
                wanted[name] = pyarrow.string()
            elif types.get(name) == "timestamp" and not _is_timestamp(column.type):
                wanted[name] = pyarrow.timestamp("us")
        return parse(True) if len(wanted) > sum(kind in known for kind in types.values()) else table
    except UnicodeDecodeError:
        refuse_encoding(path)
    except pyarrow.ArrowInvalid:
        pass
    try:
        return parse(False)  # only so are rows numbered
    except pyarrow.ArrowInvalid as error:
        refuse(path, delimiter, types, str(error))


def _is_timestamp(kind: pyarrow.DataType) -> bool:
    import pyarrow

    return pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) or pyarrow.types.is_null(kind)


def _check_names(path: Path, names: Sequence[str]) -> None:
    if again := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} has the column `{again[0]}` twice; rename one")
    if len(names) == 1 and (other := next((mark for mark in DELIMITERS if mark in names[0]), None)):
        raise DataError(f"{path} has one column, `{names[0]}`; is it delimited by {other!r}? Set data.delimiter")


def _pairs(table: pyarrow.Table) -> Iterator[tuple[str, pyarrow.ChunkedArray]]:
    yield from zip(table.column_names, table.columns, strict=True)


def _column(
    path: Path, name: str, column: pyarrow.ChunkedArray, declared: Kind | None
) -> tuple[Values, np.ndarray | None, Kind]:
    """A column's values, which of them are there (None: all), and their type."""
    import pyarrow

    types = pyarrow.types
    valid = _numbers(column.is_valid().cast(pyarrow.uint8()), "?", None, False) if column.null_count else None
    if types.is_null(column.type):
        column = column.cast(pyarrow.timestamp("us") if declared == "timestamp" else pyarrow.float64())
    if types.is_binary(column.type):
        refuse_encoding(path)
    if types.is_string(column.type):
        return _strings(column, valid), valid, "string"
    if types.is_boolean(column.type):
        return _numbers(column.cast(pyarrow.uint8()), "?", valid, False), valid, "bool"
    if types.is_date(column.type):
        days = column.cast(pyarrow.int32()).cast(pyarrow.int64())
        return _numbers(days, "M8[D]", valid, np.datetime64("NaT")), valid, "timestamp"
    if types.is_timestamp(column.type):
        return _numbers(column, f"M8[{column.type.unit}]", valid, np.datetime64("NaT")), valid, "timestamp"
    if types.is_floating(column.type):
        return _numbers(column, "f8", valid, np.nan), valid, "float"
    return _numbers(column, "i8", valid, 0), valid, "int"


def _numbers(
    column: pyarrow.ChunkedArray | pyarrow.Array, dtype: str, valid: np.ndarray | None, gap: Any
) -> np.ndarray:
    """A column as NumPy's, with `gap` where it has none; Arrow's own ways import pandas, which takes seconds."""
    import pyarrow

    array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    values = np.frombuffer(array.buffers()[1] or b"", dtype)[array.offset : array.offset + len(array)]
    return values if valid is None else np.where(valid, values, gap)


def _strings(column: pyarrow.ChunkedArray, valid: np.ndarray | None) -> Strings:
    """Strings; as a dictionary, in the order in which they occur, where most occur more than once."""
    import pyarrow

    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    distinct = len(encoded.dictionary)
    if 2 * distinct > len(column):
        return _plain(column.cast(pyarrow.large_string()).combine_chunks())
    data, offsets, _ = _plain(encoded.dictionary.cast(pyarrow.large_string()))
    if valid is not None:
        offsets = np.append(offsets, offsets[-1])
    return Strings(data, offsets, _numbers(encoded.indices, "i4", valid, np.int32(distinct)))


def _plain(array: pyarrow.Array) -> Strings:
    """Strings without a dictionary; a gap has no bytes in what the reader of CSV makes."""
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Strings(np.frombuffer(data or b"", np.uint8), bounds)


def _holds(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if mark in chunk:
                return True
    return False
