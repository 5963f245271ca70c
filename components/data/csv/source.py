"""The source for CSV files."""

from __future__ import annotations

import codecs
import dataclasses
import itertools
import os
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, cast

import numpy as np

from components.cache_folder import name_addresses
from components.closest import join_names, suggest_name
from components.columns import ALL, READING_OPTIONS, merge_options
from components.data.bad_rows import BadRowsError
from components.data.csv.dialect import CsvFile, JoinedFile
from components.data.csv.errors import name_character
from components.data.csv.options import check_different, check_names, check_strip
from components.data.csv.reader import Columns, Reader
from components.data.csv.selection import Nameless
from components.data.csv.text_table import TextTable
from components.data.files import hash_texts
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.partitions import Partitions
from components.data.profile import is_whole
from components.data.table_paths import common_folder, find_table_files, make_tuples_of_paths, name_files
from components.input_files import Paths, describe_paths, find_paths, hash_file
from components.remote import is_remote
from components.types import DataError, Range, TableProfile

ENCODINGS = ("utf-8", "utf-16", "latin1", "cp1252", "cp1250", "cp1251", "mac_roman", "shift_jis", "gb18030", "big5")


@dataclass(frozen=True, kw_only=True, eq=False)
class FileTable(TextTable):
    """A table in a file, or in several.

    Attributes:
        path: the file, or several that are one table: a list; a pattern such as `shards/*.csv`, or with `**` for any
            folders; or a folder, of which all files that end in .csv or .tsv, packed or not, are read, also in folders
            below, but for names that start with `.` or `_`. The files of a pattern or a folder are in the order of
            their paths. All have the same columns in the same order. Folders named `year=2020` are the column `year`. A
            relative path is looked up below $TITRATE_DATA, then below the working folder. A URI, such as
            `s3://bucket/*.csv` or `https://host/x.csv`, is fetched into the cache folder.
        valid: the rows of the validation split: a share in (0, 1), a count from 1, or one or several files, as in
            `path`, which are read like those. None: 0.15.
        test: the rows of the test split, likewise. None: 0.15; with `split_by` 0.2.
    """

    path: str | tuple[str, ...]

    def __post_init__(self) -> None:
        make_tuples_of_paths(self, "path", "valid", "test")
        super().__post_init__()

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The files. Raises DataError if there is none."""

    @property
    def location(self) -> str:
        """The absolute path or the address of the file; of several files the path as written, and their number."""
        files, label = self.files, self.label
        if isinstance(self.path, str) and find_paths(self.path) == [*files] and len(files) == 1:
            return name_addresses(str(files[0]))
        folder, count = common_folder(files), f"{len(files):,} file{'s' if len(files) > 1 else ''}"
        is_here = folder.resolve().is_relative_to(Path.cwd().resolve())
        return f"{label if is_remote(label) or is_here else folder} ({count})"

    @abstractmethod
    def _open_given(self, path: Paths) -> TextTable:
        """Opens the files of the validation or test split, which is read like this one."""

    @abstractmethod
    def _digest_given(self, path: Paths) -> str:
        """A digest of the content of such files."""

    @abstractmethod
    def _count_rows_of_files(self) -> Sequence[int]:
        """The number of rows of each file of `path`, also of those that are left out."""

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file, over all parts, also of those that are left out."""
        return [size for table in self.tables.values() for size in cast(FileTable, table)._count_rows_of_files()]

    @property
    @abstractmethod
    def _content_digest(self) -> str:
        """A digest of the content of the file, and of the options with which it is read."""

    @property
    def label(self) -> str:
        return describe_paths(self.path)

    @cached_property
    def tables(self) -> Mapping[str, TextTable]:
        files = {name: path for name in ("valid", "test") if isinstance(path := getattr(self, name), str | tuple)}
        given = {name: self._open_given(path) for name, path in files.items()}
        return {"train" if files else "all": self, **given}

    def profile(self) -> TableProfile:
        """The facts about the columns. Raises DataError for a column with values and without a name."""
        profile = super().profile()
        row_numbers = {column.name for column in profile.columns if not column.name.strip() and column.counts_rows}
        for nameless in self.table.nameless:
            is_allowed = nameless.name in (*row_numbers, *self._declared_types, *self._targets)
            if nameless.record is not None and not is_allowed:
                raise self._make_nameless_error(nameless)
        is_file_here = os.path.isfile(os.path.expanduser(self.label))  # and not only below $TITRATE_DATA
        return profile if is_file_here else replace(profile, origin=self.location)

    def _make_nameless_error(self, nameless: Nameless) -> DataError:
        assert nameless.record is not None
        location = f"{self.label}, {self.reader.file.locate(nameless.record)}"
        name = "no name" if not nameless.name else f"the blank name {nameless.name!r}"
        fault = f"column {nameless.position} of {self.label} has {name}, but values"
        return DataError(
            f"{fault}: the first is {str(nameless.example)!r} ({location}). Name it in the first line, or list its "
            f"name, {nameless.name!r}, in `drop`."
        )

    def content_digest(self) -> str:
        others = [paths for paths in (self.valid, self.test) if isinstance(paths, str | tuple)]
        return ", ".join([self._content_digest, *map(self._digest_given, others)])

    def find_file_errors(self, columns: Columns) -> tuple[BadRowsError, ...]:
        has_others = any(isinstance(part, str | tuple) for part in (self.valid, self.test))
        return self.find_file_errors_of("train" if has_others else "all", columns)

    def find_file_errors_of(self, part: str, columns: Columns) -> tuple[BadRowsError, ...]:
        """The errors of rows of a part whose files can't be read."""
        return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenFile(FileTable):
    """A file of the validation or test split, which is read like the training file.

    Attributes:
        training: the training file. Columns that it doesn't have are left out.
    """

    training: FileTable

    @property
    def has_all_classes(self) -> bool:
        return False

    @property
    def required_columns(self) -> tuple[str, ...]:
        return self.training.required_columns

    @cached_property
    def used_columns(self) -> Collection[str] | None:
        used = self.training.used_columns
        return self.training.table.values.keys() if used is None else used

    @cached_property
    def class_separators(self) -> Mapping[str, str | None]:
        return self.training.class_separators

    def _find_wrong_names(self, names: Collection[str]) -> Iterator[str]:
        return iter(())  # the options are those of the training file, which has found them

    def list_training_classes(self, name: str) -> set[str]:
        return self.training.list_classes(name, self.training.table)

    def find_file_errors(self, columns: Columns) -> tuple[BadRowsError, ...]:
        part = next(part for part in ("valid", "test") if getattr(self.training, part) == self.path)
        return self.training.find_file_errors_of(part, columns)

    @classmethod
    def like(cls, training: FileTable, path: Paths) -> Self:
        """Opens files that are read like the training file."""
        names = {field.name for field in dataclasses.fields(cls)} - {"training"}
        options = {name: getattr(training, name) for name in sorted(names)}
        columns: dict[str, Literal["int", "float"] | None] = dict.fromkeys(training.table.types, "float")
        options_found = training.inferred_options(columns)
        inferred = {name: value for name, value in options_found.items() if name in READING_OPTIONS}
        reading = {name: options[name] for name in READING_OPTIONS if options[name] is not None}
        for name, value in reading.items():
            if isinstance(value, dict):  # without columns that are dropped
                reading[name] = {key: item for key, item in value.items() if key in (*columns, ALL)}
        options |= merge_options(inferred, reading)
        return cls(**options | {"path": path, "valid": None, "test": None, "drop": (), "training": training})

    def select_columns(self, columns: Columns) -> Columns:
        """The columns that the training file has, with its types. Raises DataError for one that isn't there."""
        types = self.training.table.types
        if missing := [name for name in types if name not in columns.types]:
            remedy = "Add the column" if missing[0] in self._targets else "Add the column, or list it in `drop`"
            raise DataError(
                f"{self.label} has no column `{missing[0]}`, which {self.training.label} has. {remedy}. "
                f"Columns: {join_names(columns.types)}."
            )
        # Columns of lists, arrays or bytes have no type.
        names = [name for name in self.training.table.values if name in types or name in columns.values]
        values = {name: columns.values[name] for name in names}
        for name, kind in types.items():  # whole numbers may be codes, for which 1.0 isn't 1
            if kind == "int" and columns.types[name] == "float":
                values[name] = _as_integers(np.asarray(values[name]), columns.valid.get(name))
        valid = {name: mask for name, mask in columns.valid.items() if name in values}
        return columns._replace(values=values, valid=valid, types={name: columns.types[name] for name in types})


