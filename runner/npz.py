"""Reads and writes npz files with arrays, metadata in JSON, and a digest. Writing is atomic.

An npz is a zip of npy files, so `numpy.load` reads these files, too. The zip's comment, which ends the file, holds the
SHA-256 of all bytes before the digest. Files may come from somebody else: `DamagedFileError` is raised for a file that
is not regular, does not match its digest, or has larger arrays than the file.
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

META = "meta"  # the name of the array with the metadata
DIGEST_MARK = b"titrate sha256 "
DIGEST_BYTES = 64  # in hexadecimal
ZIP_END, ZIP_END_BYTES = b"PK\5\6", 22  # the end of a zip without a comment
CHUNK_BYTES = 2**20
MAX_DEPTH = 100  # levels of lists and mappings in the metadata
ENCRYPTED = 1  # the bit in a zip member's flags


class DamagedFileError(UserError):
    """A file that can't be read. The message names the file and the problem."""


class Contents(NamedTuple):
    """The contents of a file.

    Attributes:
        meta: the metadata.
        arrays: the arrays by name.
        digest: the digest of the file; None: the file was written by an earlier version, without a digest.
    """

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    digest: str | None


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """Writes a file atomically, waits until it is on the disk, and returns its digest."""
    with replace_atomically(path) as file:
        digest = _write(file, {META: np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays})
    _sync_folder(path.parent)
    return digest


def read(path: Path) -> Contents:
    """Reads a file and verifies its digest. Raises DamagedFileError."""
    with _open_archive(path) as file:
        digest = _verify_digest(file)
        arrays = _read_arrays(file)
        return Contents(_parse_meta(arrays.pop(META)), arrays, digest)


def read_meta(path: Path) -> dict[str, Any]:
    """Reads the metadata alone, without verifying the digest. Raises DamagedFileError."""
    with _open_archive(path) as file:
        return _parse_meta(_read_arrays(file, META)[META])


@contextmanager
def report_as_damaged(path: Path, kind: str) -> Iterator[None]:
    """Turns errors raised inside, where a file's contents are unpacked, into DamagedFileError.

    Args:
        path: the file.
        kind: the kind of file that is expected, for the message.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is not a {kind}, but another npz file ({type(error).__name__}: {error})"
        ) from error


class _DigestingFile:
    """A writable file that computes a digest. It can't seek, so that zipfile writes each byte once.

    Attributes:
        sha256: the hash of the bytes that were written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> str:
    target = _DigestingFile(file)
    with zipfile.ZipFile(target, "w") as archive:  # type: ignore[call-overload]  # it needs only `write` and `flush`
        archive.comment = DIGEST_MARK + bytes(DIGEST_BYTES)
        for name, array in arrays.items():
            # `ZipInfo` has a constant time, so that equal arrays give equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    digest = target.sha256.hexdigest()
    file.seek(-DIGEST_BYTES, os.SEEK_END)
    file.write(digest.encode())
    return digest


@contextmanager
def _open_archive(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file. Exceptions raised inside become DamagedFileError."""
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
    """Verifies and returns the digest at the end of a file; None if an earlier version wrote it without a digest."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(DIGEST_MARK) - DIGEST_BYTES))
    end = file.read()
    if end.startswith(DIGEST_MARK):
        digest = end[len(DIGEST_MARK) :]
        if _compute_digest(file, size - DIGEST_BYTES).encode() != digest:
            raise _FileProblem("its bytes were changed after it was written")
        return digest.decode()
    if end[-ZIP_END_BYTES:].startswith(ZIP_END):
        return None
    raise _FileProblem("it is not an npz file, or its end is missing")


def _compute_digest(file: BinaryIO, size: int) -> str:
    """The digest of the first `size` bytes, followed by zeros in place of the digest itself."""
    content = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        content.update(chunk)
        size -= len(chunk)
    content.update(bytes(DIGEST_BYTES))
    return content.hexdigest()


def _read_arrays(file: BinaryIO, selected: str | None = None) -> dict[str, np.ndarray]:
    """Reads all arrays, or a selected one. Raises an error if the arrays are larger than the file."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise _FileProblem("two of its members have the same name")
        if META not in members:
            raise _FileProblem("it has no metadata, so another program wrote it")
        if sum(info.file_size for info in members.values()) > file.seek(0, os.SEEK_END):
            raise _FileProblem("its arrays are larger than the file")
        names = [*members] if selected is None else [selected]
        return {name: _read_array(archive, name, members[name]) for name in names}


def _read_array(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    if info.flag_bits & ENCRYPTED:
        raise _FileProblem(f"its member {name} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED:
        raise _FileProblem(f"its member {name} is compressed, so another program wrote it")
    data = io.BytesIO(archive.read(info))
    try:
        shape, fortran, dtype = read_npy_header(data)
    except ValueError as error:
        raise _FileProblem(f"its member {name} is not an array") from error
    if dtype.hasobject:
        raise _FileProblem(f"its member {name} holds Python objects, which are not allowed")
    size, byte_count = math.prod(shape), len(data.getbuffer()) - data.tell()
    if dtype.itemsize == 0 or size * dtype.itemsize != byte_count:
        raise _FileProblem(f"the header of its member {name} is {dtype} {shape}, but it has {byte_count:,} bytes")
    return np.ndarray(shape, dtype, data.getbuffer(), data.tell(), order="F" if fortran else "C").copy("K")


def _parse_meta(array: np.ndarray) -> dict[str, Any]:
    meta = json.loads(array.tobytes())
    if not isinstance(meta, dict):
        raise _FileProblem(f"its metadata is a {type(meta).__name__}, not an object")
    if _is_too_deep(meta):
        raise _FileProblem(f"its metadata has more than {MAX_DEPTH} nested levels")
    return meta


def _is_too_deep(tree: Any) -> bool:
    level = [tree]
    for _ in range(MAX_DEPTH):
        collections = [node for node in level if isinstance(node, dict | list)]
        level = [child for node in collections for child in (node.values() if isinstance(node, dict) else node)]
    return bool(level)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
