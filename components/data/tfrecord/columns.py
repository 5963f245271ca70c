"""The columns of a table in TFRecord files of Examples or SequenceExamples."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from components.arrow import convert_column, is_bytes, mask_column, to_arrow
from components.data import column_store
from components.data.column_store import ColumnStore, map_arrays
from components.data.csv.errors import format_option_key
from components.data.packed import MAX_UNPACKED_GB, ChunkReader, PackedFile
from components.data.partitions import Partitions
from components.data.tfrecord.batch import Kind
from components.data.tfrecord.framing import is_record, read_records
from components.data.tfrecord.layout import Layout, find_layout, to_column
from components.data.tfrecord.parts import Part, count_bytes, join_parts, make_gap, parse
from components.input_files import hash_file
from components.types import DataError, Remedy, Values

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 1 << 20


class _Column(NamedTuple):
    """A column, as `ColumnStore.convert` returns it, its type, and the error that it raises instead."""

    values: Values
    valid: np.ndarray | None
    type: pyarrow.DataType
    error: DataError | None = None


class _Parsed(NamedTuple):
    """The features of all records.

    Attributes:
        counts: the name of each file, and the number of its records.
        names: the features of any record.
        parts: the values of those that are read, in parts.
        is_large: whether these are kept on the disk.
    """

    counts: Sequence[tuple[str, int]]
    names: frozenset[str]
    parts: dict[str, list[Part]]
    is_large: bool


@dataclass(frozen=True, eq=False)
class ExampleColumns(ColumnStore):
    """A table in TFRecord files. Each record is an Example or a SequenceExample.

    A feature that has at most one value in each record is a column of numbers or texts, in which records without a
    value have gaps. One that has the same number of values in all records is a column of arrays, and any other one of
    lists. Bytes that aren't UTF-8 in all records, such as images, stay bytes. A list of features is a column of lists.

    The first pass over the files parses the features that are used. Other ones are skipped. One that is asked for later
    takes a pass of its own, and after this, all others take one.

    Attributes:
        label: the name of the table for messages.
        paths: the files, in the order of their rows.
        names: the names of the files for messages, if there are several.
        layouts: how the values of some features are kept.
        training: the records of the training split. Features that it has become columns of the same kinds, and where
            no record has one, its column has gaps. None: these are the training records.
        used: the features that are parsed at first. None: all.
        known: features whose columns have gaps where no record has them.
        raw: whether a record is only bytes, the value of the column `record`.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes.
    """

    label: str
    paths: Sequence[Path]
    names: Sequence[str]
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    training: ExampleColumns | None = None
    used: Collection[str] | None = None
    known: Collection[str] = ()
    raw: bool = False
    max_unpacked_gb: float = MAX_UNPACKED_GB

    @property
    def name(self) -> str:
        return self.label

    @cached_property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        return _Types(self._names, lambda name: self._find_column(name).type)

    @property
    def rows(self) -> int:
        return sum(self.file_sizes)

    @property
    def file_sizes(self) -> Sequence[int]:
        """The number of records of each file."""
        return [count for _, count in self._first.counts]

    @property
    def absent(self) -> Collection[str]:
        return [name for name in self.known if name not in {*self._first.names, *self._partitions.names}]

    def read(self, name: str) -> pyarrow.ChunkedArray:
        import pyarrow

        values, valid = self.convert(name)
        column = to_arrow(name, values)
        if is_bytes(self.types[name]):
            column = pyarrow.chunked_array([column.combine_chunks().view(self.types[name])])
        return column if valid is None else mask_column(column, valid)

    def convert(self, name: str) -> tuple[Values, np.ndarray | None]:
        column = self._find_column(name)
        if column.error is not None:
            raise column.error
        return column.values, column.valid

    def locate(self, row: int) -> str:
        for name, count in self._first.counts:
            if row < count:
                return f"record {row:,}" if len(self.paths) == 1 else f"record {row:,} of {name}"
            row -= count
        raise IndexError(row)

    def digest(self) -> str:
        digests = [hash_file(path, digest_size=16).hexdigest() for path in self.paths]
        return ", ".join(digests) + f", {dict(self.layouts)}, {self.raw}{self._partitions.describe()}"

    @cached_property
    def _partitions(self) -> Partitions:
        return Partitions(self.paths)

    @cached_property
    def _names(self) -> Sequence[str]:
        """The names of all columns, in alphabetical order, and then those of folders."""
        self._partitions.check_names(sorted(self._first.names), self.label)
        return [*sorted({*self._first.names, *self.absent}), *self._partitions.names]

    @cached_property
    def _columns(self) -> dict[str, _Column]:
        """The columns that were read so far, by name. Their arrays are kept on the disk if the parts are."""
        return self._make_columns(self._first)

    def _find_column(self, name: str) -> _Column:
        if name not in self._columns:
            if name not in self._names:
                raise KeyError(name)
            is_single = self._columns.keys() <= {*(self.used or ()), *self._partitions.names, *self.known}
            others = {name} if is_single else {*self._names} - self._columns.keys()
            self._columns.update(self._make_columns(self._parse(others.__contains__)))
        return self._columns[name]

    def _make_columns(self, parsed: _Parsed) -> dict[str, _Column]:
        import pyarrow

        columns = {}
        for name in sorted({*parsed.parts, *self.absent}):
            try:
                parts = parsed.parts.pop(name, None) or [make_gap(self.rows)]
                array = self._make_column(name, parts)  # its memory is free once it is converted
                values, valid = convert_column(name, array, pack_bytes=True)
            except DataError as error:  # it matters if the column is used
                columns[name] = _Column(np.empty(0), None, pyarrow.null(), error)
                continue
            columns[name] = _Column(map_arrays(values, self.maps) if parsed.is_large else values, valid, array.type)
        for name, kind in self._partitions.types.items():
            array = self._partitions.read(name, [count for _, count in parsed.counts])
            columns[name] = _Column(*convert_column(name, array), kind)
        return columns

    def _make_column(self, name: str, parts: Sequence[Part]) -> pyarrow.ChunkedArray:
        import pyarrow

        kinds: dict[Kind, int] = {}
        for number, part in enumerate(parts):
            if part.kind is not None:
                kinds.setdefault(part.kind, number)
        if len(kinds) > 1:
            (first, _), (second, number) = [*kinds.items()][:2]
            location = self.locate(sum(part.rows for part in parts[:number]))
            raise DataError(
                f"{self.label}: the values of feature `{name}` are {first}, but {second} from {location} on. Write it "
                "with one type."
            )
        layout = self._find_layout(name)
        if not kinds and layout == Layout():
            return pyarrow.chunked_array([pyarrow.nulls(self.rows)])
        kind: Kind = next(iter(kinds), "bytes" if layout.bytes_as else "float")
        self._check_levels(name, parts)

        def locate(row: int) -> str:
            return f"{self.label}, {self.locate(row)}: feature `{name}`"

        own = self.layouts.get(name, Layout())
        try:
            return to_column(kind, join_parts(kind, parts), layout, locate)
        except DataError as error:
            declared = [
                option for option, value in (("shapes", own.shape), ("bytes_as", own.bytes_as)) if value is not None
            ]
            remedies = (Remedy(f"leave out `{format_option_key(option, name)}`", "columns") for option in declared)
            error.replace_remedies([*error.remedies, *remedies])
            raise

    def _find_layout(self, name: str) -> Layout:
        """How the values of a feature are kept."""
        own, training = self.layouts.get(name, Layout()), self.training
        return own if training is None or name not in training.types else training.found_layout(name) or own

    def found_layout(self, name: str) -> Layout | None:
        """The layout with which a feature of other files becomes a column of the same kind. None: it can't be read."""
        column = self._find_column(name)
        return None if column.error is not None else find_layout(column.type, self._find_layout(name))

    def _check_levels(self, name: str, parts: Sequence[Part]) -> None:
        """Raises DataError if a feature is a list of features in some records only."""
        depths: dict[int, int] = {}
        for number, part in enumerate(parts):
            if part.kind is not None:
                depths.setdefault(len(part.levels), number)
        if len(depths) > 1:
            number = max(depths.values())
            location = self.locate(sum(part.rows for part in parts[:number]))
            kinds = ("a feature", "a list of features")[:: 1 if len(parts[number].levels) > 1 else -1]
            raise DataError(
                f"{self.label}: `{name}` is {kinds[0]}, but {kinds[1]} from {location} on. Write it in one way."
            )

    @cached_property
    def _first(self) -> _Parsed:
        """The features that are used."""
        return self._parse(lambda name: self.used is None or name in self.used)

    def _parse(self, reads: Callable[[str], bool]) -> _Parsed:
        """Reads the records of all files, and the values of some features."""
        counts, names = list[tuple[str, int]](), set[str]()
        parts: dict[str, list[Part]] = {}
        spooled: dict[str, int] = {}
        is_large, total, in_memory = False, 0, 0
        for path, name in zip(self.paths, self.names, strict=True):
            count = 0
            with open_records(path, self.max_unpacked_gb) as file:
                for records in read_records(file, str(path)):
                    rows = len(records.starts)
                    found = parse(records, reads, raw=self.raw)
                    names |= found.keys()
                    for feature in filter(reads, parts.keys() | found):
                        part = found.get(feature) or make_gap(rows)
                        parts.setdefault(feature, [make_gap(total)] if total else []).append(part)
                    total, count = total + rows, count + rows
                    in_memory += sum(count_bytes(part) for part in found.values() if part is not None)
                    if in_memory > column_store.MAX_ARRAY_BYTES:
                        is_large, in_memory = True, 0
                        _spool(parts, spooled)
            counts.append((name, count))
        if not total:
            raise DataError(f"{self.label} has no rows")
        if not names:
            raise DataError(f"{self.label} has no features: all of its records are empty")
        if (first := self.__dict__.get("_first")) is not None and counts != first.counts:
            raise DataError(f"{self.label} has changed since it was read first. Start again")
        return _Parsed(counts, frozenset(names), parts, is_large)