@dataclass(frozen=True, kw_only=True, eq=False)
class Csv(FileTable):
    """CSV files, plain or packed with gzip, bzip2, xz or Zstandard. The first line of each has the column names, unless
    `names` has them.

    A column of text is `Strings`; a column of times is datetime64. Empty lines aren't rows. A character may be written
    as itself or by its name: `tab`, `semicolon`, `pipe`, `comma`, `point`, `space`, `apostrophe`, `underscore`, `hash`,
    `percent`, `backslash`, `double_quote`, `single_quote`.

    Attributes:
        delimiter: the character between fields. A comma is replaced by the character of a first line such as `sep=;`.
        quote: the character around fields that contain delimiters, quotes or line breaks. A quote within a quoted field
            is written twice. None: no field is quoted.
        escape: the character before a delimiter or quote that is part of a field. None: there is none. With a
            backslash, a field `\\N` is empty, as in files of MySQL.
        comment: lines that start with this character are skipped. None: there are no comments.
        encoding: a text encoding of Python, such as utf-16 or cp1252.
        names: the names of the columns, if the files have no line of them. None: the first line has them.
        strip: characters that are removed at both ends of each field, such as blanks, as Python's `str.strip` does. It
            needs `quote=null`. None: fields are read as they are.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes (10^9 bytes).
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    encoding: str = "utf-8"
    names: tuple[str, ...] | None = None
    strip: str | None = None
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        dialect = {name: self._character(name) for name in ("delimiter", "quote", "escape", "comment")}
        given = {name: character for name, character in dialect.items() if character is not None}
        check_different(given)
        check_encoding(self.encoding)
        if self.names is not None:
            object.__setattr__(self, "names", check_names(self.names, given.values()))
        if self.strip is not None:
            check_strip(self.strip, given)
        super().__post_init__()

    @cached_property
    def files(self) -> tuple[Path, ...]:
        return find_table_files(self.path)

    @cached_property
    def file(self) -> CsvFile:
        """The file and its dialect, or several files that are joined; raises DataError if there is none."""
        names, partitions = name_files(self.files), Partitions(self.files)
        parts = tuple(
            CsvFile(
                PackedFile(file, self.max_unpacked_gb),
                self._character("delimiter") or ",",
                self._character("quote"),
                self._character("escape"),
                self._character("comment"),
                self.encoding,
                names=self.names or (),
                strip=self.strip or "",
                added_fields=tuple((name, text or "") for name, text in values.items()),
            )
            for file, values in zip(self.files, partitions.values, strict=True)
        )
        if names == (os.path.basename(self.label),):
            return parts[0]
        joined = JoinedFile(parts, names, self.label)
        # The parts are read by the other options.
        dialect = replace(parts[0], encoding="utf-8", names=(), strip="", added_fields=())
        return replace(dialect, file=joined, delimiter=parts[0].field_delimiter)

    @cached_property
    def reader(self) -> Reader:
        reader = self._make_reader(self.file, self._declared_types, self.drop)
        return replace(reader, check_names=self._check_names)

    def _count_rows_of_files(self) -> Sequence[int]:
        return [part.count_rows() for part in self.file.parts]

    def _open_given(self, path: Paths) -> TextTable:
        return _GivenCsv.like(self, path)

    def _digest_given(self, path: Paths) -> str:
        files = find_table_files(path)
        return _hash_files(files) + Partitions(files).describe()

    @property
    def text_names(self) -> Collection[str]:
        return self.table.types.keys()

    def read_columns(self) -> Columns:
        import pyarrow

        self._check_first_line()
        columns = self.read_with_skipping()
        pyarrow.default_memory_pool().release_unused()  # what was read of the file, besides the columns
        if not columns.rows:
            raise DataError(f"{self.label} has no rows{'' if self.names else ' below the names of its columns'}")
        return columns

    def _check_first_line(self) -> None:
        """Raises DataError if the first line has the names that an option has, or that a folder has."""
        partitions = Partitions(self.files)
        for part in self.file.parts:
            part = replace(part, added_fields=())
            if partitions.names:
                partitions.check_names(part.read_header().names, str(part))
            if self.names is None:
                continue
            with part.open_records() as reader:
                records = itertools.islice(filter(None, reader), 2)  # the names that were added, and the first line
                if [*records] == [[*self.names]] * 2:
                    raise DataError(f"the first line of {part} has the names of the columns; set `names=null`")

    @property
    def inferred_dialect(self) -> dict[str, str]:
        options = super().inferred_dialect
        if self.file.field_delimiter != self._character("delimiter"):
            options = {"delimiter": name_character(self.file.field_delimiter), **options}
        return options

    @cached_property
    def _content_digest(self) -> str:
        digest = _hash_files(self.files) + Partitions(self.files).describe()
        # This form and these texts are those of earlier versions, whose runs know the digest.
        nulls = EARLIER_NULLS if self.nulls is None else self.nulls
        types = sorted((self.types or {}).items())
        text = f"{digest}, self.delimiter={self._character('delimiter')!r}, self.{nulls=}, {types}"
        options = {name: getattr(self, name) for name in LATER_OPTIONS if getattr(self, name) != DEFAULTS[name]}
        required = f", only rows with {self._targets}" if self.on_missing_target == "drop" else ""
        return (f"{text}, {sorted(options.items())}" if options else text) + required

    def _locate(self, row: int) -> str:
        record = int(self._find_records(np.array([row]))[0])
        return f"{self.label}, {self.reader.file.locate(record)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class _GivenCsv(GivenFile, Csv):
    """A CSV file of the validation or test split."""

    def read_columns(self) -> Columns:
        return self.select_columns(super().read_columns())


def _as_integers(numbers: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Numbers as int64, if all are whole. A missing one is 0."""
    present = np.where(True if valid is None else valid, numbers, 0)
    return present.astype(np.int64) if is_whole(present).all() else numbers


DEFAULTS = {field.name: field.default for field in dataclasses.fields(Csv)}
EARLIER_NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")
LATER_OPTIONS = (
    *("quote", "escape", "comment", "encoding", "decimal", "thousands", "dates", "marks", "drop"),
    *("names", "strip"),
)


def check_encoding(encoding: str) -> None:
    """Raises DataError unless Python can decode a text in the encoding piece by piece."""
    try:
        known = codecs.lookup(encoding)._is_text_encoding
        known = known and codecs.getincrementaldecoder(encoding)().decode(b"", final=True) == ""
    except (LookupError, UnicodeError):
        known = False
    if not known:
        raise DataError(
            f"`encoding` (={encoding}) is not a text encoding of Python. {suggest_name(encoding, ENCODINGS)}"
        )


def _hash_files(files: Sequence[Path]) -> str:
    """A digest of the content of files, which are in this order."""
    digests = [hash_file(file, digest_size=16).hexdigest() for file in files]
    return digests[0] if len(digests) == 1 else hash_texts(digests)
