"""IDX files, the format of MNIST (LeCun, Cortes and Burges, 1998), plain or packed, and the source for them.

A file has two zero bytes, the type, the rank, a 32-bit integer for each dimension, and the numbers, all big-endian.
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

from components.data.packed import MAX_UNPACKED_GB, Packed
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
_CHUNK = 2**20
_RANKS = 64  # the most that NumPy allows


@dataclass(frozen=True, kw_only=True)
class Idx(Table):
    """Images and labels from IDX files, as `image` and `label`. Images without channels get one: (28, 28, 1).

    Attributes:
        path: the folder. A relative one is looked up below $TITRATE_DATA, then below the working folder.
        train: the names of the files of images and of labels. On disk each may be packed, and end in .gz.
        test: the same for the test set; or the rows to hold out for testing, a share in (0, 1) or a count.
        max_unpacked_gb: how many gigabytes (10^9 bytes) a packed file may unpack to.
    """

    path: str
    train: tuple[str, str]
    test: tuple[str, str] | Annotated[float, Range(0, bounds="()")]
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        for part, names in self._parts().items():
            for name in names:
                content.update(part.encode() + hash_file(self._find(name)).digest())
        return content.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {part: sum(read_idx_shape(self._find(labels))[:1]) for part, (_, labels) in self._parts().items()}

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        return {part: self._columns(*names) for part, names in self._parts().items()}

    def _parts(self) -> dict[str, tuple[str, str]]:
        if isinstance(self.test, int | float):
            return {"all": self.train}
        return {"train": self.train, "test": self.test}

    def _columns(self, images: str, labels: str) -> Mapping[str, np.ndarray]:
        image, label = (read_idx(self._find(one), max_unpacked_gb=self.max_unpacked_gb) for one in (images, labels))
        if label.ndim != 1 or image.shape[:1] != label.shape:
            raise DataError(
                f"{self._find(images)}, {image.shape}, and {self._find(labels)}, {label.shape}, disagree: "
                "each image needs one label"
            )
        return {"image": image[..., None] if image.ndim == 3 else image, "label": label}

    def _find(self, name: str) -> Path:
        return find_path(f"{self.path}/{name}", f"{self.path}/{name}.gz", file=True)


def read_idx(path: str | Path, *, max_unpacked_gb: float = MAX_UNPACKED_GB) -> np.ndarray:
    """Reads the array of an IDX file, of any rank and type of the format. A packed file may have any name.

    Args:
        path: a regular file.
        max_unpacked_gb: how many gigabytes (10^9 bytes) a packed file may unpack to.

    Raises:
        DataError: the file is missing, no IDX file, truncated, damaged, longer than its header says, or too large.
    """
    packed = Packed(Path(path), max_unpacked_gb)
    with packed.open() as file:
        dtype, shape = _read_header(packed.path, file)
        size = dtype.itemsize * math.prod(shape)
        if not file.seekable():
            packed.check(size)
        # One more byte shows whether more follows, and lets a packed file check its checksum.
        content = _read_bytes(file, size + 1)
    if len(content) != size:
        fault = f"is truncated after {len(content):,} of the" if len(content) < size else "has bytes behind the"
        raise DataError(f"{path} {fault} {size:,} bytes of data that its header announces, {dtype.name} {shape}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_idx_shape(path: str | Path) -> tuple[int, ...]:
    """Reads the shape of an IDX file from its header."""
    with Packed(Path(path)).open() as file:
        return _read_header(Path(path), file)[1]


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Writes an array as an IDX file, compressed if the name ends in .gz. Equal arrays give equal bytes."""
    codes = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
    if array.dtype not in codes:
        raise DataError(f"an array of {array.dtype} can't be written as IDX; allowed: {', '.join(map(str, codes))}")
    code = codes[array.dtype]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content = header + array.astype(_DTYPES[code]).tobytes()
    Path(path).write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)


def _read_bytes(file: BinaryIO, size: int) -> bytearray:
    """Reads up to `size` bytes. It allocates no more memory than the file has bytes."""
    content = bytearray()
    while len(content) < size and (chunk := file.read(min(size - len(content), _CHUNK))):
        content += chunk
    return content


def _read_header(path: Path, file: BinaryIO) -> tuple[np.dtype, tuple[int, ...]]:
    start = file.read(4)
    if len(start) < 4:
        raise DataError(f"{path} is truncated: it has {len(start)} bytes, and an IDX header at least 4")
    if start[:2] != b"\0\0":
        raise DataError(f"{path} is no IDX file: it begins with {start.hex(' ')} instead of 00 00")
    code, rank = start[2:]
    if code not in _DTYPES:
        known = ", ".join(f"{code:#04x} {dtype.name}" for code, dtype in _DTYPES.items())
        raise DataError(f"{path} has the unknown type code {code:#04x}; allowed: {known}")
    if rank > _RANKS:
        raise DataError(f"{path} has the rank {rank}; at most {_RANKS} is read")
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"{path} is truncated: it has {4 + len(sizes)} bytes, a header of rank {rank} {4 + 4 * rank}")
    shape = struct.unpack(f">{rank}I", sizes)
    if math.prod(size or 1 for size in shape) * _DTYPES[code].itemsize > sys.maxsize:
        raise DataError(f"{path} has the shape {shape}; no array can be that large")
    return _DTYPES[code], shape
