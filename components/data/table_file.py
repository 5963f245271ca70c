"""The source for tables in files of any format. The first bytes of a file show its format."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import numpy as np

from components.arrow import is_bytes
from components.closest import join_names, suggest_name
from components.columns import Columns as RawColumns
from components.data.column_store import ColumnStore
from components.data.csv.errors import GIT_LFS_POINTER, format_option_key
from components.data.csv.reader import Columns
from components.data.csv.selection import take_rows
from components.data.csv.source import Csv, FileTable, GivenFile
from components.data.csv.text_table import TextTable
from components.data.file_columns import FileColumns
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.splitting import KEY_OPTIONS, SPLIT_NAMES
from components.data.table_formats import find_format
from components.data.table_paths import (
    CSV_NAME,
    check_no_split,
    find_table_files,
    list_folder,
    make_mixed_error,
    name_files,
)
from components.data.tfrecord.columns import ExampleColumns, is_zlib_record
from components.data.tfrecord.layout import BytesAs, Layout, find_layout, format_shape
from components.data.typed_table import TypedTable
from components.file_formats import FORMAT_NAMES, FileFormat, find_suffix
from components.hugging_face import list_saved_files, list_saved_splits
from components.input_files import Paths, describe_paths, find_paths
from components.types import Block, ColumnType, DataError, LazyColumns, Ragged, Range, Strings, Values, row_count

if TYPE_CHECKING:
    import pyarrow

START_BYTES = 1 << 12  # of a file, to recognize its format
SHOWN_BYTES = 20  # of a file of another format, in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredTable(TypedTable):
    """A table whose columns are stored somewhere, and are read one by one when they are used."""

    @property
    @abstractmethod
    def _store(self) -> ColumnStore:
        """The columns."""

    @property
    def reads_used_columns(self) -> bool:
        return True

    @property
    def kept_attributes(self) -> tuple[str, ...]:
        return ("_store",)

    @cached_property
    def _stored(self) -> Mapping[str, Any]:
        return _StoredColumns(self._store)

    @cached_property
    def _content_digest(self) -> str:
        """A digest of the rows, and of the options with which they are read."""
        options = (self._declared_types, self.nulls, self.dates, self.marks, self.decimal, self.thousands, self.drop)
        required = self._targets if self.on_missing_target == "drop" else ()
        return f"{self._store.digest()}, {options}, {required}"

    @property
    def _categories(self) -> Collection[str]:
        import pyarrow

        types = {name: self._store.types[name] for name in self._raw.values}
        return [name for name, kind in types.items() if pyarrow.types.is_dictionary(kind) and name not in self._files]

    @property
    def _used_names(self) -> Collection[str] | None:
        """The columns that are read. None: all but those that `drop` lists."""
        if self.used_columns is None:
            return None
        return {*self.used_columns, *self._targets, *self.required_columns}.difference(self.drop)

    @cached_property
    def _raw(self) -> RawColumns:
        names, used = [name for name in self._store.types if name not in self.drop], self._used_names
        if used is not None:
            names = [name for name in names if name in used] or names[:1]  # rows are counted in one of them
        values, valid = dict[str, Values](), dict[str, np.ndarray]()
        for name in names:
            values[name], mask = self._store.convert(name)
            valid |= {} if mask is None else {name: mask}
        return RawColumns(values, valid)

    def blocks(self, part: str) -> Iterator[Block]:
        for block in super().blocks(part):
            yield block
            cast(StoredTable, self.tables[part])._store.release()

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        """Makes a block of rows. A column that isn't used is read when it is asked for, without reading its texts."""
        table = cast(StoredTable, self.tables[part])
        block = dataclasses.replace(super().make_block(part, columns, first_row), files=table._files)
        others = [name for name in table._store.types if name not in columns and name not in self.drop]
        if not others:
            return block
        rows = np.arange(first_row, first_row + row_count(next(iter(columns.values()))))
        readers = {name: partial(table._read_unused, name) for name in others}
        return dataclasses.replace(block, columns=LazyColumns(columns, readers, rows))

    def _read_unused(self, name: str, rows: np.ndarray) -> Values:
        """Some rows of a column that isn't used. It has no mask: a missing text, whole number or boolean is None."""
        values, valid = self._store.convert(name)
        numbers = self._find_numbers(rows)
        taken = cast(Values, take_rows(values, numbers))
        if (
            valid is None
            or name in self._files
            or isinstance(taken, Ragged)
            or (isinstance(taken, np.ndarray) and taken.dtype.kind not in "iub")
        ):
            return taken
        objects = np.array(taken.tolist(), object)
        objects[~valid[numbers]] = None
        return objects

    def key_columns(self) -> Iterator[tuple[Mapping[str, Values], Mapping[str, np.ndarray]]]:
        """The columns that may decide about splits. Bytes, such as hashes, are objects, since they are no texts."""
        keys = {self.class_column, *(getattr(self, option) for option in KEY_OPTIONS)}
        for columns, masks in super().key_columns():
            packed = {name: cast(Strings, columns[name]) for name in keys & columns.keys() if name in self._files}
            objects = {name: np.array([*texts.iterate_bytes()], object) for name, texts in packed.items()}
            yield {**columns, **objects}, masks

    @cached_property
    def _files(self) -> Set[str]:
        return _BytesNames(self._store, self.drop)

    def _locate(self, row: int) -> str:
        return f"{self.label}, {self._store.locate(int(self._find_numbers(np.array([row]))[0]))}"

    def _locate_number(self, number: int) -> str:
        return self._store.locate(number)


