"""Files that may be packed. They are unpacked while they are read, up to a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.input_files import open_file
from components.types import DataError

MAX_UNPACKED_GB = 2.0  # the default of sources
CHUNK_BYTES = 1 << 20
PADDING = b"\0"
XZ_BYTES = 1 << 28  # of memory for the dictionary of xz, four times as much as `xz -9` needs


@dataclass(frozen=True)
class Packed:
    """A regular file that may be packed: gzip, bzip2, xz or Zstandard, recognized by its first bytes.

    Attributes:
        path: the file.
        max_unpacked_gb: how many gigabytes (10^9 bytes) it may unpack to.
    """

    path: Path
    max_unpacked_gb: float = MAX_UNPACKED_GB

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Opens the content, which is unpacked while it is read. Only a file that isn't packed is seekable.

        Raises:
            DataError: it is no regular file; or, while reading, it is damaged or unpacks to too much.
        """
        with open_file(self.path) as file:
            start = file.peek(16)
            found = next((one for one in _FORMATS if one.magic.match(start)), None)
            yield io.BufferedReader(_Chunks(self._unpack(found, file)), CHUNK_BYTES) if found else file

    def check(self, size: int) -> None:
        """Raises DataError for an unpacked size above the limit."""
        if size > self.max_unpacked_gb * 1e9:
            raise DataError(
                f"{self.path} unpacks to more than {self.max_unpacked_gb:g} GB; "
                f"if that is right, raise `max_unpacked_gb` (={self.max_unpacked_gb:g})"
            )

    def _unpack(self, format: _Format, file: io.BufferedReader) -> Iterator[bytes]:
        size = 0
        try:
            for chunk in format.unpack(file):
                if not size and (inner := next((one for one in _FORMATS if one.magic.match(chunk)), None)):
                    raise DataError(f"{self.path} is packed twice: {inner.name} inside {format.name}; unpack it once")
                size += len(chunk)
                self.check(size)
                yield chunk
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            place = f"at or before byte {file.tell():,}, after {size:,} bytes of its content"
            raise DataError(f"{self.path} is damaged {format.name} {place}: {error}") from error


class _Chunks(io.RawIOBase):
    """A file that reads from an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

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


def _gzip(file: io.BufferedReader) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=file)
    return iter(lambda: stream.read1(CHUNK_BYTES), b"")


def _bzip2(file: io.BufferedReader) -> Iterator[bytes]:
    return _streams(file, bz2.BZ2Decompressor)


def _xz(file: io.BufferedReader) -> Iterator[bytes]:
    return _streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_BYTES))


def _streams(file: io.BufferedReader, new: Callable[[], Any]) -> Iterator[bytes]:
    """The content of packed streams, one after the other.

    Python's own `BZ2File` ends silently where the second stream is damaged, and `LZMAFile` has no limit of memory.
    """
    data = file.read(CHUNK_BYTES)
    while data:
        stream = new()
        while not stream.eof:
            if chunk := stream.decompress(data, CHUNK_BYTES):
                yield chunk
            data = b""
            if not stream.eof and stream.needs_input and not (data := file.read(CHUNK_BYTES)):
                raise EOFError("it ends early")
        data = stream.unused_data.lstrip(PADDING)
        while not data and (more := file.read(CHUNK_BYTES)):
            data = more.lstrip(PADDING)


def _zstandard(file: io.BufferedReader) -> Iterator[bytes]:
    import pyarrow  # Python has no Zstandard before 3.14

    stream = pyarrow.CompressedInputStream(file, "zstd")
    return iter(lambda: stream.read(CHUNK_BYTES), b"")


_FORMATS = (
    _Format("gzip", re.compile(rb"\x1f\x8b"), _gzip),
    _Format("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), _bzip2),
    _Format("xz", re.compile(rb"\xfd7zXZ\0"), _xz),
    _Format("Zstandard", re.compile(rb"\x28\xb5\x2f\xfd"), _zstandard),
)
