"""The folders and texts below a folder, or in a tar archive."""

from __future__ import annotations

import os
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

    Raises DataError where one can't be read or is no UTF-8, and for an archive that is damaged or none.
    """
    for name, text in _below(path, wanted) if path.is_dir() else _in_archive(path, wanted):
        if text is not None:
            _check(path, name, text)
        yield name, text


def _below(root: Path, wanted: Wanted) -> Iterator[Entry]:
    for folder, _, files in os.walk(root):
        inner = Path(folder).relative_to(root).as_posix()
        if wanted(inner, True):
            yield inner, None
        for file in files:
            if wanted(name := f"{inner}/{file}", False):
                yield name, _bytes(Path(folder, file))


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
                if member.isdir() and wanted(member.name, True):
                    yield member.name, None
                elif file := member.isfile() and wanted(member.name, False) and archive.extractfile(member):
                    yield member.name, file.read()
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
