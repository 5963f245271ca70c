"""The folders and texts below a folder, or in a tar archive."""

from __future__ import annotations

import os
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path
from typing import TypeAlias

from components.types import DataError

Wanted: TypeAlias = Callable[[str, bool], bool]
Entry: TypeAlias = tuple[str, bytes | None]


def entries(path: Path, wanted: Wanted) -> Iterator[Entry]:
    """Those of which `wanted(path, is a folder)`: their paths, with slashes, and texts in UTF-8; None of a folder.

    An archive may have a path several times: the last counts, as where it is unpacked.

    Raises DataError where one can't be read or is no UTF-8, and for an archive that is damaged or none.
    """
    for name, text in _below(path, wanted) if path.is_dir() else _in_archive(path, wanted):
        if text is not None:
            _check(path, name, text)
        yield name, text


def _below(folder: Path, wanted: Wanted, path: str = "", above: tuple[tuple[int, int], ...] = ()) -> Iterator[Entry]:
    """Links are followed, but for those that lead back into a folder that is being read."""
    try:
        state, inside = folder.stat(), list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror}") from error
    itself = (state.st_dev, state.st_ino)
    if itself in above:
        return
    if wanted(path, True):
        yield path, None
    for entry in inside:
        name = f"{path}/{entry.name}" if path else entry.name
        if os.path.isdir(entry.path):
            yield from _below(Path(entry.path), wanted, name, (*above, itself))
        elif wanted(name, False):
            yield name, _bytes(Path(entry.path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error


def _in_archive(path: Path, wanted: Wanted) -> Iterator[Entry]:
    position = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                position = archive.offset
                name = posixpath.normpath(member.name)
                if member.isdir() and wanted(name, True):
                    yield name, None
                elif file := member.isfile() and wanted(name, False) and archive.extractfile(member):
                    yield name, file.read()
            while archive.fileobj and archive.fileobj.read(1 << 20):
                pass  # to the end, where the checksum is
    except (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError) as error:
        reason = str(error).partition("\n")[0].removesuffix(":")
        place = f"after byte {position} of what is packed"
        raise DataError(f"{path} is damaged, or no tar archive: {reason} ({place}); get it anew") from error


def _check(path: Path, name: str, text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        value = error.object[error.start]
        raise DataError(
            f"{name} of {path} is no UTF-8: byte {value:#04x} at offset {error.start}; convert it"
        ) from error
