"""The entries of the cache of encoded data: their folder, their sizes, and the removal of those not used for long.

Several processes share the folder. On Linux, files that are removed stay readable for processes that have opened them.
Other users who share the cache have folders of their own.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from components.cache_folder import own_folder
from components.fetched_files import FetchedEntry, remove_entries
from components.fetched_files import list_entries as list_fetched
from runner.run_folder import LOCK, NEW_LOCK, is_abandoned

INDEX, SHARED = "index.json", "shared.bin"
_NAME = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.\w{8}")  # the entry's name between dots, and `mkdtemp`'s 8 characters
_FILES = "|".join(map(re.escape, (INDEX, SHARED, LOCK, NEW_LOCK)))
_FILE = re.compile(rf"{_FILES}|\d+\.(bin|npy)")  # npy: of earlier versions


class CacheEntry(NamedTuple):
    """An entry of the cache.

    Attributes:
        path: its folder.
        size: bytes.
        used: the time of its last use, in seconds since 1970.
        about: what it holds.
        is_busy: whether a process is writing or removing it now, so that it can't be removed.
    """

    path: Path
    size: int
    used: float
    about: str
    is_busy: bool = False


def entries_folder(cache: Path) -> Path:
    """The folder of this user's entries.

    Args:
        cache: the folder of all caches.
    """
    return own_folder(cache, "data")


def list_entries(folder: Path) -> list[CacheEntry]:
    """Lists this user's entries, those that were not used for the longest time first.

    Temporary folders are among them: those that other processes write, and what killed ones left.
    """
    entries = []
    with suppress(OSError):  # there is no cache yet
        for path in folder.iterdir():
            with suppress(OSError):  # another process has removed it
                if _is_own(path):
                    is_busy = _is_temporary(path) and not is_abandoned(path)
                    index = path / INDEX
                    used = (index if index.exists() else path).stat().st_mtime
                    size = sum(file.lstat().st_size for file in path.iterdir())
                    about = "another process is writing it" if is_busy else "left by a process that was killed"
                    about = about if _is_temporary(path) else _read_about(index)
                    entries.append(CacheEntry(path, size, used, about, is_busy))
    return sorted(entries, key=lambda entry: entry.used)


def remove_least_used(folder: Path, limit: float, keep: Collection[str]) -> list[CacheEntry | FetchedEntry]:
    """Removes the entries that were not used for the longest time, until the others have at most `limit` bytes.

    Fetched files are among them, but for those that a process uses.

    Args:
        folder: the folder of the entries.
        limit: bytes of all entries together.
        keep: the names of entries that are kept in any case.

    Returns:
        The removed entries.
    """
    remove_temporary_folders(folder)
    entries = list_all_entries(folder)
    excess = sum(entry.size for entry in entries) - limit
    removed = []
    for entry in entries:
        if excess > 0 and entry.path.name not in keep and remove(entry):
            removed.append(entry)
            excess -= entry.size
    return removed


def list_all_entries(folder: Path) -> list[CacheEntry | FetchedEntry]:
    """Lists this user's entries and fetched files, those that were not used for the longest time first."""
    return sorted([*list_entries(folder), *list_fetched(folder.parent)], key=lambda entry: entry.used)


def remove(entry: CacheEntry | FetchedEntry) -> bool:
    """Removes an entry or a fetched file, unless a process is writing or using it. Returns whether it is gone."""
    if isinstance(entry, FetchedEntry):
        return entry.path in remove_entries([entry.path])
    return remove_entry(entry.path)


def remove_entry(path: Path) -> bool:
    """Removes an entry, unless a process is writing it. It disappears at once, so that no process finds half of it.

    Returns:
        Whether it is gone. Nothing of another user is removed, and nothing but the files of an entry.
    """
    try:
        if _is_own(path):
            _remove_own(path)
    except OSError:  # the folder is read-only, or another process has removed the entry
        pass
    return not os.path.lexists(path)


def _remove_own(path: Path) -> None:
    if not _is_temporary(path):
        renamed = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            path.rename(renamed)  # replaces the empty folder
        finally:
            remove_files(renamed)
    elif is_abandoned(path):
        remove_files(path)


def remove_files(folder: Path) -> None:
    """Removes the folder of an entry, also of one that is only half written."""
    with suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def remove_temporary_folders(folder: Path) -> None:
    """Removes what killed processes left."""
    with suppress(OSError):  # there is no cache yet
        for path in folder.iterdir():
            if _is_temporary(path):
                remove_entry(path)


def _is_temporary(path: Path) -> bool:
    return _TEMPORARY.fullmatch(path.name) is not None


def _is_own(path: Path) -> bool:
    """Whether a path is the folder of an entry of this user. TITRATE_CACHE may name a folder with other things too."""
    is_named = _NAME.fullmatch(path.name) is not None or _is_temporary(path)
    if not is_named or path.is_symlink() or not path.is_dir():
        return False
    return path.stat().st_uid == os.getuid() and all(_FILE.fullmatch(file.name) for file in path.iterdir())


def _read_about(index: Path) -> str:
    try:
        return str(json.loads(index.read_text())["content"]["about"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "unknown: another version of Titrate wrote it, or it is damaged"
