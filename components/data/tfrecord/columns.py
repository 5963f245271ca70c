"""The columns of a table in TFRecord files of Examples or SequenceExamples."""

from __future__ import annotations

import io
import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from components.arrow import array_to_arrow, convert_column, mask_column, strings_to_arrow, to_arrow
from components.closest import suggest_name
from components.data import column_store
from components.data.column_store import ColumnStore, map_arrays
from components.data.packed import MAX_UNPACKED_GB, ChunkReader, PackedFile
from components.data.tfrecord.example import (
    Feature,
    FeatureList,
    Kind,
    has_feature_lists,
    parse_examples,
    parse_sequence_examples,
)
from components.data.tfrecord.framing import Records, is_record, read_records
from components.input_files import hash_file
from components.types import DataError, Strings, Values

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 1 << 20
PARSED_RECORDS = 1 << 13  # records that are parsed at once

Shape = tuple[int | None, ...]
"""The shape of the values of a row. The first length may be None: rows have different numbers of values. Of a list of
features it is None, and the second one may be None: the features of the list have different numbers of values."""


class _Part(NamedTuple):
    """The values of a feature in consecutive records.

    Attributes:
        kind: the type of the values. None: no record has the feature.
        values: the values of all records: float32, int64 or `Strings` of bytes.
        levels: the offsets of each level of lists, the outer one first: those of rows, and of the steps of a row.
        rows: the number of records.
    """

    kind: Kind | None
    values: Any
    levels: tuple[np.ndarray, ...]
    rows: int


class _Column(NamedTuple):
    """A column, as `ColumnStore.convert` returns it, its type, and the error that it raises instead."""

    values: Values
    valid: np.ndarray | None
    type: pyarrow.DataType
    error: DataError | None = None


class _Layout(NamedTuple):
    """How the values of a record are kept.

    Attributes:
        shape: their shape. None: the one that all records show.
        is_bytes: whether texts are kept as bytes.
        origin: what decided it, for messages.
    """

    shape: Shape | None
    is_bytes: bool = False
    origin: str = "`shapes` says"


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
        shapes: the shapes of the values of some features: `()`, one value; `(28, 28)`; `(None,)`, lists.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes.
        training: the training files, whose columns these have, if these are of another split.
    """

    label: str
    paths: Sequence[Path]
    names: Sequence[str]
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    max_unpacked_gb: float = MAX_UNPACKED_GB
    training: ExampleColumns | None = None

    @property
    def name(self) -> str:
        return self.label

    @cached_property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        return {name: column.type for name, column in self._columns.items()}

    @property
    def rows(self) -> int:
        return sum(count for _, count in self._counts)

    def read(self, name: str) -> pyarrow.ChunkedArray:
        values, valid = self.convert(name)
        column = to_arrow(name, values)
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
        return ", ".join(hash_file(path, digest_size=16).hexdigest() for path in self.paths) + f", {dict(self.shapes)}"

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
                values, valid = convert_column(name, array)
            except DataError as error:  # it matters if the column is used
                columns[name] = _Column(np.empty(0), None, pyarrow.null(), error)
                continue
            columns[name] = _Column(map_arrays(values, self.maps) if is_large else values, valid, array.type)
        return columns

    def _make_column(self, name: str, parts: Sequence[_Part]) -> pyarrow.ChunkedArray:
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
        kind: Kind = next(iter(kinds), "float")
        self._check_levels(name, parts)

        def locate(row: int) -> str:
            return f"{self.label}, {self.locate(row)}: feature `{name}`"

        part, layout = _join_parts(kind, parts), _Layout(self.shapes.get(name))
        if self.training is not None and name in self.training.types:
            layout = _find_layout(self.training.types[name])
        return _to_arrow(kind, part, layout, locate)

    def _check_levels(self, name: str, parts: Sequence[_Part]) -> None:
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
    def _read(self) -> tuple[Sequence[tuple[str, int]], dict[str, list[_Part]], bool]:
        """The records of each file, the values of each feature in parts, and whether these are kept on the disk."""
        counts: list[tuple[str, int]] = []
        parts: dict[str, list[_Part]] = {}
        total = size = 0
        for path, name in zip(self.paths, self.names, strict=True):
            count = 0
            with open_records(path, self.max_unpacked_gb) as file:
                for records in read_records(file, str(path)):
                    rows = len(records.starts)
                    found = _parse(records, sequences=has_feature_lists(records))
                    size += sum(map(_count_bytes, found.values()))
                    for feature in parts.keys() | found:
                        part = found.get(feature) or _make_gap(rows)
                        kept = map_arrays(part, []) if size > column_store.MAX_ARRAY_BYTES else part
                        parts.setdefault(feature, [_make_gap(total)] if total else []).append(kept)
                    total, count = total + rows, count + rows
            counts.append((name, count))
        if not total:
            raise DataError(f"{self.label} has no rows")
        if unknown := [name for name in self.shapes if name not in parts]:
            raise DataError(
                f"{self.label} has no feature `{unknown[0]}`, which `shapes` lists. {suggest_name(unknown[0], parts)}"
            )
        if not parts:
            raise DataError(f"{self.label} has no features: all of its records are empty")
        return counts, parts, size > column_store.MAX_ARRAY_BYTES


def _parse(records: Records, *, sequences: bool) -> dict[str, _Part]:
    """The features of some records. `sequences`: whether they are SequenceExamples."""
    rows = len(records.starts)
    if not sequences and rows > PARSED_RECORDS and (parts := _parse_in_pieces(records)) is not None:
        return parts
    if not sequences:
        return {name: _make_part(feature, rows) for name, feature in parse_examples(records).items()}
    context, lists = parse_sequence_examples(records)
    parts = {name: _make_part(feature, rows) for name, feature in context.items()}
    if both := sorted(parts.keys() & lists):
        raise DataError(f"{records.name}: `{both[0]}` is in the context and a list of features. Rename one.")
    return parts | {name: _make_list_part(steps, rows) for name, steps in lists.items()}


def _parse_in_pieces(records: Records) -> dict[str, _Part] | None:
    """The features of Examples, parsed in pieces that fit into the processor's cache. None: their types differ."""
    rows, pieces = [*range(0, len(records.starts), PARSED_RECORDS), len(records.starts)], []
    for start, stop in itertools.pairwise(rows):
        starts, stops = records.starts[start:stop], records.stops[start:stop]
        piece = records._replace(starts=starts, stops=stops, first=records.first + start)
        pieces.append(_parse(piece, sequences=False))
    joined = {}
    for name in dict.fromkeys(name for piece in pieces for name in piece):
        bounds = zip(pieces, itertools.pairwise(rows), strict=True)
        parts = [piece.get(name) or _make_gap(stop - start) for piece, (start, stop) in bounds]
        kinds = {part.kind for part in parts if part.kind is not None}
        if len(kinds) > 1:
            return None
        joined[name] = _join_parts(kinds.pop(), parts)
    return joined


