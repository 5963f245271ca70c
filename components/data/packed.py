"""Packed files: gzip, bzip2, xz and Zstandard. They are unpacked in memory, up to a maximum size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.input_files import open_file
from components.types import DataError

MAX_UNPACKED_GB = 2.0  # the default of all sources
CHUNK_BYTES = 1 << 20
STREAM_PADDING = b"\0"  # zeros that may follow a packed stream
XZ_MEMORY_BYTES = 1 << 28  # four times the memory that a file of `xz -9` needs


@dataclass(frozen=True)
class PackedFile:
    """A regular file that may be packed with gzip, bzip2, xz or Zstandard. The first bytes show the format.

    Attributes:
        path: the file.
        max_unpacked_gb: the maximum size of the unpacked file in gigabytes (10^9 bytes).
    """

    path: Path
    max_unpacked_gb: float = MAX_UNPACKED_GB

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Opens the file; its content is unpacked while it is read. Only a file that isn't packed is seekable.

        Raises:
            DataError: the path is no regular file; or, while reading, the file is damaged or exceeds the maximum size.
        """
        with open_file(self.path) as file:
            format = _find_format(file.peek(16))
            yield io.BufferedReader(ChunkReader(self._unpack(format, file)), CHUNK_BYTES) if format else file

    def is_packed(self) -> bool:
        """Whether the file is packed. Raises DataError if it can't be read."""
        return self.find_packing() is not None

    def find_packing(self) -> str | None:
        """The name of the format in which the file is packed. None: it isn't. Raises DataError if it can't be read."""
        with open_file(self.path) as file:
            format = _find_format(file.peek(16))
        return None if format is None else format.name

    def check_size(self, unpacked_bytes: int) -> None:
        """Raises DataError for an unpacked size above the maximum."""
        if unpacked_bytes > self.max_unpacked_gb * 1e9:
            raise DataError(
                f"{self.path} unpacks to more than {self.max_unpacked_gb:g} GB; "
                f"if the file should be that large, increase `max_unpacked_gb` (={self.max_unpacked_gb:g})"
            )

    def _unpack(self, format: _Format, file: io.BufferedReader) -> Iterator[bytes]:
        size = 0
        try:
            for chunk in format.unpack(file):
                inner = _find_format(chunk) if size == 0 else None
                if inner is not None:
                    raise DataError(f"{self.path} is packed twice: {inner.name} inside {format.name}; unpack it once")
                size += len(chunk)
                self.check_size(size)
                yield chunk
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            location = f"at or before byte {file.tell():,}, after {size:,} unpacked bytes"
            raise DataError(f"{self.path} is damaged {format.name} {location}: {error}") from error


@dataclass(frozen=True)
class MemoryFile:
    """A file in memory.

    Attributes:
        content: its bytes.
        name: its name for messages.
        locate: describes the location of a row, counted from 0.
    """

    content: bytes
    name: str
    locate: Callable[[int], str] = "row {}".format

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Opens the file."""
        yield io.BufferedReader(io.BytesIO(self.content))


class ChunkReader(io.RawIOBase):
    """A readable file whose content is an iterator of chunks. Closing it closes a generator.

    Within a `BufferedReader`, it may be closed while another thread reads it, as Arrow does ahead of time.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if isinstance(self._chunks, Generator):
            self._chunks.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class _Format(NamedTuple):
    name: str
    magic: re.Pattern[bytes]
    unpack: Callable[[io.BufferedReader], Iterator[bytes]]  # yields chunks that aren't empty


def _find_format(start: bytes) -> _Format | None:
    return next((format for format in _FORMATS if format.magic.match(start)), None)


def _unpack_gzip(file: io.BufferedReader) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=file)
    return iter(lambda: stream.read1(CHUNK_BYTES), b"")


def _unpack_bzip2(file: io.BufferedReader) -> Iterator[bytes]:
    return _unpack_streams(file, bz2.BZ2Decompressor)


def _unpack_xz(file: io.BufferedReader) -> Iterator[bytes]:
    return _unpack_streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES))


def _unpack_streams(file: io.BufferedReader, make_decompressor: Callable[[], Any]) -> Iterator[bytes]:
    """Unpacks a file that consists of one or more packed streams.

    Python's `BZ2File` silently stops if the second stream is damaged, and `LZMAFile` has no memory limit.
    """
    data = file.read(CHUNK_BYTES)
    while data:
        stream = make_decompressor()
        while not stream.eof:
            if chunk := stream.decompress(data, CHUNK_BYTES):
                yield chunk
            data = b""
            if not stream.eof and stream.needs_input:
                data = file.read(CHUNK_BYTES)
                if not data:
                    raise EOFError("the file ends too early")
        data = stream.unused_data.lstrip(STREAM_PADDING)
        while not data and (next_chunk := file.read(CHUNK_BYTES)):
            data = next_chunk.lstrip(STREAM_PADDING)


def _unpack_zstandard(file: io.BufferedReader) -> Iterator[bytes]:
    import pyarrow  # Python supports Zstandard only from 3.14

    stream = pyarrow.CompressedInputStream(file, "zstd")
    return iter(lambda: stream.read(CHUNK_BYTES), b"")


_FORMATS = (
    _Format("gzip", re.compile(rb"\x1f\x8b"), _unpack_gzip),
    _Format("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), _unpack_bzip2),
    _Format("xz", re.compile(rb"\xfd7zXZ\0"), _unpack_xz),
    _Format("Zstandard", re.compile(rb"\x28\xb5\x2f\xfd"), _unpack_zstandard),
)
