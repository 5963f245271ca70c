"""Arrays with a note in JSON as one npz file, there whole or not at all, with a digest of itself at its end.

An npz is a zip whose members are npy files, so `numpy.load` reads these too. The digest is the zip's comment, which
ends the file: the SHA-256 of all bytes before it. Reading trusts nothing: what isn't a regular file, or not the bytes
that were written, or asks for more memory than the file has bytes, is `Damaged`.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from components.place import open_regular, read_npy_header
from components.types import DataError, UserError
from runner.files import replacing

NOTE = "meta"
MARK = b"titrate sha256 "
DIGEST_BYTES = 64  # in hexadecimal
ZIP_END, ZIP_END_BYTES = b"PK\5\6", 22  # how a zip without a comment ends
CHUNK_BYTES = 2**20
MOST_NESTED = 100  # levels of a note
ENCRYPTED = 1  # a bit of a member's flags


class Damaged(UserError):
    """A file that can't be read; the message names it and its fault."""


class Contents(NamedTuple):
    """What a file holds."""

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    digest: str | None  # None: an earlier version wrote it, which knew no digest


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """Writes the file, and returns its digest once it is on the disk."""
    with replacing(path) as file:
        digest = _write(file, {NOTE: np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays})
    _sync_folder(path.parent)
    return digest


def read(path: Path) -> Contents:
    """The note, the arrays and the digest; raises Damaged."""
    with _opened(path) as file:
        digest = _checked(file)
        arrays = _arrays(file)
        return Contents(_note(arrays.pop(NOTE)), arrays, digest)


def read_meta(path: Path) -> dict[str, Any]:
    """The note alone, without looking at the digest; raises Damaged."""
    with _opened(path) as file:
        return _note(_arrays(file, only=NOTE)[NOTE])


@contextmanager
def unpacked(path: Path, kind: str) -> Iterator[None]:
    """Raises Damaged where the contents of a file turn out not to be those of its kind."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(f"{path} is no {kind}, though a whole npz file ({type(error).__name__}: {error})") from error


class _Digesting:
    """A file to write to that sums up what it is given; it can't seek, so that a zip writes each byte once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> str:
    target = _Digesting(file)
    with zipfile.ZipFile(target, "w") as archive:  # type: ignore[call-overload]  # it needs `write` and `flush` alone
        archive.comment = MARK + bytes(DIGEST_BYTES)
        for name, array in arrays.items():
            # A member's time is always that of a zip's beginning: equal arrays are equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    digest = target.sum.hexdigest()
    file.seek(-DIGEST_BYTES, os.SEEK_END)
    file.write(digest.encode())
    return digest


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, if it is a regular one; whatever goes wrong with it within is told as its fault."""
    try:
        with open(open_regular(path), "rb") as file:
            yield file
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing") from error
    except DataError as error:
        raise Damaged(str(error)) from error
    except Exception as error:  # whatever the disk, zipfile, NumPy and JSON raise on bytes that nobody vouches for
        text = (str(error).splitlines() or [""])[0]
        raise Damaged(f"{path} can't be read: {text or type(error).__name__}") from error


class _Fault(ValueError):
    """What is wrong with the bytes of a file."""


def _checked(file: BinaryIO) -> str | None:
    """The digest at the end of a file, which is that of its bytes; None where there is none by design."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(MARK) - DIGEST_BYTES))
    end = file.read()
    if end.startswith(MARK):
        digest = end[len(MARK) :]
        if _sum(file, size - DIGEST_BYTES).encode() != digest:
            raise _Fault("its bytes are not those that were written")
        return digest.decode()
    if end[-ZIP_END_BYTES:].startswith(ZIP_END):
        return None
    raise _Fault("it is no npz file, or cut short")


def _sum(file: BinaryIO, size: int) -> str:
    """The digest of the first `size` bytes, and of the zeros that a digest takes the place of."""
    content = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        content.update(chunk)
        size -= len(chunk)
    content.update(bytes(DIGEST_BYTES))
    return content.hexdigest()


def _arrays(file: BinaryIO, only: str | None = None) -> dict[str, np.ndarray]:
    """The members as arrays, all or one, without what could be more than the file's own bytes."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise _Fault("two of its members have the same name")
        if NOTE not in members:
            raise _Fault("it has no note: another program wrote it")
        if sum(info.file_size for info in members.values()) > file.seek(0, os.SEEK_END):
            raise _Fault("its members are larger than the file")
        return {name: _array(archive, name, info) for name, info in members.items() if only is None or name == only}


def _array(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    if info.flag_bits & ENCRYPTED:
        raise _Fault(f"its member {name} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED:
        raise _Fault(f"its member {name} is compressed, which no Titrate does")
    data = io.BytesIO(archive.read(info))
    try:
        shape, fortran, dtype = read_npy_header(data)
    except ValueError as error:
        raise _Fault(f"its member {name} is no array") from error
    if dtype.hasobject:
        raise _Fault(f"its member {name} holds objects, which are never read")
    count, given = math.prod(shape), len(data.getbuffer()) - data.tell()
    if dtype.itemsize == 0 or count * dtype.itemsize != given:
        raise _Fault(f"its member {name} says it is {dtype} {shape}, and has {given:,} bytes")
    return np.ndarray(shape, dtype, data.getbuffer(), data.tell(), order="F" if fortran else "C").copy("K")


def _note(array: np.ndarray) -> dict[str, Any]:
    note = json.loads(array.tobytes())
    if not isinstance(note, dict):
        raise _Fault(f"its note is a {type(note).__name__}, not an object")
    if _is_deep(note):
        raise _Fault(f"its note is nested more than {MOST_NESTED} levels deep")
    return note


def _is_deep(node: Any) -> bool:
    level = [node]
    for _ in range(MOST_NESTED):
        children = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [child for one in children for child in one]
    return bool(level)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
