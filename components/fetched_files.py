"""The files that were fetched, in the cache folder, which several processes share.

An entry is a folder with one file, or with links to several. It appears when it is complete. Each process lists the
entries that it uses in a file of its own. The file is locked until the process ends, and no other process removes these
entries.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from components.cache_folder import fetched_folder

CHANGES = ".changes.lock"  # is locked while entries appear, are marked as used, or disappear
USED = ".used-"  # starts the name of the list of a process
NEW, REMOVED = ".new-", ".removed-"  # start the names of temporary folders
ENTRY = re.compile(r"[0-9a-f]{32}")
LEFT = re.compile(r"\.(new|removed|linking)-\w+")  # linking: of earlier versions

_lists: dict[Path, tuple[Path, int]] = {}
"""The lists of this process and their descriptors, by the folder of the entries."""
_added: list[Path] = []
"""The entries that this process has added."""


class FetchedEntry(NamedTuple):
    """An entry.

    Attributes:
        path: its folder.
        size: bytes. Those of a file that several entries have are counted once, in the entry that was used last.
        used: the time of its last use, in seconds since 1970.
        about: the address of its file, or of the folder of its files.
        is_busy: whether a process uses it, or is fetching it.
    """

    path: Path
    size: int
    used: float
    about: str
    is_busy: bool


def use_entry(entry: Path, place: str | Path = "") -> bool:
    """Marks an entry as used until this process ends.

    Args:
        entry: its folder.
        place: the path of its file below the folder.

    Returns:
        Whether it exists.
    """
    with _lock(entry.parent / CHANGES):
        if not (entry / place).exists():
            return False
        _mark_used(entry)
    return True


@contextmanager
def new_entry(name: str, waiting: Callable[[], AbstractContextManager[object]] = nullcontext) -> Iterator[Path]:
    """Makes an empty temporary folder for an entry. No other process writes this entry within the context.

    Args:
        name: the name of the entry.
        waiting: makes a context in which this process waits for another one that writes the entry.

    Yields:
        The temporary folder.
    """
    temporary = fetched_folder() / f"{NEW}{name}"
    with _lock(_lock_of(temporary), waiting):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def add_entry(temporary: Path, entry: Path, place: str | Path = "") -> Path:
    """Turns a temporary folder into an entry, unless it exists already, and marks it as used. Returns its file."""
    with _lock(entry.parent / CHANGES):
        if not (entry / place).exists():
            shutil.rmtree(entry, ignore_errors=True)  # of an earlier version, whose process was killed
            temporary.rename(entry)
            _added.append(entry)
        _mark_used(entry)
    return entry / place


def has_added_entries() -> bool:
    """Whether this process has fetched a file, so that the cache may have become too large."""
    return bool(_added)


def list_entries(cache: Path) -> list[FetchedEntry]:
    """Lists the entries, and what killed processes left. Those that were not used for the longest time come first.

    Args:
        cache: the folder of all caches.
    """
    root = fetched_folder(cache)
    if not root.is_dir():
        return []
    with _lock(root / CHANGES):
        used = _read_used(root)
    paths = [path for path in root.iterdir() if ENTRY.fullmatch(path.name) or LEFT.fullmatch(path.name)]
    times = {path: path.stat().st_mtime for path in paths if path.is_dir()}
    owners: dict[int, Path] = {}  # by the number of a file, which all links to it have
    bytes_of: dict[int, int] = {}
    abouts = {}
    for path in sorted(times, key=times.__getitem__):
        files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
        for file in files:
            with suppress(FileNotFoundError):  # another process is fetching it
                status = file.stat()
                owners[status.st_ino], bytes_of[status.st_ino] = path, status.st_size
        abouts[path] = _describe(path, files)
    sizes = Counter[Path]()
    for number, path in owners.items():
        sizes[path] += bytes_of[number]
    return [
        FetchedEntry(path, sizes[path], times[path], about, path.name in used or _is_locked(_lock_of(path)))
        for path, about in abouts.items()
    ]


def remove_entries(paths: Collection[Path]) -> list[Path]:
    """Removes entries, and what killed processes left, but for the entries that a process uses.

    Returns:
        The folders that are gone. An entry disappears at once.
    """
    if not paths:
        return []
    root, removed = next(iter(paths)).parent, list[Path]()
    with _lock(root / CHANGES):
        used = _read_used(root)
        for path in paths:
            if path.name not in used and not _is_locked(_lock_of(path)):
                with suppress(OSError):
                    path.rename(tempfile.mkdtemp(prefix=REMOVED, dir=root))  # replaces the empty folder
                    _lock_of(path).unlink(missing_ok=True)
                    removed.append(path)
    for path in root.glob(f"{REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)
    return removed


def _lock_of(temporary: Path) -> Path:
    """The file that a process locks while it writes a temporary folder. Entries have none."""
    return temporary.with_name(f"{temporary.name}.lock")


def _describe(path: Path, files: Collection[Path]) -> str:
    if LEFT.fullmatch(path.name):
        return "left by a process that was killed, or being fetched"
    scheme, *places = os.path.commonpath(files).removeprefix(f"{path}/").split("/") if files else ["", ""]
    return f"{scheme}://{'/'.join(places)}"


def _mark_used(entry: Path) -> None:
    """Adds an entry to the list of this process."""
    os.write(_open_list(entry.parent), f"{entry.name}\n".encode())
    os.utime(entry)


def _open_list(root: Path) -> int:
    """The descriptor of the list of this process. There is a new list if somebody has removed the folder with it."""
    path, descriptor = _lists.get(root, (None, -1))
    if path is not None and _is_file(descriptor, path):
        return descriptor
    if path is not None:
        os.close(descriptor)
    _read_used(root)  # removes the lists of processes that have ended
    descriptor, name = tempfile.mkstemp(prefix=USED, dir=root)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _lists[root] = Path(name), descriptor
    return descriptor


def _read_used(root: Path) -> set[str]:
    """The names of the entries that processes use. Removes the lists of processes that have ended."""
    names = set[str]()
    for path in root.glob(f"{USED}*"):
        if _is_locked(path):
            names.update(path.read_text().split())
        else:
            path.unlink(missing_ok=True)
    return names


def _is_locked(path: Path) -> bool:
    """Whether a process has locked a file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _lock(path: Path, waiting: Callable[[], AbstractContextManager[object]] = nullcontext) -> Iterator[None]:
    """Locks a file, which exists only while it is locked, or a process was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with waiting():
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_file(descriptor, path):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of a file that the other process has removed
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether a descriptor is of the file that is at a path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
