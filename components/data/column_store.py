"""Columns of tables that are read one by one, and kept in memory or in temporary files."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import mmap
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from components.arrow import GapInListsError, check_values, convert_column, find_gap_in_lists, find_invalid_row
from components.data.arrays import list_arrays, update_digest
from components.data.column_types import CastError, cast_column
from components.types import DataError, Values

if TYPE_CHECKING:
    import pyarrow

ALIGNMENT = 64  # of arrays in a file, in bytes
MAX_ARRAY_BYTES = 1 << 27  # of the columns of a table in memory; others are kept on the disk


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

    @property
    def absent(self) -> Collection[str]:
        """The columns that earlier rows had, and that have gaps only, because no row of these has a value."""
        return ()

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
            try:
                values, valid = convert_column(name, column, pack_bytes=True)
            except GapInListsError as error:
                row = find_gap_in_lists(column)
                raise DataError(f"{self.name}, {self.locate(row or 0)}: {error}") from error
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
        release_maps(self.maps)

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
    """The same column, whose arrays are in a temporary file that is mapped into memory.

    Args:
        values: an array, or a tuple of arrays, such tuples and other values.
        maps: gets the content of the file.

    Raises:
        DataError: the file can't be written.
    """
    arrays = [*_find_mappable(values)]
    if not arrays:
        return values
    starts = [0, *itertools.accumulate(_align(array.nbytes) for array in arrays)]

    def write(file: Any) -> None:
        for array, start in zip(arrays, starts, strict=False):
            file.seek(start)
            np.ascontiguousarray(array).tofile(file)

    content = np.frombuffer(map_file(write, maps), "u1")
    pieces = (content[start : start + array.nbytes] for array, start in zip(arrays, starts, strict=False))
    mapped = (piece.view(array.dtype).reshape(array.shape) for array, piece in zip(arrays, pieces, strict=True))
    return _replace_mappable(values, mapped)


def _align(size: int) -> int:
    """The size with the padding before the next array."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _find_mappable(values: Any) -> Iterator[np.ndarray]:
    """The arrays of a column whose bytes are its values."""
    if isinstance(values, tuple):
        for each in values:
            yield from _find_mappable(each)
    elif _is_mappable(values):
        yield values


def _is_mappable(values: Any) -> bool:
    return isinstance(values, np.ndarray) and not values.dtype.hasobject and values.nbytes > 0


def _replace_mappable(values: Any, mapped: Iterator[np.ndarray]) -> Any:
    """The column with other arrays in place of those of `_find_mappable`."""
    if isinstance(values, tuple):
        replaced = [_replace_mappable(each, mapped) for each in values]
        return values._make(replaced) if hasattr(values, "_make") else tuple(replaced)
    return next(mapped) if _is_mappable(values) else values


def release_maps(maps: Sequence[pyarrow.Buffer]) -> None:
    """Lets temporary files that are mapped leave the memory, until they are used again."""
    if not maps or not hasattr(mmap, "MADV_DONTNEED"):
        return
    library = ctypes.CDLL(None)
    for content in maps:
        library.madvise(ctypes.c_void_p(content.address), ctypes.c_size_t(content.size), mmap.MADV_DONTNEED)


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
