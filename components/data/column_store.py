"""Tables in files of typed columns: Parquet, Arrow, ORC and JSON lines. Columns are read one by one."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import mmap
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from components.arrow import check_values, convert_column, find_invalid_row
from components.closest import closest_name, join_names
from components.data.arrays import list_arrays, update_digest
from components.data.column_types import (
    CastError,
    Field,
    cast_column,
    drop_empty_structs,
    find_common_type,
    list_fields,
    select_field,
)
from components.data.json_lines import find_line, read_json_lines
from components.data.packed import PackedFile
from components.data.partitions import Partitions
from components.file_formats import FORMAT_NAMES, FileFormat
from components.hugging_face import Features, convert_feature, is_file, read_features
from components.input_files import hash_file
from components.types import DataError, Values

if TYPE_CHECKING:
    import pyarrow

STREAM = b"\xff\xff\xff\xff"  # starts an Arrow file that isn't of the format with an index
MAX_ARRAY_BYTES = 1 << 28  # of the columns of a table in memory; others are kept on the disk


class ColumnStore(ABC):
    """The columns of a table, which are read one by one. Each is converted once, and kept."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the table for messages."""

    @property
    @abstractmethod
    def types(self) -> Mapping[str, pyarrow.DataType]:
        """The types of the columns by name."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """The number of rows."""

    @abstractmethod
    def read(self, name: str) -> pyarrow.ChunkedArray:
        """Reads a column."""

    @abstractmethod
    def locate(self, row: int) -> str:
        """The location of a row, for messages."""

    @abstractmethod
    def digest(self) -> str:
        """A digest that changes when the rows change."""

    def convert(self, name: str) -> tuple[Values, np.ndarray | None]:
        """Reads a column as `convert_column` does, and keeps it: on the disk if the columns in memory are large.

        Bytes are packed as `Strings`, in which a gap is empty.
        """
        if name not in self._converted:
            column = self.read(name)
            self._check_texts(name, column)
            values, valid = convert_column(name, column, pack_bytes=True)
            size = sum(array.nbytes for array in list_arrays(values))
            if sum(self._held.values()) + size > MAX_ARRAY_BYTES:
                values = map_arrays(values, self.maps)
            else:
                self._held[name] = size
            self._converted[name] = values, valid
        return self._converted[name]

    @cached_property
    def _held(self) -> dict[str, int]:
        """The sizes in bytes of the columns in memory."""
        return {}

    @cached_property
    def maps(self) -> list[pyarrow.Buffer]:
        """The contents of the temporary files."""
        return []

    def release(self) -> None:
        """Lets the temporary files leave the memory, until they are used again."""
        if not self.maps or not hasattr(mmap, "MADV_DONTNEED"):
            return
        library = ctypes.CDLL(None)
        for content in self.maps:
            library.madvise(ctypes.c_void_p(content.address), ctypes.c_size_t(content.size), mmap.MADV_DONTNEED)

    def _check_texts(self, name: str, column: pyarrow.ChunkedArray) -> None:
        """Raises DataError for a text that isn't UTF-8, or another array that isn't valid."""
        import pyarrow

        start = 0
        for chunk in column.chunks:
            try:
                chunk.validate(full=True)
            except pyarrow.ArrowInvalid as error:
                if "Invalid UTF8" not in str(error):
                    raise DataError(f"{self.name}: column `{name}` has a damaged value: {error}") from error
                row = find_invalid_row(chunk, check_values)  # None: no row has the text of its dictionary
                if row is not None:
                    location = self.locate(start + row)
                    raise DataError(f"{self.name}, {location}: column `{name}` has a text that isn't UTF-8") from error
            start += len(chunk)

    @cached_property
    def _converted(self) -> dict[str, tuple[Values, np.ndarray | None]]:
        return {}


class SpooledColumns(ColumnStore):
    """Columns that arrive as batches of rows, once. Those of a large table are kept in temporary files."""

    @abstractmethod
    def read_batches(self) -> Iterator[pyarrow.RecordBatch]:
        """Reads the rows. All batches have the same names; the types of each hold the values of those before, too."""

    @cached_property
    def errors(self) -> dict[str, DataError]:
        """The errors of columns that `read_batches` can't read. One is raised if its column is used."""
        return {}

    @property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        schema = self._tables[-1].schema
        return dict(zip(schema.names, schema.types, strict=True))

    @property
    def rows(self) -> int:
        return sum(table.num_rows for table in self._tables)

    def read(self, name: str) -> pyarrow.ChunkedArray:
        import pyarrow

        kind = self.types[name]
        if name in self.errors:
            raise self.errors[name]
        chunks: list[pyarrow.Array] = []
        for table in self._tables:
            try:
                chunks += cast_column(table.column(name), kind).chunks
            except CastError as error:
                location = self.locate(sum(map(len, chunks)) + error.row)
                fault = f"column `{name}` is {error.value}, which the type {kind} of later rows can't hold exactly"
                raise DataError(f"{self.name}, {location}: {fault}. `cast` it in the query.") from error
        return pyarrow.chunked_array(chunks, kind)

    def locate(self, row: int) -> str:
        return f"row {row}"

    def digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name, kind in self.types.items():
            try:
                values, valid = self.convert(name)
            except DataError as error:
                digest.update(f"{name} {error}".encode())
                continue
            for array in [*list_arrays(values), *([] if valid is None else [valid])]:
                digest.update(f"{name} {kind} {array.dtype} {array.shape}".encode())
                update_digest(digest, array)
        return digest.hexdigest()

    @cached_property
    def _tables(self) -> Sequence[pyarrow.Table]:
        """The rows in consecutive tables, each in memory or in a temporary file."""
        import pyarrow

        tables, size = [], 0
        for _, batches in itertools.groupby(self.read_batches(), lambda batch: batch.schema):
            held = []
            for batch in batches:
                held.append(batch)
                size += batch.nbytes
                if size > MAX_ARRAY_BYTES:
                    tables.append(self._spool(pyarrow.Table.from_batches(held)))
                    held, size = [], 0
            tables += [pyarrow.Table.from_batches(held)] if held else []
        if not sum(table.num_rows for table in tables):
            raise DataError(f"{self.name} has no rows")
        return tables

    def _spool(self, table: pyarrow.Table) -> pyarrow.Table:
        """The same table in a temporary file, which is mapped into memory."""
        import pyarrow

        def write(file: Any) -> None:
            with pyarrow.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)

        return pyarrow.ipc.open_stream(map_file(write, self.maps)).read_all()


