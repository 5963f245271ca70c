"""Tables in files of typed columns: Parquet, Arrow, ORC and JSON lines. Columns are read one by one."""

from __future__ import annotations

import ctypes
import hashlib
import io
import itertools
import mmap
import re
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.arrow import array_to_arrow, convert_column
from components.closest import closest_name, join_names
from components.data.arrays import list_arrays, update_digest
from components.data.packed import PackedFile
from components.data.table_formats import FORMAT_NAMES, FileFormat
from components.hugging_face import Features, convert_feature, is_file, read_features
from components.input_files import hash_file
from components.types import DataError, Values

if TYPE_CHECKING:
    import pyarrow

STREAM = b"\xff\xff\xff\xff"  # starts an Arrow file that isn't of the format with an index
MAX_ARRAY_BYTES = 1 << 28  # of all columns of a table in memory; those of a larger one are kept on the disk
JSON_BLOCK_BYTES = 64 << 20  # of Arrow's reader; each line must fit into a block
JSON_ROW = re.compile(r"(?:JSON parse error: )?(.*?)\.? in row (\d+)")


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
        """Reads a column as `convert_column` does, and keeps it: on the disk if the table is large."""
        if name not in self._converted:
            column = self.read(name)
            self._check_texts(name, column)
            values, valid = convert_column(name, column)
            is_large = self.rows * 8 * len(self.types) > MAX_ARRAY_BYTES
            self._converted[name] = (map_arrays(values, self.maps), valid) if is_large else (values, valid)
        return self._converted[name]

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
                index = re.search(r"Invalid UTF8 sequence at string index (\d+)", str(error))
                location = self.locate(start + int(index[1] if index else 0))
                fault = "a text that isn't UTF-8" if index else f"a damaged value: {error}"
                raise DataError(f"{self.name}, {location}: column `{name}` has {fault}") from error
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

        kind = self.types[name]  # whole numbers among others are floats, as in NumPy
        if name in self.errors:
            raise self.errors[name]
        columns = [table.column(name).cast(kind, safe=False) for table in self._tables]
        return pyarrow.chunked_array([chunk for column in columns for chunk in column.chunks], kind)

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


class _Field(NamedTuple):
    """A column of a file.

    Attributes:
        path: its name, after those of the structs that hold it.
        type: its type.
    """

    path: tuple[str, ...]
    type: pyarrow.DataType


class _Piece(NamedTuple):
    """One file of a table.

    Attributes:
        path: the file.
        read: (a column) -> its values.
        keys: the values of the columns that its folders name, such as `year=2020`.
        fields: its columns by name.
        rows: the number of its rows.
    """

    path: Path
    read: Callable[[_Field], pyarrow.ChunkedArray]
    keys: Mapping[str, str | None]
    fields: Mapping[str, _Field]
    rows: int


