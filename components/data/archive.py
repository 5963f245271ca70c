"""Reads text files from a folder or from a tar archive."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from components.data.packed import PackedFile
from components.data.tar import FILE, FOLDER, TarError, read_tar
from components.input_files import open_file
from components.types import DataError

IsWanted: TypeAlias = Callable[[str, bool], bool]
Entry: TypeAlias = tuple[str, bytes | None]


def read_entries(packed: PackedFile, is_wanted: IsWanted) -> Iterator[Entry]:
    """Reads folders and text files, at any depth.

    An archive may have several entries with one path. Then the last entry counts, as it does for `tar -x`.

    Args:
        packed: a folder, or a tar archive.
        is_wanted: maps a path, and whether it is a folder, to whether the entry is read.

    Yields:
        The path, with slashes, and the content of the file in UTF-8; None for a folder.

    Raises:
        DataError: a wanted entry is no regular file, can't be read or isn't UTF-8; or the archive is damaged, isn't a
            tar archive, or is larger than `max_unpacked_gb`.
    """
    entries = _read_folder(packed.path, is_wanted) if packed.path.is_dir() else _read_archive(packed, is_wanted)
    for name, content in entries:
        _check_utf_8(packed.path, name, content)
        yield name, content


def _read_folder(root: Path, is_wanted: IsWanted) -> Iterator[Entry]:
    """Reads a folder. Links are followed, except links to a folder that contains the link."""
    pending: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = [(root, "", ())]
    while pending:
        folder, path, parent_ids = pending.pop()
        try:
            status, children = folder.stat(), list(os.scandir(folder))
        except OSError as error:
            raise DataError(f"{folder} can't be read: {error.strerror}") from error
        folder_id = (status.st_dev, status.st_ino)
        if folder_id in parent_ids:
            continue
        if is_wanted(path, True):
            yield path, None
        for child in children:
            name = f"{path}/{child.name}" if path else child.name
            if os.path.isdir(child.path):
                pending.append((Path(child.path), name, (*parent_ids, folder_id)))
            elif is_wanted(name, False):
                with open_file(Path(child.path)) as file:
                    content = file.read()
                yield name, content


def _read_archive(packed: PackedFile, is_wanted: IsWanted) -> Iterator[Entry]:
    total_bytes = 0

    def needs_content(path: str, kind: str, size: int) -> bool:
        nonlocal total_bytes
        name = posixpath.normpath(path)
        if kind == FOLDER or not is_wanted(name, False):
            return False
        if kind != FILE:
            raise DataError(f"{name} in {packed} is {kind}, not a regular file; pack the file itself")
        total_bytes += size
        packed.check_size(total_bytes)
        return True

    try:
        with packed.open() as file:
            for entry in read_tar(file, needs_content):
                name = posixpath.normpath(entry.name)
                if entry.content is not None or (entry.kind == FOLDER and is_wanted(name, True)):
                    yield name, entry.content
    except TarError as error:
        raise DataError(f"{packed} is damaged, or no tar archive: {error}; download or pack it again") from error


def _check_utf_8(path: Path, name: str, content: bytes | None) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path} contains a file name that isn't UTF-8, {os.fsencode(name)!r}; rename it") from error
    try:
        (content or b"").decode()
    except UnicodeDecodeError as error:
        value = error.object[error.start]
        raise DataError(
            f"{name} in {path} isn't UTF-8: byte {value:#04x} at offset {error.start}; convert it"
        ) from error