def map_arrays(values: Any, maps: list[pyarrow.Buffer]) -> Any:
    """The same column, whose arrays are in temporary files that are mapped into memory.

    Args:
        values: an array, or a tuple of arrays and other values.
        maps: gets the contents of the files.

    Raises:
        DataError: the file can't be written.
    """
    if isinstance(values, tuple):
        mapped = [map_arrays(each, maps) for each in values]
        return values._make(mapped) if hasattr(values, "_make") else tuple(mapped)
    if not isinstance(values, np.ndarray) or values.dtype.hasobject or not values.nbytes:
        return values
    content = map_file(np.ascontiguousarray(values).tofile, maps)
    return np.frombuffer(content, "u1").view(values.dtype).reshape(values.shape)


def map_file(write: Callable[[Any], None], maps: list[pyarrow.Buffer]) -> pyarrow.Buffer:
    """Writes a temporary file and maps it into memory. The file is gone once its content isn't used anymore.

    Unlike Python's, a map of Arrow keeps no file open, of which a process may have few.

    Args:
        write: writes the file.
        maps: gets the content.

    Raises:
        DataError: the file can't be written.
    """
    import pyarrow

    try:
        with tempfile.NamedTemporaryFile() as file:
            write(file)
            file.flush()
            with pyarrow.memory_map(file.name) as opened:
                maps.append(opened.read_buffer())
    except OSError as error:
        raise DataError(
            f"columns of a large table can't be written to a temporary file in {tempfile.gettempdir()}: "
            f"{error.strerror}. Free some space, or set TMPDIR to another folder."
        ) from error
    return maps[-1]


_Opened: TypeAlias = "tuple[Sequence[Field], int, Callable[[Field], pyarrow.ChunkedArray]]"
"""The columns of a file, the number of its rows, and what reads a column."""


class _Piece(NamedTuple):
    """One file of a table.

    Attributes:
        path: the file.
        read: (a column) -> its values.
        fields: its columns by name.
        rows: the number of its rows.
    """

    path: Path
    read: Callable[[Field], pyarrow.ChunkedArray]
    fields: Mapping[str, Field]
    rows: int


