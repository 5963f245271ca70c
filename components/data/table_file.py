"""The source for tables in files of any format. The first bytes of a file show its format."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import numpy as np

from components.closest import join_names
from components.columns import Columns as RawColumns
from components.data.column_store import ColumnStore, FileColumns
from components.data.csv.reader import Columns
from components.data.csv.selection import take_rows
from components.data.csv.source import Csv, FileTable, GivenFile
from components.data.csv.text_table import TextTable
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.splitting import SPLIT_NAMES
from components.data.table_formats import FORMAT_NAMES, FileFormat, find_format
from components.data.table_paths import check_no_split, find_table_files, name_files
from components.data.tfrecord.columns import ExampleColumns, is_zlib_record
from components.data.typed_table import TypedTable
from components.hugging_face import list_saved_files, list_saved_splits
from components.input_files import Paths, find_paths
from components.types import Block, DataError, LazyColumns, Range, Strings, Values, row_count

if TYPE_CHECKING:
    import pyarrow

START_BYTES = 1 << 12  # of a file, to recognize its format


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

    def with_used_columns(
        self,
        names: Collection[str],
        targets: Collection[str] = (),
        class_separators: Mapping[str, str | None] | None = None,
    ) -> Self:
        source = super().with_used_columns(names, targets, class_separators)
        if "_store" in self.__dict__:  # so that no column is read twice
            source.__dict__["_store"] = self._store
        return source

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

        return [name for name, kind in self._store.types.items() if pyarrow.types.is_dictionary(kind)]

    @cached_property
    def _raw(self) -> RawColumns:
        names = [name for name in self._store.types if name not in self.drop]
        if self.used_columns is not None:
            used = {*self.used_columns, *self._targets, *self.required_columns}
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
        columns = {name: _pack_files(values) if name in table._files else values for name, values in columns.items()}
        block = dataclasses.replace(super().make_block(part, columns, first_row), files=table._files)
        others = [name for name in table._store.types if name not in columns and name not in self.drop]
        if not others:
            return block
        rows = np.arange(first_row, first_row + row_count(next(iter(columns.values()))))
        readers = {name: partial(table._read_unused, name) for name in others}
        return dataclasses.replace(block, columns=LazyColumns(columns, readers, rows))

    def _read_unused(self, name: str, rows: np.ndarray) -> Values:
        """Some rows of a column that isn't used. A missing number is NaN."""
        values, valid = self._store.convert(name)
        numbers = self._find_numbers(rows)
        if valid is not None and isinstance(values, np.ndarray) and values.dtype.kind in "iub":
            return np.where(valid[numbers], values[numbers], np.nan)
        taken = cast(Values, take_rows(values, numbers))
        return _pack_files(taken) if name in self._files else taken

    @cached_property
    def _files(self) -> frozenset[str]:
        """The columns of bytes, such as images."""
        import pyarrow

        types = pyarrow.types
        kinds = self._store.types.items()
        return frozenset(
            name
            for name, kind in kinds
            if (types.is_binary(kind) or types.is_large_binary(kind)) and name not in self.drop
        )

    def _locate(self, row: int) -> str:
        return f"{self.label}, {self._store.locate(int(self._find_numbers(np.array([row]))[0]))}"

    def _locate_number(self, number: int) -> str:
        return self._store.locate(number)


def _pack_files(values: Values) -> Strings:
    """A column of bytes, in which a gap is empty."""
    return Strings.from_bytes([value or b"" for value in cast(np.ndarray, values)])


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
    shapes: dict[str, tuple[Annotated[int, Range(1)] | None, ...]] | None = None

    @cached_property
    def _store(self) -> ColumnStore:
        return self._open_store(self.path)

    def _open_store(self, path: Paths) -> ColumnStore:
        root, files = find_files(path)
        formats = {file: _read_format(file) for file in files}
        first = formats[files[0]]
        for file, found in formats.items():
            if found != first or found is None:
                other = FORMAT_NAMES[found] if found else "CSV or of another format"
                raise DataError(f"{files[0]} is {FORMAT_NAMES[first]}, but {file} is {other}. Save all in one format.")
        if self.shapes is not None and first != "tfrecord":
            raise DataError(f"`shapes` is for TFRecord files, but {self.label} is {FORMAT_NAMES[first]}. Leave it out.")
        if first == "tfrecord":
            shapes = {name: tuple(shape) for name, shape in (self.shapes or {}).items()}
            return ExampleColumns(
                self.label, files, name_files(files), shapes, self.max_unpacked_gb, self._training_examples
            )
        names = name_files(files)
        return FileColumns(self.label, files, names, cast(FileFormat, first), root, self.max_unpacked_gb)

    @property
    def _training_examples(self) -> ExampleColumns | None:
        """The training files of Examples, whose columns those of another split have."""
        return None

    @property
    def location(self) -> str:
        root, files = find_files(self.path)
        return str(root or files[0])

    @property
    def files(self) -> tuple[Path, ...]:
        """The files."""
        return find_files(self.path)[1]

    def _open_given(self, path: Paths) -> TextTable:
        return _GivenTypedFile.like(self, path)

    def _digest_given(self, path: Paths) -> str:
        return self._open_store(path).digest()