@dataclass(frozen=True, eq=False)
class FileColumns(ColumnStore):
    """A table in one or several files of a format.

    Attributes:
        label: the name of the table for messages.
        paths: the files, in the order of their rows.
        names: the names of the files for messages, if there are several.
        format: the format of all of them.
        root: the folder whose folders name columns, such as `year=2020`. None: there are none.
        max_unpacked_gb: the maximum size of an unpacked file of JSON lines in gigabytes.
    """

    label: str
    paths: Sequence[Path]
    names: Sequence[str]
    format: FileFormat
    root: Path | None = None
    max_unpacked_gb: float = 2.0

    @property
    def name(self) -> str:
        return self.label

    @cached_property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        first = self._pieces[0]
        types = {name: field.type for name, field in first.fields.items()}
        for piece in self._pieces[1:]:
            self._check_names(first, piece)
            for name, field in piece.fields.items():
                kind = _find_common_type(types[name], field.type)
                if kind is None:
                    raise DataError(
                        f"column `{name}` has the type {field.type} in {piece.path}, but {types[name]} in "
                        f"{first.path}. Write it with one type in all files."
                    )
                types[name] = kind
        return {**types, **self._key_types}

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self._pieces)

    def read(self, name: str) -> pyarrow.ChunkedArray:
        import pyarrow

        kind = self.types[name]
        if name in self._key_types:
            keys = pyarrow.array([piece.keys.get(name) for piece in self._pieces], pyarrow.string()).cast(kind)
            counts = [piece.rows for piece in self._pieces]
            return pyarrow.chunked_array([keys.take(array_to_arrow(np.repeat(np.arange(len(counts)), counts)))])
        chunks: list[pyarrow.Array] = []
        for piece in self._pieces:
            with self._reading(piece.path):
                column = piece.read(piece.fields[name])
                if len(column) != piece.rows:
                    raise DataError(f"{piece.path} has {len(column):,} values in column `{name}`, not {piece.rows:,}")
                chunks += column.cast(kind).chunks
        return pyarrow.chunked_array(chunks, kind)

    def locate(self, row: int) -> str:
        for name, piece in zip(self.names, self._pieces, strict=True):
            if row < piece.rows:
                location = f"line {self._find_line(piece.path, row)}" if self.format == "json_lines" else f"row {row}"
                return location if len(self.paths) == 1 else f"{location} of {name}"
            row -= piece.rows
        raise IndexError(row)

    def digest(self) -> str:
        digests = [hash_file(path, digest_size=16).hexdigest() for path in self.paths]
        keys = f", {[dict(piece.keys) for piece in self._pieces]}" if self.root is not None else ""
        return ", ".join(digests) + keys

    @cached_property
    def _pieces(self) -> Sequence[_Piece]:
        pieces = [self._open(path) for path in self.paths]
        if empty := [piece.path for piece in pieces if not piece.fields]:
            raise DataError(f"{empty[0]} has no columns")
        if not sum(piece.rows for piece in pieces):
            raise DataError(f"{self.label} has no rows")
        return pieces

    @cached_property
    def _key_types(self) -> Mapping[str, pyarrow.DataType]:
        """The types of the columns that folders name."""
        import pyarrow

        names, types = dict.fromkeys(name for piece in self._pieces for name in piece.keys), {}
        for name in names:
            texts = [piece.keys.get(name) for piece in self._pieces]
            is_whole = all(text is None or re.fullmatch(r"0|-?[1-9]\d{0,17}", text) for text in texts)
            types[name] = pyarrow.int64() if is_whole else pyarrow.string()
            if name in self._pieces[0].fields:
                raise DataError(f"{self.label}: `{name}` is a column of the files, and a folder is named {name}=…")
        return types

    def _open(self, path: Path) -> _Piece:
        with self._reading(path):
            schema, rows, read = self._open_file(path)
            features = read_features(schema)
            fields = [*_list_fields(schema, features=features)]
            fields = [field._replace(type=_find_type(field, features)) for field in fields]
        names = Counter(".".join(field.path) for field in fields)
        if (repeated := names.most_common(1)) and repeated[0][1] > 1:
            raise DataError(f"{path} has two columns named `{repeated[0][0]}`; rename one")
        read = partial(_read_feature, read, features) if features else read
        return _Piece(path, read, self._read_keys(path), dict(zip(names, fields, strict=True)), rows)

    def _open_file(self, path: Path) -> tuple[pyarrow.Schema, int, Callable[[_Field], pyarrow.ChunkedArray]]:
        """The schema of a file, the number of its rows, and what reads a column. The file doesn't stay open.

        Arrow's datasets would do the same, but import pandas.
        """
        if self.format == "json_lines":
            return _open_table(self._read_json(path))
        if self.format == "parquet":
            return _open_parquet(path)
        return _open_orc(path) if self.format == "orc" else _open_arrow(path)

    def _read_keys(self, path: Path) -> dict[str, str | None]:
        """The names and values of columns in the folders of a path, such as `year=2020/month=1`."""
        from urllib.parse import unquote

        folders = () if self.root is None else path.relative_to(self.root).parent.parts
        pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
        return {name: None if text == HIVE_NULL else unquote(text) for name, text in pairs}

    def _read_json(self, path: Path) -> pyarrow.Table:
        """Reads a file of JSON lines. Texts that Arrow would read as times stay texts, which show their zones."""
        import pyarrow
        from pyarrow import json

        with PackedFile(path, self.max_unpacked_gb).open() as opened:
            content = opened.read()
        options = json.ReadOptions(block_size=min(max(len(content), 1), JSON_BLOCK_BYTES))
        table = json.read_json(io.BytesIO(content), options)
        lines = sum(map(bool, map(bytes.strip, content.split(b"\n"))))
        if lines != table.num_rows:
            raise DataError(f"{path} has {table.num_rows:,} objects in {lines:,} lines; write one in each line")
        times = [field.name for field in table.schema if pyarrow.types.is_timestamp(field.type)]
        if times:
            schema = pyarrow.schema([(name, pyarrow.string()) for name in times])
            table = json.read_json(io.BytesIO(content), options, json.ParseOptions(explicit_schema=schema))
        return table

    def _find_line(self, path: Path, row: int) -> int:
        """The line, from 1, of a row of JSON lines, or the last line. Blank lines aren't rows."""
        last = 0
        with PackedFile(path, self.max_unpacked_gb).open() as opened:
            for last, line in enumerate(opened, start=1):  # noqa: B007
                row -= bool(line.strip())
                if row < 0:
                    break
        return last

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
            if self.format == "json_lines" and (match := JSON_ROW.fullmatch(message)):
                line = self._find_line(path, int(match[2]))
                raise DataError(f"{path}, line {line}: {_explain_json(match[1])}") from error
            if self.format == "json_lines" and "Empty JSON" in message:
                raise DataError(f"{path} is empty") from error
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


