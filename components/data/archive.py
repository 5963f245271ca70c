"""Folders and texts below a folder, or in a tar archive."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from components.data.packed import Packed
from components.data.tar import FILE, FOLDER, TarError, read_tar
from components.input_files import open_file
from components.types import DataError

Wanted: TypeAlias = Callable[[str, bool], bool]
Entry: TypeAlias = tuple[str, bytes | None]


def read_entries(packed: Packed, wanted: Wanted) -> Iterator[Entry]:
    """Reads the wanted folders and files.

    An archive may have a path several times. The last one counts, as where an archive is unpacked.

    Args:
        packed: a folder, or a tar archive.
        wanted: (path, whether it is a folder) -> whether it is wanted.

    Yields:
        The path, with slashes, and the text in UTF-8; None for a folder.

    Raises:
        DataError: a file is no regular file, can't be read or isn't UTF-8; or the archive is damaged, no archive, or
            unpacks to too much.
    """
    found = _read_folder(packed.path, wanted) if packed.path.is_dir() else _read_archive(packed, wanted)
    for name, text in found:
        _check(packed.path, name, text)
        yield name, text


def _read_folder(folder: Path, wanted: Wanted) -> Iterator[Entry]:
    """Follows links, except those that lead back into a folder that is being read."""
    left: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = [(folder, "", ())]
    while left:
        place, path, above = left.pop()
        try:
            state, inside = place.stat(), list(os.scandir(place))
        except OSError as error:
            raise DataError(f"{place} can't be read: {error.strerror}") from error
        itself = (state.st_dev, state.st_ino)
        if itself in above:
            continue
        if wanted(path, True):
            yield path, None
        for entry in inside:
            name = f"{path}/{entry.name}" if path else entry.name
            if os.path.isdir(entry.path):
                left.append((Path(entry.path), name, (*above, itself)))
            elif wanted(name, False):
                with open_file(Path(entry.path)) as file:
                    text = file.read()
                yield name, text


def _read_archive(packed: Packed, wanted: Wanted) -> Iterator[Entry]:
    taken = 0

    def is_wanted(path: str, kind: str, size: int) -> bool:
        nonlocal taken
        name = posixpath.normpath(path)
        if kind == FOLDER or not wanted(name, False):
            return False
        if kind != FILE:
            raise DataError(f"{name} of {packed} is {kind}; pack the files themselves")
        taken += size
        packed.check(taken)
        return True

    try:
        with packed.open() as file:
            for entry in read_tar(file, is_wanted):
                name = posixpath.normpath(entry.name)
                if entry.content is not None or (entry.kind == FOLDER and wanted(name, True)):
                    yield name, entry.content
    except TarError as error:
        raise DataError(f"{packed} is damaged, or no tar archive: {error}; get it again") from error


def _check(path: Path, name: str, text: bytes | None) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path} has a name that isn't UTF-8, {os.fsencode(name)!r}; rename it") from error
    try:
        (text or b"").decode()
    except UnicodeDecodeError as error:
        value = error.object[error.start]
        raise DataError(
            f"{name} of {path} isn't UTF-8: byte {value:#04x} at offset {error.start}; convert it"
        ) from error