@dataclass(frozen=True, kw_only=True, eq=False)
class _GivenTypedFile(GivenFile, TypedFile):
    """A file of the validation or test split."""

    @property
    def _training_examples(self) -> ExampleColumns | None:
        store = self.training._store if isinstance(self.training, TypedFile) else None
        return store if isinstance(store, ExampleColumns) else None

    def read_columns(self) -> Columns:
        return self.select_columns(super().read_columns())


@dataclass(frozen=True, kw_only=True, eq=False)
class TableFile(Csv):
    """A table in one or several files of one format: CSV, Parquet, Arrow (Feather), ORC, JSON lines, TFRecord
    or ArrayRecord.

    The first bytes of a file show its format. Texts are read as in CSV files: as numbers, times or booleans where all
    are such. Other columns keep their types. Of a file that isn't CSV, only the columns that are used are read, and
    columns of more than 256 MB in all are kept in a temporary file. Folders named `year=2020` are columns.

    `path` is a file, a pattern such as `shards/*.parquet`, a list of these, or a folder: all files in it and in the
    folders below are the table; of CSV files, those in it that end in .csv or .tsv, packed or not. It may be a folder
    of Hugging Face's `save_to_disk`, whose splits are then `valid` and `test`. The options `delimiter`, `quote`,
    `escape`, `comment`, `encoding`, `names` and `strip` are for CSV files.

    A TFRecord or ArrayRecord file has an Example or a SequenceExample in each record. A feature with at most one value
    in each record is a column of numbers or texts; one with equally many values in all, of arrays; any other one, of
    lists. Bytes that aren't UTF-8 stay bytes, such as images.

    Attributes:
        shapes: of TFRecord files, the shapes of the values of some features: `[]`, one value or a gap; `[28,28]`, an
            array; `[null]`, a list; `[null,2]`, a list of arrays. None: the shapes that all records show.
    """

    shapes: dict[str, tuple[Annotated[int, Range(1)] | None, ...]] | None = None

    def open(self) -> FileTable:
        """The source for the format of the file: `Csv` or `TypedFile`.

        Raises:
            DataError: there is no such file, or an option is for CSV files and the file has another format.
        """
        if splits := self._find_saved_splits():
            return dataclasses.replace(self, **splits).open()
        _, files = find_files(self.path)
        format = _read_format(files[0])
        kind: type[FileTable] = Csv if format is None else TypedFile
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        known = {field.name for field in dataclasses.fields(kind)}
        for field in dataclasses.fields(self):
            if field.name not in known and (value := options.pop(field.name)) != field.default:
                needed, found = "TFRecord" if kind is Csv else "CSV", FORMAT_NAMES[format]
                raise DataError(
                    f"`{field.name}` (={value}) is for {needed} files, but {self.label} is {found}. Leave it out."
                )
        return kind(**options)

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
        options = {"path" if part == "train" else part: f"{path}/{name}" for name, part in parts.items()}
        for option in options.keys() - {"path"}:
            if (value := getattr(self, option)) is not None:
                raise DataError(
                    f"`{option}` (={value}) is set, and {folder} has this split. Leave it out, or choose the folders: "
                    f"{example}"
                )
        return options


def _read_format(path: Path) -> FileFormat | None:
    """The format of a file. None: another one, such as CSV."""
    with PackedFile(path).open() as opened:
        start = opened.read(START_BYTES)
    return "tfrecord" if is_zlib_record(start) else find_format(start)


def find_files(paths: Paths) -> tuple[Path | None, tuple[Path, ...]]:
    """The files of a table.

    Args:
        paths: a file, a pattern or a folder, or several of them.

    Returns:
        The folder, if it is one, and the files. Those of a pattern and of a folder are sorted by path. Names in a
        folder that start with `.` or `_` are left out.
    """
    root = find_paths(paths)[0] if isinstance(paths, str) else None
    return root if root is not None and root.is_dir() else None, find_table_files(paths, _list_folder)


def _list_folder(path: str, folder: Path) -> Sequence[Path]:
    if (saved := list_saved_files(folder)) is not None:
        return saved
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _is_hidden(file, folder))
    if not files:
        raise DataError(f"`path` (={path}) is a folder without files, {folder}")
    names = {str(file.relative_to(folder)): file.relative_to(folder).parts for file in files}
    check_no_split(path, folder, {name: parts[0].split(".")[0] for name, parts in names.items()})
    return files


def _is_hidden(file: Path, root: Path) -> bool:
    return any(part.startswith((".", "_")) for part in file.relative_to(root).parts)