def _open_table(table: pyarrow.Table) -> tuple[pyarrow.Schema, int, Callable[[_Field], pyarrow.ChunkedArray]]:
    return table.schema, table.num_rows, lambda field: _select_field(table.column(field.path[0]), field.path[1:])


def _open_parquet(path: Path) -> tuple[pyarrow.Schema, int, Callable[[_Field], pyarrow.ChunkedArray]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        metadata, schema = file.metadata, file.schema_arrow

    def read(field: _Field) -> pyarrow.ChunkedArray:
        with parquet.ParquetFile(path, metadata=metadata, page_checksum_verification=True) as opened:
            table = opened.read(columns=[".".join(field.path)])
        return _select_field(table.column(field.path[0]), field.path[1:])

    return schema, metadata.num_rows, read


def _open_orc(path: Path) -> tuple[pyarrow.Schema, int, Callable[[_Field], pyarrow.ChunkedArray]]:
    from pyarrow import orc

    file = orc.ORCFile(path)

    def read(field: _Field) -> pyarrow.ChunkedArray:
        return _select_field(orc.ORCFile(path).read(columns=[field.path[0]]).column(0), field.path[1:])

    return file.schema, file.nrows, read


def _open_arrow(path: Path) -> tuple[pyarrow.Schema, int, Callable[[_Field], pyarrow.ChunkedArray]]:
    import pyarrow
    from pyarrow import ipc

    with path.open("rb") as file:
        is_stream = file.read(len(STREAM)) == STREAM
    if is_stream:
        return _open_table(ipc.open_stream(pyarrow.memory_map(str(path))).read_all())
    schema = ipc.open_file(pyarrow.memory_map(str(path))).schema
    positions = {name: index for index, name in enumerate(schema.names)}

    def read_column(position: int) -> pyarrow.ChunkedArray:
        options = ipc.IpcReadOptions(included_fields=[position])  # others aren't unpacked
        return ipc.open_file(pyarrow.memory_map(str(path)), options=options).read_all().column(0)

    def read(field: _Field) -> pyarrow.ChunkedArray:
        return _select_field(read_column(positions[field.path[0]]), field.path[1:])

    return schema, len(read_column(0)) if positions else 0, read


def _select_field(column: pyarrow.ChunkedArray, path: tuple[str, ...]) -> pyarrow.ChunkedArray:
    """A field within a column of structs; without a path, the column."""
    import pyarrow.compute as compute

    return compute.struct_field(column, list(path)) if path else column


HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"  # the name of a folder for a missing value


def _list_fields(
    schema: Any, path: tuple[str, ...] = (), features: Features = MappingProxyType({})
) -> Iterator[_Field]:
    """Yields the columns of a schema or of a struct. A struct is a column for each of its fields, but for files."""
    import pyarrow

    for field in schema:
        if pyarrow.types.is_struct(field.type) and field.type.num_fields and not is_file(features.get(field.name)):
            yield from _list_fields(field.type, (*path, field.name))
        else:
            yield _Field((*path, field.name), field.type)


def _find_type(field: _Field, features: Features) -> pyarrow.DataType:
    """The type of a column, as `_read_feature` returns it."""
    import pyarrow

    return _read_feature(lambda each: pyarrow.chunked_array([], each.type), features, field).type


def _read_feature(
    read: Callable[[_Field], pyarrow.ChunkedArray], features: Features, field: _Field
) -> pyarrow.ChunkedArray:
    """Reads a column as its feature of Hugging Face says, if it has one."""
    name, *inner = field.path
    return convert_feature(name, read(field), None if inner else features.get(name))


def _explain_json(fault: str) -> str:
    """An error of Arrow's reader of JSON in other words."""
    if match := re.fullmatch(r"Column\((.*)\) changed from (\w+) to (\w+)", fault):
        name = match[1].removeprefix("/").replace("/", ".")
        where = f"column `{name}` has" if name else "there is"
        return f"{where} a value of the type {match[3]}, but {match[2]} before; write all with one type"
    if match := re.fullmatch(r"Column\(/?(.*)\) was specified twice", fault):
        return f"`{match[1]}` is there twice; remove one"
    return f"it is no JSON object: {fault}"


def _find_common_type(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType | None:
    """The type of a column that has two types in two files. None: one of them can't be read as the other."""
    import pyarrow

    types = pyarrow.types
    if first == second:
        return first
    if types.is_null(first) or types.is_null(second):
        return second if types.is_null(first) else first
    numbers = [types.is_integer(kind) or types.is_floating(kind) for kind in (first, second)]
    texts = [
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) for kind in (first, second)
    ]
    if all(texts):
        return pyarrow.large_string()
    if not all(numbers):
        return None
    try:
        return (
            pyarrow.unify_schemas(
                [pyarrow.schema([("x", first)]), pyarrow.schema([("x", second)])], promote_options="permissive"
            )
            .field(0)
            .type
        )
    except pyarrow.ArrowException:
        return None