def _make_part(feature: Feature, rows: int) -> _Part:
    return _Part(feature.kind, feature.values, (feature.offsets,), rows)


def _make_list_part(steps: FeatureList, rows: int) -> _Part:
    return _Part(steps.feature.kind, steps.feature.values, (steps.offsets, steps.feature.offsets), rows)


def _make_gap(rows: int) -> _Part:
    """Records without the feature."""
    return _Part(None, None, (np.zeros(rows + 1, np.int64),), rows)


def _count_bytes(part: _Part) -> int:
    arrays = part.values[:2] if isinstance(part.values, Strings) else [part.values]
    return sum(array.nbytes for array in (*arrays, *part.levels))


def _join_parts(kind: Kind, parts: Sequence[_Part]) -> _Part:
    """One part with the records of several, which have a kind or no values."""
    depth = max(len(part.levels) for part in parts)
    levels = []
    for level in range(depth):
        pieces, start = [np.zeros(1, np.int64)], 0
        for part in parts:
            if level < len(part.levels):
                pieces.append(part.levels[level][1:] + start)
                start += int(part.levels[level][-1])
        levels.append(np.concatenate(pieces))
    found = [part.values for part in parts if part.kind is not None]
    values: Any
    if kind == "bytes":
        offsets, start = [np.zeros(1, np.int64)], 0
        for strings in found:
            offsets.append(strings.offsets[1:] - strings.offsets[0] + start)
            start = int(offsets[-1][-1]) if len(offsets[-1]) else start
        data = [strings.data[strings.offsets[0] : strings.offsets[-1]] for strings in found]
        values = Strings(np.concatenate(data) if data else np.empty(0, np.uint8), np.concatenate(offsets))
    else:
        values = np.concatenate(found) if found else np.empty(0, np.float32)
    return _Part(kind, values, tuple(levels), sum(part.rows for part in parts))


def _find_layout(kind: pyarrow.DataType) -> _Layout:
    """The layout of the column of a type."""
    import pyarrow

    shape: list[int | None] = []
    while pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
        shape.append(None if pyarrow.types.is_large_list(kind) else kind.list_size)
        kind = kind.value_type
    return _Layout(tuple(shape), pyarrow.types.is_large_binary(kind), "the training file has")


