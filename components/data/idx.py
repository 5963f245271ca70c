"""The source for IDX files, the format of MNIST (LeCun, Cortes and Burges, 1998), and functions to read and write them.

An IDX file consists of two zero bytes, a byte for the type of the numbers, a byte for the rank of the array, a 32-bit
integer for each dimension, and the numbers. All are big-endian.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np

from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.table import Table
from components.input_files import find_path, hash_file
from components.types import DataError, Range

_DTYPES: dict[int, np.dtype] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CHUNK_BYTES = 2**20
_MAX_RANK = 64  # the maximum of NumPy


@dataclass(frozen=True, kw_only=True)
class Idx(Table):
    """Images and labels from IDX files, as columns `image` and `label`. Grayscale images have one channel: (28, 28, 1).

    Attributes:
        path: the folder. A relative path is looked up below $TITRATE_DATA, then below the working folder.
        train: the names of the file of images and of the file of labels. The files may be packed. If there is no file
            of a name, the file with .gz after the name is read.
        test: the same for the test set; or the rows of `train` for the test split, a share in (0, 1) or a count.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes (10^9 bytes).
    """

    path: str
    train: tuple[str, str]
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: tuple[str, str] | Annotated[float, Range(0, bounds="()")]
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content_digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for part, names in self._parts().items():
            for name in names:
                digest.update(part.encode() + hash_file(self._find(name)).digest())
        return digest.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {part: self._count_rows(labels) for part, (_, labels) in self._parts().items()}

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        return {part: self._read_columns(*names) for part, names in self._parts().items()}

    def _parts(self) -> dict[str, tuple[str, str]]:
        if isinstance(self.test, int | float):
            return {"all": self.train}
        return {"train": self.train, "test": self.test}

    def _count_rows(self, name: str) -> int:
        shape = read_idx_shape(self._find(name))
        return shape[0] if shape else 0

    def _read_columns(self, images: str, labels: str) -> Mapping[str, np.ndarray]:
        image = read_idx(self._find(images), max_unpacked_gb=self.max_unpacked_gb)
        label = read_idx(self._find(labels), max_unpacked_gb=self.max_unpacked_gb)
        if label.ndim != 1 or image.shape[:1] != label.shape:
            raise DataError(
                f"{self._find(images)} has the shape {image.shape}, {self._find(labels)} has the shape {label.shape}; "
                "there must be one label for each image"
            )
        return {"image": image[..., None] if image.ndim == 3 else image, "label": label}

    def _find(self, name: str) -> Path:
        return find_path(f"{self.path}/{name}", f"{self.path}/{name}.gz", file=True)


def read_idx(path: str | Path, *, max_unpacked_gb: float = MAX_UNPACKED_GB) -> np.ndarray:
    """Reads the array of an IDX file.

    Args:
        path: the file, packed or not.
        max_unpacked_gb: the maximum size of the unpacked file in gigabytes (10^9 bytes).

    Raises:
        DataError: the file is missing, is no IDX file, is damaged or too large, or its size doesn't match its header.
    """
    packed = PackedFile(Path(path), max_unpacked_gb)
    with packed.open() as file:
        dtype, shape = _read_header(packed.path, file)
        size = dtype.itemsize * math.prod(shape)
        if not file.seekable():  # the file is packed
            packed.check_size(size)
        # The extra byte shows whether the file is too long. At the end, a decompressor verifies its checksum.
        content = _read_bytes(file, size + 1)
    specified = f"the {size:,} bytes of data that its header specifies, {dtype.name} {shape}"
    if len(content) < size:
        raise DataError(f"{path} is truncated after {len(content):,} of {specified}")
    if len(content) > size:
        raise DataError(f"{path} has more than {specified}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_idx_shape(path: str | Path) -> tuple[int, ...]:
    """Reads the shape of an IDX file from its header."""
    with PackedFile(Path(path)).open() as file:
        return _read_header(Path(path), file)[1]


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Writes an array as an IDX file, packed with gzip if the name ends in .gz. Equal arrays give equal bytes."""
    codes = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
    if array.dtype not in codes:
        raise DataError(f"an array of {array.dtype} can't be written as IDX; allowed: {', '.join(map(str, codes))}")
    code = codes[array.dtype]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content = header + array.astype(_DTYPES[code]).tobytes()
    Path(path).write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)


def _read_bytes(file: BinaryIO, size: int) -> bytearray:
    """Reads up to `size` bytes. A short file with a large `size` in its header needs little memory."""
    content = bytearray()
    while len(content) < size and (chunk := file.read(min(size - len(content), _CHUNK_BYTES))):
        content += chunk
    return content


def _read_header(path: Path, file: BinaryIO) -> tuple[np.dtype, tuple[int, ...]]:
    start = file.read(4)
    if len(start) < 4:
        raise DataError(f"{path} is truncated: it has {len(start)} bytes, but an IDX header has at least 4")
    if start[:2] != b"\0\0":
        raise DataError(f"{path} is no IDX file: it starts with {start.hex(' ')} instead of 00 00")
    code, rank = start[2:]  # integers from 0 to 255
    if code not in _DTYPES:
        known = ", ".join(f"{code:#04x} {dtype.name}" for code, dtype in _DTYPES.items())
        raise DataError(f"{path} has the unknown type code {code:#04x}; allowed: {known}")
    if rank > _MAX_RANK:
        raise DataError(f"{path} has an array of rank {rank}; the maximum is {_MAX_RANK}")
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(
            f"{path} is truncated: it has {4 + len(sizes)} bytes, but a header of rank {rank} has {4 + 4 * rank}"
        )
    shape = struct.unpack(f">{rank}I", sizes)
    # NumPy has this limit even if another dimension is 0.
    if math.prod(size or 1 for size in shape) * _DTYPES[code].itemsize > sys.maxsize:
        raise DataError(f"{path} has an array of shape {shape}, which is too large for an array of NumPy")
    return _DTYPES[code], shape
