"""Arrays in files of the cache: written piece by piece, and checked before they are used the first time."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from runner.data.cache_entries import remove_entry
from runner.data.ordered_map import ordered_map
from runner.errors import RunError
from runner.platform import count_cores

MIN_MAPPED_BYTES = 2**20  # smaller arrays share a file and are read, so that a thousand columns need no thousand files
CHUNK_BYTES = 2**20  # that a checksum covers; a step that gathers random rows reads as much for each of them
_MIN_THREADED = 8  # chunks; starting threads takes as long as checking a few


class DamagedArrayError(RunError):
    """A file of the cache has changed since it was written."""


class ArrayWriter:
    """Appends pieces of an array to a file: to one that small arrays share, or, if it is large, to one of its own."""

    def __init__(self, file: Path, first: np.ndarray, is_offsets: bool = False) -> None:
        """Creates no file.

        Args:
            file: the file of its own, which must not exist.
            first: the first piece, whose type and shape the others have.
            is_offsets: whether the pieces are the `offsets` of `Ragged`.
        """
        if first.dtype.hasobject:
            raise ValueError(f"arrays of {first.dtype} can't be saved")
        self._file, self._dtype, self._shape = file, first.dtype, first.shape
        self._is_offsets, self._end = is_offsets, 0
        self._waiting: list[np.ndarray] = []
        self._rows = 0
        self._size = self._waiting_size = 0
        self._checksums: list[int] = []
        self._segments: list[tuple[int, int]] | None = []

    def append(self, piece: np.ndarray) -> None:
        """Appends a piece. It is kept in memory until `flush` is called."""
        if (piece.dtype, piece.shape[1:]) != (self._dtype, self._shape[1:]):
            raise ValueError(f"a piece of {self._dtype} {self._shape} is {piece.dtype} {piece.shape}")
        if self._is_offsets:
            end = self._end + int(piece[-1])
            piece = piece if self._rows == 0 else piece[1:] + self._end
            self._end = end
        self._rows += len(piece) if piece.ndim else 1
        self._waiting.append(piece)
        self._waiting_size += piece.nbytes

    def flush(self, shared: BinaryIO) -> None:
        """Writes the pieces.

        Args:
            shared: the file of small arrays, for reading and writing. An array that becomes large is moved out of it.
        """
        pieces = [np.ascontiguousarray(piece).reshape(-1).view(np.uint8) for piece in self._waiting]
        for piece in pieces:
            self._add_checksums(piece)
        if self._segments is None or self._size >= MIN_MAPPED_BYTES:
            written = _read_segments(shared, self._segments or ())
            self._segments = None
            with self._file.open("ab") as stream:
                stream.writelines(each.data for each in (written, *pieces))
        elif self._waiting_size:
            self._segments.append((shared.seek(0, os.SEEK_END), self._waiting_size))
            shared.writelines(piece.data for piece in pieces)
        self._waiting.clear()
        self._waiting_size = 0

    def copy(self, shared: BinaryIO, target: BinaryIO) -> None:
        """Copies a small array from the file of small arrays to the end of another one, as one segment."""
        if self._segments:
            data = _read_segments(shared, self._segments)
            self._segments = [(target.tell(), len(data))]
            target.write(data.data)

    def describe(self) -> dict[str, Any]:
        """The parameters of `CachedArray` other than the file, as JSON values.

        `segments` are the positions and sizes of its bytes in the shared file. None: it has a file of its own.
        """
        shape = [self._rows, *self._shape[1:]] if self._shape else []
        return {"dtype": self._dtype.str, "shape": shape, "checksums": self._checksums, "segments": self._segments}

    def _add_checksums(self, data: np.ndarray) -> None:
        while len(data):
            position = self._size % CHUNK_BYTES
            if position == 0:
                self._checksums.append(0)
            part = data[: CHUNK_BYTES - position]
            self._checksums[-1] = zlib.crc32(part.data, self._checksums[-1])
            self._size += len(part)
            data = data[len(part) :]


def read_array(
    file: BinaryIO, segments: Iterable[tuple[int, int]], dtype: str, shape: Sequence[int], checksums: Sequence[int]
) -> np.ndarray:
    """Reads an array of an `ArrayWriter` from segments of a file. Raises OSError or ValueError if it is damaged."""
    data = _read_segments(file, segments)
    parts = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    if [zlib.crc32(part.data) for part in parts] != [*checksums]:
        raise ValueError(f"{file.name} is damaged")
    return data.view(dtype).reshape(shape)


def _read_segments(file: BinaryIO, segments: Iterable[tuple[int, int]]) -> np.ndarray:
    """Bytes of a file, by positions and sizes. Raises ValueError if the file is too short."""
    segments = list(segments)
    data = np.empty(sum(size for _, size in segments), np.uint8)
    stop = 0
    for position, size in segments:
        file.seek(position)
        start, stop = stop, stop + size
        if file.readinto(data[start:stop].data) != size:  # type: ignore[attr-defined]
            raise ValueError(f"{file.name} is too short")
    return data


class CachedArray(NDArrayOperatorsMixin):
    """A read-only array in a file, as a memory map.

    It is not a NumPy array, so that all code reads it in one of two ways, which check the bytes: `array[rows]` checks
    the chunks of these rows, and `np.asarray(array)` checks all. Each chunk is checked once. Several threads may read.

    Attributes:
        file: the file with the bytes of the array, and nothing else.
        dtype: the type of the numbers.
        shape: the shape; the first axis is the rows.

    Raises:
        OSError: the file can't be opened.
        ValueError: the file has another size.
    """

    def __init__(self, file: Path, dtype: str, shape: Sequence[int], checksums: Sequence[int]) -> None:
        self.file = file
        with file.open("rb") as stream:
            self._status = os.fstat(stream.fileno())
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._array = self._bytes.view(dtype).reshape(shape)
        self.dtype, self.shape = self._array.dtype, self._array.shape
        self._checksums = checksums
        self._unchecked = np.ones(len(checksums), bool)
        if len(checksums) != -(-self.nbytes // CHUNK_BYTES):
            raise ValueError(f"{file} has {self.nbytes} bytes and {len(checksums)} checksums")

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        self._check_size()
        if self._unchecked.any():
            self._check(self._find_chunks(index))
        return self._array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._check_size()
        self._check(self._unchecked)
        return np.array(self._array, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(array) if isinstance(array, CachedArray) else array for array in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def _find_chunks(self, index: Any) -> Any:
        """The chunks that hold the rows of an index, as an index of chunks. It may have other chunks too."""
        rows = index[0] if isinstance(index, tuple) and index else index
        count = len(self._checksums)
        row_bytes = self.nbytes // len(self)
        if isinstance(rows, slice):
            chosen = range(len(self))[rows]
            if not chosen:
                return slice(0)
            low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
            return slice(low * row_bytes // CHUNK_BYTES, ((high + 1) * row_bytes - 1) // CHUNK_BYTES + 1)
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or not rows.size:
            return slice(None)
        starts = rows.reshape(-1).astype(np.int64)
        if starts.min() < 0 or starts.max() >= len(self):
            return slice(None)
        starts *= row_bytes
        # A row may lie in several chunks: +1 where a row begins, -1 behind its end.
        begins = np.bincount(starts // CHUNK_BYTES, minlength=count + 1)
        ends = np.bincount((starts + row_bytes - 1) // CHUNK_BYTES + 1, minlength=count + 1)
        return np.cumsum(begins - ends)[:count] > 0

    def _check_size(self) -> None:
        """Raises DamagedArrayError if the file is shorter now: reading behind its end would kill the process."""
        if self._map.size() != len(self._map):
            self._raise_damaged(f"it has {self._map.size():,} bytes instead of {len(self._map):,}")

    def _check(self, chunks: Any) -> None:
        """Checks some chunks, unless they were checked before. Raises DamagedArrayError if one of them has changed."""
        pending = np.arange(len(self._checksums))[chunks]
        pending = pending[self._unchecked[pending]].tolist()
        workers = count_cores() if len(pending) >= _MIN_THREADED else 1
        checksums = ordered_map(self._compute_checksum, pending, workers)
        for number, checksum in zip(pending, checksums, strict=True):
            if checksum != self._checksums[number]:
                self._raise_damaged(f"some of its bytes from {number * CHUNK_BYTES:,} on have changed")
            self._unchecked[number] = False

    def _compute_checksum(self, number: int) -> int:
        return zlib.crc32(self._bytes[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES].data)

    def _raise_damaged(self, what: str) -> None:
        """Removes the entry of the cache, unless another process has replaced it, and raises DamagedArrayError."""
        remedy = f"Remove {self.file.parent}, then run the same command, which encodes the data again."
        with suppress(OSError):
            if not os.path.samestat(self.file.stat(), self._status) or remove_entry(self.file.parent):
                remedy = "The same command encodes the data again."
        raise DamagedArrayError(f"the cache of encoded data: {self.file} is damaged: {what}. {remedy}")
