"""Writes Arrow tables as CSV, Parquet and TFRecord files. Equal tables give equal bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np

from components.arrow import convert_column, convert_numbers, read_strings
from components.closest import join_names
from components.data.table import slice_rows
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import write_records
from components.data.tfrecord.serialize import serialize_examples
from components.data.tfrecord.tensor import NUMBERS, serialize_tensors
from components.ragged import offsets_of
from components.types import DataError, Ragged, Strings

if TYPE_CHECKING:
    import pyarrow

FileKind = Literal["csv", "parquet", "tfrecord"]
Compression = Literal["none", "gzip", "zlib", "zstd", "snappy"]
Float64 = Literal["round", "text"]

COMPRESSIONS: dict[FileKind, tuple[Compression, ...]] = {
    "csv": ("none", "gzip"),
    "parquet": ("zstd", "none", "snappy", "gzip"),
    "tfrecord": ("none", "gzip", "zlib"),
}
"""The allowed compressions of each format; the first is the default."""
NUMPY_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}  # of Arrow's types, for messages
GROUP_BYTES = 1 << 25  # of a row group of a Parquet file, before it is packed
EXAMPLES = 1 << 13  # that are serialized at once
LEAVE_OUT = "or leave the column out: set `columns` of the output to the others."
OTHER_FORMATS = f"Write Parquet, {LEAVE_OUT}"


class RecordOptions(NamedTuple):
    """How TFRecord files are written.

    Attributes:
        float64: numbers of float64, which Examples don't have: `round` writes float32, `text` a text with all digits.
            None: float32, if all numbers are such.
        tensors: whether arrays and lists are serialized tensors, which have all types. Otherwise, their values stand
            one after the other.
        raw: whether a record is the bytes of the only column, and no Example.
    """

    float64: Float64 | None = None
    tensors: bool = False
    raw: bool = False


DEFAULTS = RecordOptions()


class DigestFile(io.RawIOBase):
    """A file to write to, with the number and the digest of its bytes. The file around which it is made stays open.

    Attributes:
        size: the bytes so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.size = 0
        self._file, self._hash = file, hashlib.blake2b(digest_size=16)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    def hexdigest(self) -> str:
        """The digest of the bytes so far: BLAKE2b, of 16 bytes."""
        return self._hash.hexdigest()


def write_tables(
    file: BinaryIO,
    tables: Iterable[pyarrow.Table],
    kind: FileKind,
    compression: Compression,
    options: RecordOptions = DEFAULTS,
) -> None:
    """Writes tables one after the other into a file.

    Args:
        file: the file.
        tables: tables with the same columns, at least one.
        kind: the format.
        compression: one of those that the format allows.
        options: how TFRecord files are written.

    Raises:
        DataError: the format can't hold a column.
    """
    if kind == "parquet":
        _write_parquet(file, tables, compression)
        return
    with _open_packed(file, compression) as packed:
        if kind == "csv":
            _write_csv(packed, tables)
        elif options.raw:
            _write_raw(packed, tables)
        else:
            write_examples(packed, tables, options)


@contextmanager
def _open_packed(file: BinaryIO, compression: Compression) -> Iterator[BinaryIO]:
    """A file whose bytes are packed."""
    if compression == "gzip":
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            yield cast(BinaryIO, packed)
    elif compression == "zlib":
        zipped = _ZlibFile(file)
        yield cast(BinaryIO, zipped)
        zipped.finish()
    else:
        yield file