class _BytesNames(Set[str]):
    """The names of the columns of bytes in a store. The type of a column is found when its name is looked up."""

    def __init__(self, store: ColumnStore, drop: Collection[str]) -> None:
        self._store, self._drop = store, drop

    def __contains__(self, name: object) -> bool:
        return name not in self._drop and name in self._store.types and is_bytes(self._store.types[str(name)])

    def __iter__(self) -> Iterator[str]:
        return filter(self.__contains__, self._store.types)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _StoredColumns(Mapping[str, Any]):
    """The columns of a store as Arrow has them. A column is read when it is looked up."""

    def __init__(self, store: ColumnStore) -> None:
        self._store = store

    def __getitem__(self, name: str) -> pyarrow.ChunkedArray:
        if name not in self._store.types:
            raise KeyError(name)
        return self._store.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.types)

    def __len__(self) -> int:
        return len(self._store.types)


@dataclass(frozen=True, kw_only=True, eq=False)
class TypedFile(StoredTable, FileTable):
    """A table in files whose columns have types: Parquet, Arrow, ORC or JSON lines. See `TableFile`."""

    max_unpacked_gb: float = MAX_UNPACKED_GB
    records: Literal["example", "raw"] = "example"
    shapes: dict[str, tuple[Annotated[int, Range(1)] | None, ...]] | None = None
    bytes_as: dict[str, BytesAs] | None = None

    @cached_property
    def _store(self) -> FileColumns | ExampleColumns:
        return self._open_store(self.path)

    def _open_store(self, path: Paths) -> FileColumns | ExampleColumns:
        files, format = find_files(path), cast(FileFormat, _find_format(path))
        if self.records == "raw" and format != "tfrecord":
            raise _make_option_error("records", self.records, "TFRecord", self.label, format)
        if format == "tfrecord":
            return ExampleColumns(
                self.label,
                files,
                name_files(files),
                layouts=self._layouts,
                training=self._training_records,
                used=self._used_names,
                known=self.known_columns,
                raw=self.records == "raw",
                max_unpacked_gb=self.max_unpacked_gb,
            )
        shapes = {name: tuple(shape) for name, shape in (self.shapes or {}).items() if shape}
        return FileColumns(
            self.label, files, name_files(files), format, self.max_unpacked_gb, self.known_columns, shapes
        )

    @property
    def passed_attributes(self) -> tuple[str, ...]:
        return (*super().passed_attributes, "known_columns", "_absent_types")

    @property
    def _training_records(self) -> ExampleColumns | None:
        """The training records, if these are others."""
        return None

    @cached_property
    def known_columns(self) -> Mapping[str, pyarrow.DataType]:
        """The columns that the training rows have, with their types, if these rows are others."""
        return {}

    @cached_property
    def _absent_types(self) -> Mapping[str, ColumnType]:
        """The types of some columns, if no row has them."""
        return {}

    def with_known_columns(
        self, names: Collection[str], types: Mapping[str, ColumnType] | None = None, lists: Collection[str] = ()
    ) -> Self:
        import pyarrow

        gaps, lists_of_gaps = pyarrow.null(), pyarrow.large_list(pyarrow.null())
        if self.known_columns.keys() >= {*names} and not any(
            name in lists and self.known_columns[name] == gaps for name in self._store.absent
        ):
            return self  # nothing is read twice
        source = self.renew()
        known = {name: lists_of_gaps if name in lists else gaps for name in sorted(names)}
        source.__dict__.update(known_columns=known, _absent_types=types or {})
        return source

    @property
    def _declared_types(self) -> dict[str, ColumnType]:
        absent = {name: kind for name, kind in self._absent_types.items() if name in self._store.absent}
        return absent | super()._declared_types

    def reading_notes(self, columns: Collection[str], *, declared: bool) -> tuple[str, ...]:
        notes = [*super().reading_notes(columns, declared=declared)]
        for table in self.tables.values():
            absent = table._store.absent if isinstance(table, StoredTable) else ()
            if names := [name for name in absent if name in columns]:
                notes.append(f"{table.label}: no row has a value of {join_names(names)}, so all have gaps")
        return tuple(notes)

    @property
    def _layouts(self) -> Mapping[str, Layout]:
        """How the values of some features of TFRecord files are kept."""
        shapes, bytes_as = self.shapes or {}, self.bytes_as or {}
        names = dict.fromkeys([*shapes, *bytes_as])
        return {name: Layout(tuple(shapes[name]) if name in shapes else None, bytes_as.get(name)) for name in names}

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> dict[str, Any]:
        options = super().inferred_options(columns)
        if not isinstance(store := self._store, ExampleColumns):
            return options
        found = {name: store.found_layout(name) for name in store.types if name in columns}
        layouts = {name: layout for name, layout in found.items() if layout is not None}
        shapes = {name: [*layout.shape] for name, layout in layouts.items() if layout.shape is not None}
        bytes_as = {name: layout.bytes_as for name, layout in layouts.items() if layout.bytes_as is not None}
        return options | {"shapes": shapes, "bytes_as": bytes_as}

    def _find_wrong_names(self, names: Collection[str]) -> Iterator[str]:
        yield from super()._find_wrong_names(names)
        if self.known_columns and {*self._store.absent} == self.known_columns.keys():
            found = join_names(name for name in names if name not in self.known_columns)
            yield (
                f"{self.label} has no column that the run reads: none of {join_names(self.known_columns)}. Columns: "
                f"{found}."
            )
        for option in ("shapes", "bytes_as"):
            for name in getattr(self, option) or ():
                if name not in (*names, *self.drop):
                    yield f"{self.label} has no feature `{name}`, which `{option}` lists. {suggest_name(name, names)}"
        if not isinstance(self._store, ExampleColumns):
            yield from _find_other_layouts(
                self.label, self._store.types, self._layouts, is_new=bool(self.known_columns)
            )

    @property
    def files(self) -> tuple[Path, ...]:
        return find_files(self.path)

    def _count_rows_of_files(self) -> Sequence[int]:
        return self._store.file_sizes

    def _open_given(self, path: Paths) -> TextTable:
        return _GivenTypedFile.like(self, path)

    def _digest_given(self, path: Paths) -> str:
        return self._open_store(path).digest()


