"""Tables in files of typed columns: Parquet, Arrow, ORC and JSON lines. Columns are read one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from components.closest import closest_name, join_names
from components.data.column_store import ColumnStore
from components.data.column_types import (
    CastError,
    Field,
    cast_column,
    drop_empty_structs,
    find_common_type,
    is_list,
    list_fields,
    select_field,
)
from components.data.declared_shapes import Shape, convert_shape
from components.data.json_lines import find_line, read_json_lines
from components.data.packed import PackedFile
from components.data.partitions import Partitions
from components.file_formats import FORMAT_NAMES, FileFormat
from components.hugging_face import Features, convert_feature, is_file, read_features
from components.input_files import hash_file
from components.types import DataError

if TYPE_CHECKING:
    import pyarrow

STREAM = b"\xff\xff\xff\xff"  # starts an Arrow file that isn't of the format with an index


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
        known: columns, with their types, that have gaps where no object of JSON lines has them.
        shapes: the declared shapes of some columns of lists, which `read` converts to them.
    """

    label: str
    paths: Sequence[Path]
    names: Sequence[str]
    format: FileFormat
    max_unpacked_gb: float = 2.0
    known: Mapping[str, pyarrow.DataType] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)

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
            for name, other in piece.fields.items():
                kind = find_common_type(types[name], other.type)
                if kind is None:
                    raise DataError(
                        f"column `{name}` has the type {other.type} in {piece.path}, but {types[name]} in "
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
        column = pyarrow.chunked_array(chunks, kind)
        if (shape := self.shapes.get(name)) and is_list(kind):
            column = convert_shape(column, shape, lambda row: f"{self.label}, {self.locate(row)}: column `{name}`")
        return column

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
        shapes = {name: [*shape] for name, shape in sorted(self.shapes.items())}
        return ", ".join(digests) + self._partitions.describe() + (f", {shapes}" if shapes else "")

    @property
    def absent(self) -> Collection[str]:
        if self.format != "json_lines":
            return ()
        found = {*self._partitions.names, *(name for piece in self._opened for name in piece.fields)}
        return [name for name in self.known if name not in found]

    @cached_property
    def _opened(self) -> Sequence[_Piece]:
        return [self._open(path) for path in self.paths]

    @cached_property
    def _pieces(self) -> Sequence[_Piece]:
        import pyarrow

        pieces = self._opened
        fields = [field for piece in pieces for field in piece.fields.values()]
        pieces = [self._fill_structs(piece, fields) for piece in pieces]
        if self.format == "json_lines":  # an object without a key has no value, in one file or in another
            kinds = dict.fromkeys((name for piece in pieces for name in piece.fields), pyarrow.null())
            kinds |= {name: self.known[name] for name in self.absent}
            pieces = [_add_gaps(piece, kinds) for piece in pieces]
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


def _add_gaps(piece: _Piece, kinds: Mapping[str, pyarrow.DataType]) -> _Piece:
    """A file with columns of gaps for those that it doesn't have.

    Args:
        piece: the file.
        kinds: the types of all columns by name.
    """
    import pyarrow

    added = {name: Field((name,), kind) for name, kind in kinds.items() if name not in piece.fields}

    def read(field: Field) -> pyarrow.ChunkedArray:
        if field in added.values():
            return pyarrow.chunked_array([pyarrow.nulls(piece.rows, field.type)])
        return piece.read(field)

    return piece._replace(fields={**piece.fields, **added}, read=read) if added else piece


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