class _ZlibFile(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._stream = file, zlib.compressobj()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(self._stream.compress(data))
        return len(data)

    def finish(self) -> None:
        """Writes what is left. A file without it is damaged, as after an error."""
        self._file.write(self._stream.flush())


def _write_parquet(file: BinaryIO, tables: Iterable[pyarrow.Table], compression: Compression) -> None:
    import pyarrow
    from pyarrow import parquet

    writer: parquet.ParquetWriter | None = None
    waiting: list[pyarrow.Table] = []
    for table in tables:
        writer = writer or parquet.ParquetWriter(
            file, table.schema, compression=compression, write_page_checksum=True, version="2.6"
        )
        waiting.append(table)
        if sum(each.nbytes for each in waiting) >= GROUP_BYTES:
            writer.write_table(pyarrow.concat_tables(waiting))
            waiting = []
    assert writer is not None
    if waiting:
        writer.write_table(pyarrow.concat_tables(waiting))
    writer.close()


def _write_csv(file: BinaryIO, tables: Iterable[pyarrow.Table]) -> None:
    """Writes a header line and the rows. Numbers have the digits that are read as the same number; times are ISO."""
    import pyarrow
    from pyarrow import csv

    writer: csv.CSVWriter | None = None
    for table in tables:
        _check_csv(table)
        if table.num_columns == 1:  # an empty line is no row, so a missing value is an empty text in quotes
            texts = table.column(0).cast(pyarrow.large_string()).fill_null("")
            table = pyarrow.table({table.column_names[0]: texts})
        floats = [
            (index, field)
            for index, field in enumerate(table.schema)
            if pyarrow.types.is_floating(field.type) and field.type != pyarrow.float64()
        ]
        for index, field in floats:  # a float32 has its digits as a float64, which it is read as
            table = table.set_column(index, field.name, table.column(index).cast(pyarrow.float64()))
        writer = writer or csv.CSVWriter(file, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _check_csv(table: pyarrow.Table) -> None:
    """Raises DataError for a column that a CSV file can't hold."""
    import pyarrow
    import pyarrow.compute as compute

    for field in table.schema:
        if pyarrow.types.is_large_binary(field.type):
            raise DataError(f"column `{field.name}` has bytes, such as images, which CSV files can't hold. {_OTHERS}")
        if pyarrow.types.is_nested(field.type):
            others = OTHER_FORMATS if _has_inner_lists(field.type) else _OTHERS  # Examples can't hold these either
            raise DataError(f"column `{field.name}` has arrays or lists, which CSV files can't hold. {others}")
        if pyarrow.types.is_duration(field.type):
            raise _make_duration_error(field.name, "CSV")
        if pyarrow.types.is_large_string(field.type):
            column = table.column(field.name)
            if compute.any(compute.match_substring(column, "\0")).as_py():
                raise DataError(
                    f"column `{field.name}` has a text with a NUL character, which CSV files can't hold. {_OTHERS}"
                )


_OTHERS = f"Write Parquet or TFRecord, {LEAVE_OUT}"


def _has_inner_lists(kind: pyarrow.DataType) -> bool:
    """Whether lists or arrays have lists of any size within them, and not only arrays."""
    import pyarrow

    types, inner = pyarrow.types, kind.value_type
    return bool(types.is_nested(inner)) and (not types.is_fixed_size_list(inner) or _has_inner_lists(inner))


def _write_raw(file: BinaryIO, tables: Iterable[pyarrow.Table]) -> None:
    """Writes the bytes or texts of the only column as records."""
    import pyarrow

    types, first = pyarrow.types, 0
    for table in tables:
        kinds = [field.type for field in table.schema]
        if len(kinds) != 1 or not (types.is_large_binary(kinds[0]) or types.is_large_string(kinds[0])):
            raise _make_raw_error(table.schema)
        column = table.column(0).cast(pyarrow.large_binary())
        if column.null_count:
            row = first + column.is_valid().to_pylist().index(False)
            raise DataError(f"row {row} has no value of `{table.column_names[0]}`, and a raw record is a value")
        write_records(file, column.to_pylist())
        first += len(table)


def _make_raw_error(schema: pyarrow.Schema) -> DataError:
    """The error for columns that can't be raw records."""
    import pyarrow

    types = pyarrow.types
    fits = [field.name for field in schema if types.is_large_binary(field.type) or types.is_large_string(field.type)]
    names = join_names(schema.names)
    fault = f"raw records are the values of one column of bytes or texts, and the data has the columns {names}"
    if fits:
        only = json.dumps(fits[:1], ensure_ascii=False)
        return DataError(f"{fault}. To write `{fits[0]}`, set `columns={only}` of the output.")
    if len(schema) > 1:
        return DataError(f"{fault}, of which none has bytes or texts. To write Examples, leave out `records`.")
    is_nested = types.is_nested(schema.types[0])
    has = "" if is_nested else "values of "
    keeping = ", and set `tensors=true` to keep their type" if is_nested else ""
    return DataError(
        f"raw records are bytes or texts, and the only column, `{schema.names[0]}`, has "
        f"{has}{_describe_type(schema.types[0])}. To write Examples, leave out `records`{keeping}."
    )


def _describe_type(kind: pyarrow.DataType) -> str:
    """A type in words, such as `arrays of int64 of shape [28,28]`."""
    import pyarrow

    types = pyarrow.types
    shape: list[int] = []
    while types.is_fixed_size_list(kind):
        shape.append(kind.list_size)
        kind = kind.value_type
    if shape:
        return f"arrays of {_describe_type(kind)} of shape {shape}"
    if types.is_large_list(kind):
        return f"lists of {_describe_type(kind.value_type)}"
    return "texts" if types.is_large_string(kind) else NUMPY_NAMES.get(str(kind), str(kind))


def write_examples(file: BinaryIO, tables: Iterable[pyarrow.Table], options: RecordOptions = DEFAULTS) -> None:
    """Writes TFRecord files of Examples; see `write_tables`.

    Times are texts, as in CSV files, booleans are 0 and 1, and the values of an array stand one after the other, or in
    a tensor. A missing value is a feature without a value.
    """
    for table in tables:
        for first in range(0, len(table), EXAMPLES):
            piece = table.slice(first, EXAMPLES)
            features = {
                name: make_feature(name, column.combine_chunks(), options)
                for name, column in zip(piece.column_names, piece.columns, strict=True)
            }
            write_records(file, serialize_examples(features, len(piece)).tolist())


def make_feature(name: str, column: Any, options: RecordOptions) -> Feature:
    """Converts a column to the values of a feature of Examples."""
    import pyarrow
    import pyarrow.compute as compute

    column = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    if options.tensors and pyarrow.types.is_nested(column.type):
        return _make_tensors(name, column)
    counts = np.ones(len(column), np.int64)
    if column.null_count:
        valid = convert_numbers(column.is_valid().cast(pyarrow.uint8()), "?", None, False)
        counts = counts * valid
        column = column.drop_null()
    is_inner, is_nested = False, pyarrow.types.is_nested(column.type)
    while pyarrow.types.is_nested(column.type):
        if pyarrow.types.is_fixed_size_list(column.type):
            counts *= column.type.list_size
        elif is_inner:
            raise DataError(f"column `{name}` has lists of lists, which Examples can't hold. {OTHER_FORMATS}")
        else:
            counts[counts > 0] = convert_numbers(compute.list_value_length(column), "int64", None, 0)
        column, is_inner = column.flatten(), True
    offsets = offsets_of(counts)
    types, kind = pyarrow.types, column.type
    if column.null_count:
        raise DataError(f"column `{name}` has missing values within lists, which Examples can't hold. {OTHER_FORMATS}")
    if types.is_duration(kind):
        raise _make_duration_error(name, "TFRecord")
    if types.is_large_binary(kind):
        return Feature("bytes", read_strings(column.view(pyarrow.large_string())), offsets)
    if types.is_integer(kind) or types.is_boolean(kind):
        try:
            return Feature("int64", _read_integers(column), offsets)
        except pyarrow.ArrowInvalid:
            raise DataError(
                f"column `{name}` has an integer beyond 63 bits, which Examples can't hold. {OTHER_FORMATS}"
            ) from None
    if types.is_floating(kind) and (is_nested or not (kind == pyarrow.float64() and options.float64 == "text")):
        return Feature("float", _round(name, column, options.float64, is_nested), offsets)
    return Feature("bytes", read_strings(column.cast(pyarrow.large_string())), offsets)


def _make_tensors(name: str, column: Any) -> Feature:
    """The arrays or lists of a column as serialized tensors."""
    import pyarrow

    counts = np.ones(len(column), np.int64)
    if column.null_count:
        counts = counts * convert_numbers(column.is_valid().cast(pyarrow.uint8()), "?", None, False)
        column = column.drop_null()
    values, _ = convert_column(name, pyarrow.chunked_array([column]))
    bounds = values.offsets.tolist() if isinstance(values, Ragged) else [*range(len(column) + 1)]
    inner: Any = values.values if isinstance(values, Ragged) else values
    if isinstance(inner, Ragged):
        raise DataError(f"column `{name}` has lists of lists, which tensors can't hold. {OTHER_FORMATS}")
    dtype = None if isinstance(inner, Strings) else inner.dtype
    if dtype is not None and dtype not in NUMBERS:
        raise DataError(f"column `{name}` has arrays of {dtype}, which tensors can't hold. {OTHER_FORMATS}")
    if not isinstance(values, Ragged):
        messages = serialize_tensors(inner.reshape(-1), inner.shape[1:], len(inner))
    else:
        pieces = [_serialize(inner, start, stop) for start, stop in itertools.pairwise(bounds)]
        messages = Strings.from_bytes(pieces)
    return Feature("bytes", messages, offsets_of(counts))


def _serialize(values: Any, start: int, stop: int) -> bytes:
    """A list as a tensor."""
    piece = slice_rows(values, start, stop)
    flat = piece if isinstance(piece, Strings) else piece.reshape(-1)
    shape = (stop - start, *(() if isinstance(piece, Strings) else piece.shape[1:]))
    return next(serialize_tensors(flat, shape, 1).iterate_bytes())


def _read_integers(column: Any) -> np.ndarray:
    import pyarrow

    column = column.cast(pyarrow.uint8()) if pyarrow.types.is_boolean(column.type) else column
    return convert_numbers(column.cast(pyarrow.int64()), "int64", None, 0)


def _round(name: str, column: Any, float64: Float64 | None, is_nested: bool) -> np.ndarray:
    """The numbers as float32. Raises DataError for one that isn't, unless it is to be rounded.

    Numbers of arrays and lists are never written as texts, which would be read as arrays and lists of texts.
    """
    import pyarrow

    numbers = convert_numbers(column.cast(pyarrow.float64()), "f8", None, 0.0)
    with np.errstate(over="ignore"):
        rounded = numbers.astype(np.float32)
    is_changed = (rounded != numbers) & ~np.isnan(numbers)
    exact = "set `tensors=true`" if is_nested else "set `float64=text`"
    how = "keep all digits of arrays and lists" if is_nested else "write texts that have all digits"
    if float64 != "round" and is_changed.any():
        number, near = float(numbers[is_changed][0]), float(rounded[is_changed][0])
        raise DataError(
            f"column `{name}` has numbers such as {number}, and TFRecord files have float32 only, in which this is "
            f"{near}. To round them, set `float64=round`; to {how}, {exact}."
        )
    if (is_lost := np.isinf(rounded) & np.isfinite(numbers)).any():
        raise DataError(
            f"column `{name}` has {float(numbers[is_lost][0])}, which is beyond float32. To {how}, {exact}."
        )
    return rounded


def _make_duration_error(name: str, format: str) -> DataError:
    return DataError(f"column `{name}` has durations, which {format} files can't hold. {OTHER_FORMATS}")
