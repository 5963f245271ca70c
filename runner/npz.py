"""Reads and writes arrays with metadata in JSON as one npz file, with a digest at its end. Writing is atomic.

An npz is a zip of npy files, so `numpy.load` reads these files too. The digest, the SHA-256 of all bytes before it, is
the zip's comment, which ends the file. Reading trusts nothing: `Damaged` is raised for a file that is not regular, does
not match its digest, or claims arrays larger than the file.
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

from components.input_files import open_descriptor, read_npy_header
from components.types import DataError, UserError
from runner.files import replace_atomically

META = "meta"
DIGEST_MARK = b"titrate sha256 "
DIGEST_BYTES = 64  # in hexadecimal
ZIP_END, ZIP_END_BYTES = b"PK\5\6", 22  # the end of a zip without a comment
CHUNK_BYTES = 2**20
DEEPEST_META = 100  # levels of lists and mappings in the metadata
ENCRYPTED = 1  # the bit in a zip member's flags


class DamagedFileError(UserError):
    """A file that can't be read. The message names the file and the problem."""


class Contents(NamedTuple):
    """The contents of a file.

    Attributes:
        meta: the metadata.
        arrays: the arrays by name.
        digest: the digest of the file; None: an earlier version wrote it, without a digest.
    """

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    digest: str | None


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """Writes a file atomically and to the disk, and returns its digest."""
    with replace_atomically(path) as file:
        digest = _write(file, {META: np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays})
    _sync_folder(path.parent)
    return digest


def read(path: Path) -> Contents:
    """Reads a file and verifies its digest. Raises Damaged."""
    with _open_archive(path) as file:
        digest = _verify_digest(file)
        arrays = _read_arrays(file)
        return Contents(_parse_meta(arrays.pop(META)), arrays, digest)


def read_meta(path: Path) -> dict[str, Any]:
    """Reads the metadata alone, without verifying the digest. Raises Damaged."""
    with _open_archive(path) as file:
        return _parse_meta(_read_arrays(file, only=META)[META])


@contextmanager
def report_as_damaged(path: Path, kind: str) -> Iterator[None]:
    """Turns errors of unpacking a file's contents into Damaged.

    Args:
        path: the file.
        kind: what it should contain, for the message.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is not a {kind}, though a whole npz file ({type(error).__name__}: {error})"
        ) from error


class _DigestingFile:
    """A writable file that computes a digest. It can't seek, so that zipfile writes each byte once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> str:
    target = _DigestingFile(file)
    with zipfile.ZipFile(target, "w") as archive:  # type: ignore[call-overload]  # it needs only `write` and `flush`
        archive.comment = DIGEST_MARK + bytes(DIGEST_BYTES)
        for name, array in arrays.items():
            # The time of a member is always the earliest that a zip has, so that equal arrays make equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    digest = target.sum.hexdigest()
    file.seek(-DIGEST_BYTES, os.SEEK_END)
    file.write(digest.encode())
    return digest


@contextmanager
def _open_archive(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file. Exceptions in the context become Damaged."""
    try:
        with open(open_descriptor(path), "rb") as file:
            yield file
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing") from error
    except DataError as error:
        raise DamagedFileError(str(error)) from error
    except Exception as error:  # the disk, zipfile, NumPy and JSON raise many kinds on untrusted bytes
        text = (str(error).splitlines() or [""])[0]
        raise DamagedFileError(f"{path} can't be read: {text or type(error).__name__}") from error


class _FileProblem(ValueError):
    """A problem with the bytes of a file."""


def _verify_digest(file: BinaryIO) -> str | None:
    """Verifies and returns the digest at the end of a file; None for a file of a version without digests."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(DIGEST_MARK) - DIGEST_BYTES))
    end = file.read()
    if end.startswith(DIGEST_MARK):
        digest = end[len(DIGEST_MARK) :]
        if _compute_digest(file, size - DIGEST_BYTES).encode() != digest:
            raise _FileProblem("its bytes are not those that were written")
        return digest.decode()
    if end[-ZIP_END_BYTES:].startswith(ZIP_END):
        return None
    raise _FileProblem("it is no npz file, or cut short")


def _compute_digest(file: BinaryIO, size: int) -> str:
    """The digest of the first `size` bytes, followed by zeros where the digest itself stands."""
    content = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        content.update(chunk)
        size -= len(chunk)
    content.update(bytes(DIGEST_BYTES))
    return content.hexdigest()


def _read_arrays(file: BinaryIO, only: str | None = None) -> dict[str, np.ndarray]:
    """Reads all arrays, or only one. Refuses members whose sizes exceed that of the file."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise _FileProblem("two of its members have the same name")
        if META not in members:
            raise _FileProblem("it has no note: another program wrote it")
        if sum(info.file_size for info in members.values()) > file.seek(0, os.SEEK_END):
            raise _FileProblem("its members are larger than the file")
        return {
            name: _read_array(archive, name, info) for name, info in members.items() if only is None or name == only
        }


def _read_array(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    if info.flag_bits & ENCRYPTED:
        raise _FileProblem(f"its member {name} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED:
        raise _FileProblem(f"its member {name} is compressed, which no Titrate does")
    data = io.BytesIO(archive.read(info))
    try:
        shape, fortran, dtype = read_npy_header(data)
    except ValueError as error:
        raise _FileProblem(f"its member {name} is no array") from error
    if dtype.hasobject:
        raise _FileProblem(f"its member {name} holds objects, which are never read")
    count, given = math.prod(shape), len(data.getbuffer()) - data.tell()
    if dtype.itemsize == 0 or count * dtype.itemsize != given:
        raise _FileProblem(f"its member {name} claims to be {dtype} {shape}, but has {given:,} bytes")
    return np.ndarray(shape, dtype, data.getbuffer(), data.tell(), order="F" if fortran else "C").copy("K")


def _parse_meta(array: np.ndarray) -> dict[str, Any]:
    note = json.loads(array.tobytes())
    if not isinstance(note, dict):
        raise _FileProblem(f"its note is a {type(note).__name__}, not an object")
    if _is_too_deep(note):
        raise _FileProblem(f"its note is nested more than {DEEPEST_META} levels deep")
    return note


def _is_too_deep(node: Any) -> bool:
    level = [node]
    for _ in range(DEEPEST_META):
        children = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [child for one in children for child in one]
    return bool(level)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