def _to_arrow(kind: Kind, part: _Part, layout: _Layout, locate: Any) -> pyarrow.ChunkedArray:
    """Converts the values of a feature.

    Args:
        kind: their type.
        part: the values of all records.
        layout: how the values of a record are kept.
        locate: describes the location of a row.
    """
    import pyarrow

    shape = layout.shape
    values = _values_to_arrow(part.values, as_bytes=layout.is_bytes)
    if len(part.levels) > 1 or (shape is not None and None in shape[1:]):
        return _chunk(_make_lists(values, part, layout, locate))
    offsets = part.levels[0]
    counts = np.diff(offsets)
    if shape is None:
        is_equal = len(counts) > 0 and counts[0] > 1 and bool((counts == counts[0]).all())
        shape = () if counts.max(initial=0) <= 1 else (int(counts[0]),) if is_equal else (None,)
    size = math.prod(cast(Sequence[int], [length for length in shape if length is not None]))
    if None in shape:
        if (wrong := counts % size != 0).any():
            row = int(wrong.argmax())
            raise DataError(f"{locate(row)} has {counts[row]:,} values, not a multiple of {size:,}, as {layout.origin}")
        inner = values if shape == (None,) else _make_arrays(values, cast(tuple[int, ...], shape[1:]))
        return _chunk(pyarrow.LargeListArray.from_arrays(array_to_arrow(offsets // size), inner))
    allowed = (counts == size) | ((counts == 0) & (shape == ()))
    if not allowed.all():
        row = int((~allowed).argmax())
        needed = "at most one" if shape == () else f"{size:,}"
        raise DataError(f"{locate(row)} has {counts[row]:,} values, not {needed}, as {layout.origin}")
    if shape != ():
        return _chunk(_make_arrays(values, cast(tuple[int, ...], shape)))
    if (counts == 1).all():
        return _chunk(values)
    if not len(values):
        return _chunk(pyarrow.nulls(len(counts), values.type))
    taken = values.take(array_to_arrow(np.minimum(offsets[:-1], len(values) - 1)))
    return mask_column(_chunk(taken), counts == 1)


def _make_lists(values: pyarrow.Array, part: _Part, layout: _Layout, locate: Any) -> pyarrow.Array:
    """Lists of features as lists of lists, or of arrays; of values, if the features have one value each."""
    import pyarrow

    outer, steps = part.levels if len(part.levels) > 1 else (part.levels[0], np.zeros(1, np.int64))
    counts, shape = np.diff(steps), layout.shape
    if len(steps) <= outer[-1] or (shape is not None and shape[:1] != (None,)):
        kind = "a list of features" if len(part.levels) > 1 else "no list of features"
        written = "null" if shape is None else ", ".join("null" if each is None else str(each) for each in shape)
        raise DataError(f"{locate(0)} is {kind}, but {layout.origin} [{written}]")
    if shape is None:
        is_equal = len(counts) > 0 and counts[0] > 0 and bool((counts == counts[0]).all())
        shape = (None, int(counts[0])) if is_equal else (None, None) if len(counts) else (None,)
        shape = (None,) if shape == (None, 1) else shape
    fixed = cast(tuple[int, ...], tuple(length for length in shape if length is not None))
    size, is_varying = math.prod(fixed), None in shape[1:]
    wrong = counts % size != 0 if is_varying else counts != size
    if wrong.any():
        step = int(wrong.argmax())
        row = int(np.searchsorted(outer, step, side="right")) - 1
        needed = f"a multiple of {size:,}" if is_varying else f"{size:,}"
        raise DataError(
            f"{locate(row)} has a list with {counts[step]:,} values in a step, not {needed}, as {layout.origin}"
        )
    inner = _make_arrays(values, fixed)
    if is_varying:
        inner = pyarrow.LargeListArray.from_arrays(array_to_arrow(steps // size), inner)
    return pyarrow.LargeListArray.from_arrays(array_to_arrow(outer), inner)


def _make_arrays(values: pyarrow.Array, shape: tuple[int, ...]) -> pyarrow.Array:
    """Arrays of a shape, one after the other."""
    for length in reversed(shape):
        values = _make_fixed(values, length)
    return values


def _make_fixed(values: pyarrow.Array, length: int) -> pyarrow.Array:
    import pyarrow

    return pyarrow.FixedSizeListArray.from_arrays(values, length)


def _chunk(array: pyarrow.Array) -> pyarrow.ChunkedArray:
    import pyarrow

    return pyarrow.chunked_array([array])


def _values_to_arrow(values: np.ndarray | Strings, *, as_bytes: bool) -> pyarrow.Array:
    """The values as numbers, texts, or bytes if some aren't UTF-8."""
    import pyarrow

    if not isinstance(values, Strings):
        return array_to_arrow(values)
    texts = strings_to_arrow(values)
    if as_bytes or (values.data == 0).any():  # no text has a NUL
        return texts.view(pyarrow.large_binary())
    try:
        texts.validate(full=True)
    except pyarrow.ArrowInvalid:
        return texts.view(pyarrow.large_binary())
    return texts


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
