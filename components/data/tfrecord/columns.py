"""The columns of a table in TFRecord files of Examples or SequenceExamples."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from components.arrow import convert_column, is_bytes, mask_column, to_arrow
from components.data import column_store
from components.data.column_store import ColumnStore, map_arrays
from components.data.packed import MAX_UNPACKED_GB, ChunkReader, PackedFile
from components.data.partitions import Partitions
from components.data.tfrecord.example import Kind
from components.data.tfrecord.framing import is_record, read_records
from components.data.tfrecord.layout import Layout, find_layout, to_column
from components.data.tfrecord.parts import Part, count_bytes, join_parts, make_gap, parse
from components.input_files import hash_file
from components.types import DataError, Values

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 1 << 20


class _Column(NamedTuple):
    """A column, as `ColumnStore.convert` returns it, its type, and the error that it raises instead."""

    values: Values
    valid: np.ndarray | None
    type: pyarrow.DataType
    error: DataError | None = None


@dataclass(frozen=True, eq=False)
class ExampleColumns(ColumnStore):
    """A table in TFRecord files. Each record is an Example or a SequenceExample.

    A feature that has at most one value in each record is a column of numbers or texts, in which records without a
    value have gaps. One that has the same number of values in all records is a column of arrays, and any other one of
    lists. Bytes that aren't UTF-8 in all records, such as images, stay bytes. A list of features is a column of lists.

    Attributes:
        label: the name of the table for messages.
        paths: the files, in the order of their rows.
        names: the names of the files for messages, if there are several.
        layouts: how the values of some features are kept.
        raw: whether a record is only bytes, the value of the column `record`.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes.
    """

    label: str
    paths: Sequence[Path]
    names: Sequence[str]
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    raw: bool = False
    max_unpacked_gb: float = MAX_UNPACKED_GB

    @property
    def name(self) -> str:
        return self.label

    @cached_property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        return {name: column.type for name, column in self._columns.items()}

    @property
    def rows(self) -> int:
        return sum(self.file_sizes)

    @property
    def file_sizes(self) -> Sequence[int]:
        """The number of records of each file."""
        return [count for _, count in self._counts]

    def read(self, name: str) -> pyarrow.ChunkedArray:
        import pyarrow

        values, valid = self.convert(name)
        column = to_arrow(name, values)
        if is_bytes(self.types[name]):
            column = pyarrow.chunked_array([column.combine_chunks().view(self.types[name])])
        return column if valid is None else mask_column(column, valid)

    def convert(self, name: str) -> tuple[Values, np.ndarray | None]:
        column = self._columns[name]
        if column.error is not None:
            raise column.error
        return column.values, column.valid

    def locate(self, row: int) -> str:
        for name, count in self._counts:
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

    @property
    def _counts(self) -> Sequence[tuple[str, int]]:
        """The name of each file, and the number of its records."""
        return self._read[0]

    @cached_property
    def _columns(self) -> Mapping[str, _Column]:
        """The columns by name. Their arrays are kept on the disk if the parts are."""
        import pyarrow

        _, parts, is_large = self._read
        columns = {}
        for name in sorted(parts):
            try:
                array = self._make_column(name, parts.pop(name))  # its memory is free once it is converted
                values, valid = convert_column(name, array, pack_bytes=True)
            except DataError as error:  # it matters if the column is used
                columns[name] = _Column(np.empty(0), None, pyarrow.null(), error)
                continue
            columns[name] = _Column(map_arrays(values, self.maps) if is_large else values, valid, array.type)
        self._partitions.check_names(columns, self.label)
        for name, kind in self._partitions.types.items():
            array = self._partitions.read(name, [count for _, count in self._counts])
            columns[name] = _Column(*convert_column(name, array), kind)
        return columns

    def _make_column(self, name: str, parts: Sequence[Part]) -> pyarrow.ChunkedArray:
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
        layout = self.layouts.get(name, Layout())
        kind: Kind = next(iter(kinds), "bytes" if layout.bytes_as else "float")
        self._check_levels(name, parts)

        def locate(row: int) -> str:
            return f"{self.label}, {self.locate(row)}: feature `{name}`"

        return to_column(kind, join_parts(kind, parts), layout, locate)

    def found_layouts(self) -> Mapping[str, Layout]:
        """The layouts with which the features of other files become columns of the same kinds."""
        columns = {name: column for name, column in self._columns.items() if column.error is None}
        return {name: find_layout(each.type, self.layouts.get(name, Layout())) for name, each in columns.items()}

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
    def _read(self) -> tuple[Sequence[tuple[str, int]], dict[str, list[Part]], bool]:
        """The records of each file, the values of each feature in parts, and whether these are kept on the disk."""
        counts: list[tuple[str, int]] = []
        parts: dict[str, list[Part]] = {}
        total = size = 0
        for path, name in zip(self.paths, self.names, strict=True):
            count = 0
            with open_records(path, self.max_unpacked_gb) as file:
                for records in read_records(file, str(path)):
                    rows = len(records.starts)
                    found = parse(records, raw=self.raw)
                    size += sum(map(count_bytes, found.values()))
                    for feature in parts.keys() | found:
                        part = found.get(feature) or make_gap(rows)
                        kept = map_arrays(part, []) if size > column_store.MAX_ARRAY_BYTES else part
                        parts.setdefault(feature, [make_gap(total)] if total else []).append(kept)
                    total, count = total + rows, count + rows
            counts.append((name, count))
        if not total:
            raise DataError(f"{self.label} has no rows")
        if not parts:
            raise DataError(f"{self.label} has no features: all of its records are empty")
        return counts, parts, size > column_store.MAX_ARRAY_BYTES


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