@dataclass(frozen=True, eq=False)
class FileColumns(ColumnStore):
    """A table in one or several files of a format.

    Attributes:
        label: the name of the table for messages.
        paths: the files, in the order of their rows.
        names: the names of the files for messages, if there are several.
        format: the format of all of them.
        max_unpacked_gb: the maximum size of an unpacked file of JSON lines in gigabytes.
    """

    label: str
    paths: Sequence[Path]
    names: Sequence[str]
    format: FileFormat
    max_unpacked_gb: float = 2.0

    @property
    def name(self) -> str:
        return self.label

    @cached_property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        first = self._pieces[0]
        types = {name: field.type for name, field in first.fields.items()}
        origins = dict.fromkeys(types, first.path)
        for piece in self._pieces[1:]:
            self._check_names(first, piece)
            for name, field in piece.fields.items():
                kind = find_common_type(types[name], field.type)
                if kind is None:
                    raise DataError(
                        f"column `{name}` has the type {field.type} in {piece.path}, but {types[name]} in "
                        f"{origins[name]}. Write it with one type in all files."
                    )
                origins[name] = origins[name] if kind == types[name] else piece.path
                types[name] = kind
        self._partitions.check_names(types, self.label)
        return {**types, **self._partitions.types}

    @property
    def rows(self) -> int:
        return sum(self.file_sizes)

    @property
    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file."""
        return [piece.rows for piece in self._pieces]

    def read(self, name: str) -> pyarrow.ChunkedArray:
        import pyarrow

        kind = self.types[name]
        if name in self._partitions.types:
            return self._partitions.read(name, [piece.rows for piece in self._pieces])
        chunks: list[pyarrow.Array] = []
        if pyarrow.types.is_dictionary(kind) and any(piece.fields[name].type != kind for piece in self._pieces):
            kind = kind.value_type
        for piece in self._pieces:
            with self._reading(piece.path):
                column = piece.read(piece.fields[name])
                if len(column) != piece.rows:
                    raise DataError(f"{piece.path} has {len(column):,} values in column `{name}`, not {piece.rows:,}")
                try:
                    chunks += cast_column(column, kind).chunks
                except CastError as error:
                    raise self._make_cast_error(name, sum(map(len, chunks)) + error.row, error) from error
        return pyarrow.chunked_array(chunks, kind)

    def _make_cast_error(self, name: str, row: int, error: CastError) -> DataError:
        fault = f"column `{name}` is {error.value}, which the type {error.kind} can't hold exactly"
        return DataError(
            f"{self.label}, {self.locate(row)}: {fault}. Files of this table have several types of this column. Write "
            "it with one type in all files."
        )

    def locate(self, row: int) -> str:
        for name, piece in zip(self.names, self._pieces, strict=True):
            if row < piece.rows:
                location = f"line {self._find_line(piece.path, row)}" if self.format == "json_lines" else f"row {row}"
                return location if len(self.paths) == 1 else f"{location} of {name}"
            row -= piece.rows
        raise IndexError(row)

    def digest(self) -> str:
        digests = [hash_file(path, digest_size=16).hexdigest() for path in self.paths]
        return ", ".join(digests) + self._partitions.describe()

    @cached_property
    def _pieces(self) -> Sequence[_Piece]:
        pieces = [self._open(path) for path in self.paths]
        fields = [field for piece in pieces for field in piece.fields.values()]
        pieces = [self._fill_structs(piece, fields) for piece in pieces]
        if empty := [piece.path for piece in pieces if not piece.fields]:
            raise DataError(f"{empty[0]} has no columns")
        if not sum(piece.rows for piece in pieces):
            raise DataError(f"{self.label} has no rows")
        return pieces

    def _fill_structs(self, piece: _Piece, fields: Sequence[Field]) -> _Piece:
        """A file with the columns of those structs of other files of which it has nulls only, as null columns."""
        import pyarrow

        own = drop_empty_structs([*piece.fields.values()], fields)
        if len(own) == len(piece.fields):
            return piece
        empty = {field.path for field in piece.fields.values()} - {field.path for field in own}
        inner = [field for field in fields if any(field.path[: len(path)] == path != field.path for path in empty)]
        nulls = {field.path: pyarrow.null() for field in drop_empty_structs(inner, fields)}

        def read(field: Field) -> pyarrow.ChunkedArray:
            if field.path in nulls:
                return pyarrow.chunked_array([pyarrow.nulls(piece.rows)])
            return piece.read(field)

        own += [Field(path, kind) for path, kind in nulls.items()]
        return piece._replace(fields={".".join(field.path): field for field in own}, read=read)

    @cached_property
    def _partitions(self) -> Partitions:
        return Partitions(self.paths)

    def _open(self, path: Path) -> _Piece:
        with self._reading(path):
            fields, rows, read = self._open_file(path)
        names = Counter(".".join(field.path) for field in fields)
        if (repeated := names.most_common(1)) and repeated[0][1] > 1:
            raise DataError(f"{path} has two columns named `{repeated[0][0]}`; rename one")
        return _Piece(path, read, dict(zip(names, fields, strict=True)), rows)

    def _open_file(self, path: Path) -> _Opened:
        """The columns of a file, the number of its rows, and what reads a column. The file doesn't stay open.

        Arrow's datasets would do the same, but import pandas.
        """
        if self.format == "json_lines":
            fields, columns, rows = read_json_lines(PackedFile(path, self.max_unpacked_gb))
            return fields, rows, lambda field: columns[field.path]
        if self.format == "parquet":
            return _open_parquet(path)
        return _open_orc(path) if self.format == "orc" else _open_arrow(path)

    def _find_line(self, path: Path, row: int) -> int:
        """The line, from 1, of a row of JSON lines."""
        with PackedFile(path, self.max_unpacked_gb).open() as opened:
            return find_line(opened, row)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Errors of Arrow become DataError with the name of the file."""
        import pyarrow

        try:
            yield
        except UnicodeDecodeError as error:
            raise DataError(f"{path} has a name that isn't UTF-8, {error.object!r}") from error
        except (pyarrow.ArrowException, OSError) as error:
            message = str(error).splitlines()[0]
            if message.startswith("Expected all lists to be of size"):  # the file is right
                raise DataError(
                    f"{path} has gaps among arrays of a fixed size, which Arrow can't read from "
                    f"{FORMAT_NAMES[self.format]} files. Write the column as lists of any size, or as an Arrow file."
                ) from error
            raise DataError(f"{path} is damaged, or no {FORMAT_NAMES[self.format]} file: {message}") from error

    def _check_names(self, first: _Piece, piece: _Piece) -> None:
        """Raises DataError unless a file has the columns of the first one, in any order."""
        names, needed = piece.fields.keys(), first.fields.keys()
        if names == needed:
            return
        missing = f" Missing: {join_names(needed - names)}." if needed - names else ""
        unexpected = f" Unexpected: {join_names(names - needed)}." if names - needed else ""
        nearest = closest_name(min(names - needed, default=""), needed - names)
        hint = f" Did you mean {nearest}?" if nearest else ""
        raise DataError(f"{piece.path} has other columns than {first.path}.{missing}{unexpected}{hint}")