def _find_other_layouts(
    label: str, types: Mapping[str, pyarrow.DataType], layouts: Mapping[str, Layout], *, is_new: bool
) -> Iterator[str]:
    """Sentences about columns of other files than TFRecord that can't have the layout that is declared.

    Args:
        label: the name of the table.
        types: the types of its columns.
        layouts: the declared layouts.
        is_new: whether the layouts are those of the training rows, whose numbers may have been texts or tensors.
    """
    for name in layouts.keys() & types:
        declared, found = layouts[name], find_layout(types[name], Layout())
        if declared.shape is not None and len(declared.shape) != len(found.shape or ()):
            yield (
                f"{label}: column `{name}` has the shape {format_shape(found.shape or ())}, and `shapes` declares "
                f"{format_shape(declared.shape)}. Declare the same number of axes, or leave out "
                f"`{format_option_key('shapes', name)}`."
            )
        if declared.bytes_as not in (None, found.bytes_as) and not (is_new and found.bytes_as is None):
            yield (
                f"{label}: column `{name}` is {found.bytes_as or types[name]}, and `bytes_as` declares "
                f"{declared.bytes_as}, which it does for TFRecord files only. Leave out "
                f"`{format_option_key('bytes_as', name)}`."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class _GivenTypedFile(GivenFile, TypedFile):
    """A file of the validation or test split."""

    @property
    def _training_records(self) -> ExampleColumns | None:
        return self._training_store if isinstance(self._training_store, ExampleColumns) else None

    @property
    def _training_store(self) -> ColumnStore | None:
        return self.training._store if isinstance(self.training, TypedFile) else None

    @cached_property
    def known_columns(self) -> Mapping[str, pyarrow.DataType]:
        types, used = {} if self._training_store is None else self._training_store.types, self._used_names
        return {name: types[name] for name in types if used is None or name in used}

    def read_columns(self) -> Columns:
        return self.select_columns(super().read_columns())


@dataclass(frozen=True, kw_only=True, eq=False)
class TableFile(Csv):
    """A table in one or several files of one format: CSV, Parquet, Arrow (Feather), ORC, JSON lines, TFRecord
    or ArrayRecord.

    The first bytes of a file show its format. Texts are read as in CSV files: as numbers, times or booleans where all
    are such. Other columns keep their types. Of a file that isn't CSV, only the columns that are used are read, and
    those beyond 134 MB in all are kept in temporary files. Folders named `year=2020` are columns.

    `path` is a file, a pattern such as `shards/*.parquet`, a list of these, or a folder: all files in it and in the
    folders below are the table, but for names that start with `.` or `_`, and have one format. It may be a folder of
    Hugging Face's `save_to_disk`, whose splits are then `valid` and `test`. The options `delimiter`, `quote`, `escape`,
    `comment`, `encoding`, `names` and `strip` are for CSV files.

    A TFRecord or ArrayRecord file has an Example or a SequenceExample in each record. A feature with at most one value
    in each record is a column of numbers or texts; one with equally many values in all, of arrays; any other one, of
    lists. Bytes that aren't UTF-8 stay bytes, such as images.

    Attributes:
        path: the file, or several that are one table: a list; a pattern such as `shards/*.parquet`, or with `**` for
            any folders; or a folder, of which all files are read, also in folders below, but for names that start with
            `.` or `_`. The files of a pattern or a folder are in the order of their paths. All have one format and the
            same columns. Folders named `year=2020` are the column `year`. A relative path is looked up below
            $TITRATE_DATA, then below the working folder. A URI, such as `s3://bucket/*.parquet`, is fetched into the
            cache folder.
        delimiter: of CSV files, the character between fields. A comma is replaced by the character of a first line such
            as `sep=;`.
        quote: of CSV files, the character around fields that contain delimiters, quotes or line breaks. A quote within
            a quoted field is written twice. None: no field is quoted.
        escape: of CSV files, the character before a delimiter or quote that is part of a field. None: there is none.
            With a backslash, a field `\\N` is empty, as in files of MySQL.
        comment: of CSV files, lines that start with this character are skipped. None: there are no comments.
        encoding: of CSV files, a text encoding of Python, such as utf-16 or cp1252.
        names: of CSV files, the names of the columns, if the files have no line of them. None: the first line has them.
        strip: of CSV files, characters that are removed at both ends of each field, such as blanks, as Python's
            `str.strip` does. It needs `quote=null`. None: fields are read as they are.
        records: of TFRecord files, what a record is: an `example`, or `raw` bytes, the value of the column `record`.
        shapes: the shapes of the rows of some columns of lists or arrays, but not of CSV files: `[28,28]`, an array;
            `[null]`, a list; `[null,2]`, a list of arrays; `[null,null]`, a list of lists, of which each is a feature
            of a SequenceExample in TFRecord files. `[]` is one value or a gap of TFRecord files. None: the shapes that
            all records of TFRecord files show, and the types of the columns of other files.
        bytes_as: of TFRecord files, what the bytes of some features are: `text`, `bytes` such as images, or a `tensor`
            that `tf.io.serialize_tensor` wrote. None: texts, if all are UTF-8, else bytes.
    """

    records: Literal["example", "raw"] = "example"
    shapes: dict[str, tuple[Annotated[int, Range(1)] | None, ...]] | None = None
    bytes_as: dict[str, BytesAs] | None = None

    def open(self) -> FileTable:
        """The source for the format of the file: `Csv` or `TypedFile`.

        Raises:
            DataError: there is no such file, or an option is for CSV files and the file has another format.
        """
        if splits := self._find_saved_splits():
            return dataclasses.replace(self, **splits).open()
        format = _find_format(self.path)
        self._check_given(format)
        kind: type[FileTable] = Csv if format is None else TypedFile
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if kind is Csv:  # whose columns are texts, as some features of a run's TFRecord files may be
            options["shapes"] = {name: shape for name, shape in (self.shapes or {}).items() if shape} or None
            options["bytes_as"] = {name: kind for name, kind in (self.bytes_as or {}).items() if kind != "text"} or None
        known = {field.name for field in dataclasses.fields(kind)}
        for field in dataclasses.fields(self):
            if field.name not in known and (value := options.pop(field.name)) != field.default:
                raise _make_option_error(field.name, value, "TFRecord" if kind is Csv else "CSV", self.label, format)
        return kind(**options)

    def _check_given(self, format: FileFormat | None) -> None:
        """Raises DataError if the files of another split have another format."""
        for option in ("valid", "test"):
            if isinstance(paths := getattr(self, option), str | tuple) and (other := _find_format(paths)) != format:
                raise DataError(
                    f"`{option}` (={describe_paths(paths)}) is {FORMAT_NAMES[other]}, but {self.label} is "
                    f"{FORMAT_NAMES[format]}. Save both in one format."
                )

    def _find_saved_splits(self) -> dict[str, Any]:
        """The folders of a `DatasetDict` of Hugging Face by option, if `path` is the folder of one."""
        path = self.path if isinstance(self.path, str) else ""
        folder = find_paths(path)[0] if path else Path()
        if not path or not (names := list_saved_splits(folder)):
            return {}
        parts = {name: SPLIT_NAMES.get(name.lower(), "") for name in names}
        example = f"`path={path}/{names[0]}`, and `valid` and `test` likewise"
        if sorted(parts.values()) != sorted({*parts.values()} - {""}) or "train" not in parts.values():
            raise DataError(f"{folder} has the splits {join_names(names)}. Choose the folders: {example}")
        end = "/" if path.endswith("/") else ""  # which shows that a URI is a folder
        folders = {part: f"{path.rstrip('/')}/{name}{end}" for name, part in parts.items()}
        options = {"path": folders.pop("train"), **folders}
        for option in options.keys() - {"path"}:
            if (value := getattr(self, option)) is not None:
                raise DataError(
                    f"`{option}` (={value}) is set, and {folder} has this split. Leave it out, or choose the folders: "
                    f"{example}"
                )
        return options


def _find_format(paths: Paths) -> FileFormat | None:
    """The format of all files of a table. None: CSV, or an unknown one.

    Raises:
        DataError: there is no such file, or the files have several formats.
    """
    files = find_files(paths)
    formats = {file: _read_format(file) for file in files}
    for file, found in formats.items():
        if found != formats[files[0]]:
            other = FORMAT_NAMES[found] if found else "CSV or of another format"
            first = FORMAT_NAMES[formats[files[0]]] if formats[files[0]] else "CSV or of another format"
            raise DataError(f"{files[0]} is {first}, but {file} is {other}. Save all in one format.")
    return formats[files[0]]


def _make_option_error(name: str, value: object, needed: str, label: str, found: FileFormat | None) -> DataError:
    if isinstance(value, dict):
        value = ", ".join(
            f"{key}: {each if isinstance(each, str) else format_shape(each)}" for key, each in value.items()
        )
    return DataError(
        f"`{name}` (={value}) is for {needed} files, but {label} is {FORMAT_NAMES[found]}. Leave out `{name}`."
    )


def _read_format(path: Path) -> FileFormat | None:
    """The format of a file. None: another one, such as CSV. Raises DataError for one that can't be packed, and is."""
    file = PackedFile(path)
    with file.open() as opened:
        start = opened.read(START_BYTES)
    format: FileFormat | None = "tfrecord" if is_zlib_record(start) else find_format(start)
    if format in ("parquet", "arrow", "orc") and (packing := file.find_packing()) is not None:
        raise DataError(
            f"{path} is {FORMAT_NAMES[format]} inside {packing}, which can't be read column by column. Unpack it."
        )
    if format is None and (named := find_suffix(path.name)) is not None:
        _check_text(path, start, FORMAT_NAMES[named])
    return format


def _check_text(path: Path, start: bytes, named: str) -> None:
    """Raises DataError for a file of an unknown format whose suffix is that of another format than CSV.

    Args:
        path: the file.
        start: its first bytes.
        named: the format that the suffix stands for.
    """
    if not start.strip():
        raise DataError(f"{path} is empty, and no {named} file. Write it again, or leave it out.")
    if start.startswith(GIT_LFS_POINTER):
        raise DataError(
            f"{path} is a pointer of Git LFS, and no {named} file. Fetch the file itself by `git lfs pull`."
        )
    if named == FORMAT_NAMES["json_lines"] and start.lstrip()[:1] in (b"{", b"["):
        return  # JSON, for which the reader has a remedy
    shown = start.lstrip().splitlines()[0][:SHOWN_BYTES].decode(errors="backslashreplace")
    raise DataError(
        f"{path} is no {named} file: it starts with {shown!r}. Write it again; or if it is CSV, choose data=csv, or "
        "rename it to .csv."
    )


def find_files(paths: Paths) -> tuple[Path, ...]:
    """The files of a table: as `find_table_files`, but a folder has all its files, which have one format."""
    return find_table_files(paths, _list_folder)


def _list_folder(path: str, folder: Path) -> Sequence[Path]:
    """The files of a table in a folder. Raises DataError if they have several formats."""
    if (saved := list_saved_files(folder)) is not None:
        return saved
    files, examples = list_folder(path, folder), dict[str, Path]()
    for file in files:
        format = _read_format(file)
        is_known = format is not None or CSV_NAME.fullmatch(file.name)
        examples.setdefault(FORMAT_NAMES[format] if is_known else "another format", file)
    if len(examples) > 1:
        examples = dict(sorted(examples.items(), key=lambda item: item[0] == "another format"))
        raise make_mixed_error(path, folder, examples)
    check_no_split(path, folder, files)
    return files
