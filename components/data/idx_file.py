"""IDX files, the format of MNIST (LeCun, Cortes and Burges, 1998), plain or gzipped.

Two zero bytes, the type, the rank, a 32-bit integer for each dimension, then the numbers: all big-endian.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from components.types import DataError

_DTYPES: dict[int, np.dtype] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CHUNK = 2**20


def read_idx(path: str | Path) -> np.ndarray:
    """The array of an IDX file, of any rank and type of the format; a name that ends in .gz is decompressed.

    Raises:
        DataError: the file is missing, no IDX file, truncated, longer than its header says, or damaged gzip.
    """
    path = Path(path)
    content = _read(path)
    dtype, shape = _header(path, content)
    start = 4 + 4 * len(shape)
    expected, found = dtype.itemsize * math.prod(shape), len(content) - start
    if found != expected:
        fault = "it is truncated" if found < expected else "bytes trail behind its data"
        wanted = f"{expected:,} for {dtype.name} {shape}"
        raise DataError(f"{path} holds {found:,} bytes of data where its header asks for {wanted}: {fault}")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_idx_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of an IDX file, from its header alone."""
    return _header(Path(path), _read(Path(path), whole=False))[1]


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Writes an array as an IDX file, compressed if the name ends in .gz; equal arrays give equal bytes."""
    codes = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
    if array.dtype not in codes:
        raise DataError(f"{array.dtype} can't be written as IDX, which knows {', '.join(map(str, codes))}")
    code = codes[array.dtype]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content = header + array.astype(_DTYPES[code]).tobytes()
    Path(path).write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)


def _read(path: Path, *, whole: bool = True) -> bytearray:
    """The bytes of a file, decompressed; not whole: a first chunk, longer than any header."""
    content = bytearray()
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            try:
                while chunk := stream.read(_CHUNK):
                    content += chunk
                    if not whole:
                        break
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                place = f"at or before byte {raw.tell():,}, after {len(content):,} bytes of its content"
                raise DataError(f"{path} is damaged gzip {place}: {error}") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    return content


def _header(path: Path, content: bytearray) -> tuple[np.dtype, tuple[int, ...]]:
    if len(content) < 4:
        raise DataError(f"{path} is truncated: it has {len(content)} bytes, and an IDX header at least 4")
    if content[:2] != b"\0\0":
        raise DataError(f"{path} is no IDX file: it begins with {content[:4].hex(' ')} instead of 00 00")
    code, rank = content[2:4]
    if code not in _DTYPES:
        known = ", ".join(f"{code:#04x} {dtype.name}" for code, dtype in _DTYPES.items())
        raise DataError(f"{path} has the unknown type code {code:#04x}; IDX knows {known}")
    if len(content) < 4 + 4 * rank:
        raise DataError(f"{path} is truncated: it has {len(content)} bytes, a header of rank {rank} has {4 + 4 * rank}")
    return _DTYPES[code], struct.unpack_from(f">{rank}I", content, 4)