def _open_table(path: Path, table: pyarrow.Table) -> _Opened:
    return _describe(
        path, table.schema, table.num_rows, lambda field: select_field(table.column(field.path[0]), field.path[1:])
    )


def _open_parquet(path: Path) -> _Opened:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        metadata, schema = file.metadata, file.schema_arrow

    def read(field: Field) -> pyarrow.ChunkedArray:
        with parquet.ParquetFile(path, metadata=metadata, page_checksum_verification=True) as opened:
            table = opened.read(columns=[".".join(field.path)])
        return select_field(table.column(field.path[0]), field.path[1:])

    return _describe(path, schema, metadata.num_rows, read)


def _open_orc(path: Path) -> _Opened:
    from pyarrow import orc

    file = orc.ORCFile(path)

    def read(field: Field) -> pyarrow.ChunkedArray:
        return select_field(orc.ORCFile(path).read(columns=[field.path[0]]).column(0), field.path[1:])

    return [*list_fields(file.schema)], file.nrows, read


def _open_arrow(path: Path) -> _Opened:
    import pyarrow
    from pyarrow import ipc

    with path.open("rb") as file:
        is_stream = file.read(len(STREAM)) == STREAM
    if is_stream:
        return _open_table(path, ipc.open_stream(pyarrow.memory_map(str(path))).read_all())
    schema = ipc.open_file(pyarrow.memory_map(str(path))).schema
    positions = {name: index for index, name in enumerate(schema.names)}

    def read_column(position: int) -> pyarrow.ChunkedArray:
        options = ipc.IpcReadOptions(included_fields=[position])  # others aren't unpacked
        return ipc.open_file(pyarrow.memory_map(str(path)), options=options).read_all().column(0)

    def read(field: Field) -> pyarrow.ChunkedArray:
        return select_field(read_column(positions[field.path[0]]), field.path[1:])

    return _describe(path, schema, len(read_column(0)) if positions else 0, read)


def _describe(path: Path, schema: pyarrow.Schema, rows: int, read: Callable[[Field], pyarrow.ChunkedArray]) -> _Opened:
    """The columns of a file with a schema, which are read as their features of Hugging Face say, if they have such."""
    features = read_features(schema)
    fields = [*list_fields(schema, files={name for name, feature in features.items() if is_file(feature)})]
    if not features:
        return fields, rows, read
    read = partial(_read_feature, path, read, features)
    return [field._replace(type=_find_type(path, field, features)) for field in fields], rows, read


def _find_type(path: Path, field: Field, features: Features) -> pyarrow.DataType:
    """The type of a column, as `_read_feature` returns it."""
    import pyarrow

    return _read_feature(path, lambda each: pyarrow.chunked_array([], each.type), features, field).type


def _read_feature(
    path: Path, read: Callable[[Field], pyarrow.ChunkedArray], features: Features, field: Field
) -> pyarrow.ChunkedArray:
    """Reads a column as its feature of Hugging Face says, if it has one."""
    name, *inner = field.path
    column = read(field)
    try:
        return convert_feature(name, column, None if inner else features.get(name))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