def _spool(parts: Mapping[str, list[Part]], spooled: dict[str, int]) -> None:
    """Moves the parts of each feature to a temporary file, of which a process can map some ten thousand.

    Args:
        parts: the parts by feature.
        spooled: how many of them are in files already.
    """
    for feature, own in parts.items():
        first = spooled.get(feature, 0)
        own[first:] = map_arrays(tuple(own[first:]), [])
        spooled[feature] = len(own)


class _Types(Mapping[str, "pyarrow.DataType"]):
    """The types of columns by name. The type of a column is found when it is looked up."""

    def __init__(self, names: Sequence[str], find: Callable[[str], pyarrow.DataType]) -> None:
        self._names, self._find = dict.fromkeys(names), find

    def __getitem__(self, name: str) -> pyarrow.DataType:
        return self._find(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def open_records(path: Path, max_unpacked_gb: float = MAX_UNPACKED_GB) -> Iterator[BinaryIO]:
    """Opens a TFRecord file, which may be packed with zlib, or as `PackedFile`.

    Raises:
        DataError: the file can't be read, or, while reading, it is damaged or exceeds the maximum size.
    """
    packed = PackedFile(path, max_unpacked_gb)
    with packed.open() as file:
        if not is_zlib_record(file.peek(64)):
            yield file
            return
        yield io.BufferedReader(ChunkReader(_unpack_zlib(packed, file)), CHUNK_BYTES)


def is_zlib_record(start: bytes) -> bool:
    """Whether a file begins with a record that is packed with zlib."""
    try:
        return start[:1] == b"\x78" and is_record(zlib.decompressobj().decompress(start, 64))
    except zlib.error:
        return False


def _unpack_zlib(packed: PackedFile, file: BinaryIO) -> Iterator[bytes]:
    stream, size = zlib.decompressobj(), 0
    try:
        while not stream.eof:
            data = stream.unconsumed_tail or file.read(CHUNK_BYTES)
            if not data:
                raise EOFError("the file ends too early")
            chunk = stream.decompress(data, CHUNK_BYTES)
            size += len(chunk)
            packed.check_size(size)
            if chunk:
                yield chunk
        if stream.unused_data or file.read(1):
            raise EOFError("bytes follow the packed data")
    except (EOFError, zlib.error) as error:
        location = f"at or before byte {file.tell():,}, after {size:,} unpacked bytes"
        raise DataError(f"{packed} is damaged zlib {location}: {error}") from error
