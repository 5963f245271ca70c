"""The files of a folder, or of a tar or zip archive of it, each of which can be read alone."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shlex
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.data.packed import PackedFile
from components.data.table import BLOCK_BYTES
from components.data.tar import FILE, FOLDER, TarError, read_tar
from components.hashing import hash_values
from components.input_files import hash_file, open_descriptor, open_file
from components.types import Block, DataError, FileChecksums, Strings

ZIP_START = b"PK\x03\x04"
IGNORED = ("__macosx", "thumbs.db", "desktop.ini")  # are made by operating systems
ENCRYPTED = 0x1  # a flag of zip
BLOCK_FILES = 64  # the maximum number of rows of a block, whose decoded files are in memory at once
MAX_HASHED_BYTES = 2**30  # of an archive; the content of a larger one isn't read at each start of a run
UNREAD = -1  # the checksum of a file that wasn't read yet


class ChangedFileError(DataError):
    """A file has other bytes than when it was read before."""


class Version(NamedTuple):
    """What identifies one file, or all files of a folder.

    Attributes:
        portable: a text that changes when a file changes: a digest of its content, or its size and time of
            modification. A copy that keeps these has the same text.
        local: a text that also changes when a file is replaced by one of the same size and time of modification: its
            inode, and the time when its bytes or attributes were changed, which no program can set. A copy has another
            text. "": `portable` is a digest of the content.
    """

    portable: str
    local: str


@dataclass(frozen=True, kw_only=True)
class FileBlock(Block):
    """A block in which each row is a file. Messages name a row by its file.

    Attributes:
        names: the path of the file of each row of the block.
    """

    names: Sequence[str]

    def locate(self, row: int) -> str:
        return f"{self.names[row]} of {self.origin}"


class Entry(NamedTuple):
    """A file.

    Attributes:
        name: its path within the folder or archive, with slashes.
        size: its size in bytes.
        read: returns its content.
    """

    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Files:
    """Files in the order of their paths.

    Attributes:
        root: the folder or archive.
        entries: the files.
        folders: the paths of all folders, also of those without files.
        version: of the archive, or of all files of the folder.
        known: the checksum of each file that was read, CRC-32; UNREAD for others.
    """

    root: Path
    entries: Sequence[Entry]
    folders: Sequence[str]
    version: Version
    known: FileChecksums
    names: Sequence[str] = field(init=False)
    sizes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", [entry.name for entry in self.entries])
        object.__setattr__(self, "sizes", np.array([entry.size for entry in self.entries], np.int64))

    def read(self, number: int) -> bytes:
        """The content of a file.

        Raises:
            DataError: it can't be read.
            ChangedFileError: it has another size than before, or other bytes than when it was read before.
        """
        entry = self.entries[number]
        content = entry.read()
        if len(content) != entry.size:
            raise ChangedFileError(
                f"{entry.name} had {entry.size:,} bytes, and has {len(content):,}: another program writes it"
            )
        checksum, checksums = zlib.crc32(content), self.known.checksums
        if checksums[number] not in (UNREAD, checksum):
            if self._has_new_version(number):
                raise ChangedFileError(
                    f"{entry.name} in {self.root} has other bytes than when it was read before, because it was changed "
                    "while the files were read. Start again"
                )
            place = self._place(number)
            others = f", or `touch {shlex.quote(str(place.parent))}/*` if others beside it changed too"
            others = others if self.root.is_dir() else ""
            raise ChangedFileError(
                f"{entry.name} in {self.root} has other bytes than when it was read before, although its size is the "
                "same: it is damaged, or was changed or replaced without a new time of modification. Restore it; or, "
                f"if the new bytes are right, run `touch {shlex.quote(str(place))}`{others}"
            )
        checksums[number] = checksum
        return content

    def _place(self, number: int) -> Path:
        """The path of a file of a folder, or of the archive."""
        return self.root / self.entries[number].name.replace("\\", "/") if self.root.is_dir() else self.root

    def _has_new_version(self, number: int) -> bool:
        """Whether a file, or the archive, has another size or time of modification than when it was listed."""
        name = self.entries[number].name
        try:
            if self.root.is_dir():
                version = make_version(name, self._place(number).stat()).portable
            else:
                version = f"{name}\0{find_version(self.root).portable}"
        except OSError:  # it was removed since it was read
            return True
        return bool(start_checksums([version]).files[0] != self.known.files[number])

    def add_checksums(self, known: FileChecksums) -> None:
        """Adds the checksums of files that were read before."""
        _, before, own = np.intersect1d(known.files, self.known.files, return_indices=True)
        self.known.checksums[own] = known.checksums[before]


class ChecksFileBytes(ABC):
    """A source of files that are read one by one, and compared with what was read before."""

    @property
    @abstractmethod
    def file_lists(self) -> Sequence[Files]:
        """All files of the source, in one or several lists."""

    def local_version(self) -> str:
        """A text that changes when a file is replaced, also by one of equal size and time of modification."""
        return join_local_versions([files.version for files in self.file_lists])

    def file_checksums(self) -> Sequence[tuple[str, FileChecksums]]:
        """The folder or archive, and the checksums, of each list of files, but for archives that are hashed whole."""
        return [(str(files.root.absolute()), files.known) for files in self.file_lists if files.version.local]

    def add_file_checksums(self, known: Mapping[str, FileChecksums]) -> None:
        """Adds checksums that `file_checksums` returned before."""
        for files in self.file_lists:
            if (found := known.get(str(files.root.absolute()))) is not None:
                files.add_checksums(found)


class FileContents:
    """The contents of some files, each of which is read once.

    Args:
        files: all files.
        numbers: the numbers of the files, int64; -1 stands for no file, whose content is empty.
    """

    def __init__(self, files: Files, numbers: np.ndarray) -> None:
        self._files, self._numbers = files, numbers
        self._contents = {-1: b""}

    def read(self, indices: np.ndarray) -> Strings:
        """The contents of the files at some indices, int64.

        Raises:
            DataError: a file can't be read, or has another size than before.
        """
        numbers = self._numbers[indices].tolist()
        for number in numbers:
            if number not in self._contents:
                self._contents[number] = self._files.read(number)
        return Strings.from_bytes([self._contents[number] for number in numbers])


def find_file_bounds(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields the first row and the end of each block of rows with files.

    Args:
        sizes: the number of bytes of the files of each row, (rows,).
    """
    first = 0
    while first < len(sizes):
        total = np.cumsum(sizes[first : first + BLOCK_FILES])
        stop = first + max(int(np.searchsorted(total, BLOCK_BYTES, side="right")), 1)
        yield first, stop
        first = stop


def open_files(packed: PackedFile, is_wanted: Callable[[str], bool]) -> Files:
    """Lists the files of a folder or archive. Hidden files and folders are left out.

    Args:
        packed: a folder, or a tar or zip archive. A packed tar archive is unpacked in memory, up to its maximum size,
            which is also that of each file in a zip archive.
        is_wanted: maps the path of a file to whether it is listed.

    Raises:
        DataError: a folder can't be read, the archive is damaged, or an entry is no regular file or lies outside.
    """
    path = packed.path
    if path.is_dir():
        return _list_folder(path, is_wanted)
    with open_file(path) as file:
        is_zip = file.read(len(ZIP_START)) == ZIP_START
    entries, folders = (_list_zip if is_zip else _list_tar)(packed, is_wanted)
    # If an archive has several entries with one path, the last one counts, as it does when it is unpacked.
    by_name = {entry.name: entry for entry in entries}
    names, version = sorted(by_name), find_version(path)
    known = start_checksums(f"{name}\0{version.portable}" for name in names)
    return Files(path, [by_name[name] for name in names], sorted(folders), version, known)


def find_version(path: Path) -> Version:
    """The version of a file. Its content is read unless it has more than 1 GiB."""
    status = path.stat()
    if status.st_size <= MAX_HASHED_BYTES:
        return Version(hash_file(path, 16).hexdigest(), "")
    return Version(f"{status.st_size} bytes, {status.st_mtime_ns}", f"{status.st_ctime_ns}, {status.st_ino}")


def make_version(name: str, status: os.stat_result) -> Version:
    """The version of a file of a folder, by its path and status."""
    return Version(f"{name}\0{status.st_size}\0{status.st_mtime_ns}", f"{status.st_ctime_ns}\0{status.st_ino}")


def join_files(root: Path, files: Sequence[tuple[Entry, Version]], folders: Sequence[str]) -> Files:
    """The files of a folder with their versions.

    Args:
        root: the folder.
        files: the files and their versions.
        folders: the paths of all folders in it.
    """
    ordered = sorted(version for _, version in files)
    version = Version(hash_texts(each.portable for each in ordered), hash_texts(each.local for each in ordered))
    known = start_checksums(version.portable for _, version in files)
    return Files(root, [entry for entry, _ in files], folders, version, known)


def start_checksums(versions: Iterable[str]) -> FileChecksums:
    """The checksums of files that weren't read yet, with portable versions that depend on their paths."""
    files = hash_values(Strings.from_bytes([version.encode(errors="surrogateescape") for version in versions]))
    return FileChecksums(files, np.full(len(files), UNREAD, np.int64))


def join_local_versions(versions: Iterable[Version]) -> str:
    """The local versions of several files or lists of files; "": the portable ones are enough."""
    found = [version.local for version in versions if version.local]
    return hash_texts(found) if found else ""


def hash_texts(texts: Iterable[str]) -> str:
    """A digest of texts, 32 characters."""
    return hashlib.blake2b("\0".join(texts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _list_folder(root: Path, is_wanted: Callable[[str], bool]) -> Files:
    """Links are followed, except links to a folder that contains the link."""
    files, folders = list[tuple[Entry, Version]](), list[str]()
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
        folders += [path] if path else []
        for child in children:
            name = f"{path}/{child.name}" if path else child.name
            if _is_ignored(child.name):
                continue
            if os.path.isdir(child.path):  # `child.is_dir` raises an error for a link to itself
                pending.append((Path(child.path), name, (*parent_ids, folder_id)))
            elif is_wanted(name):
                try:
                    status = child.stat()
                except OSError as error:
                    raise DataError(f"{child.path} can't be read: {error.strerror}") from error
                if not stat.S_ISREG(status.st_mode):
                    os.close(open_descriptor(Path(child.path)))  # raises an error that names the kind
                entry = Entry(name, status.st_size, FileReader(Path(child.path)))
                files.append((entry, make_version(name, status)))
    return join_files(root, sorted(files, key=lambda file: file[0].name), sorted(folders))


@dataclass(frozen=True)
class FileReader:
    """Reads a file, or a part of it.

    Attributes:
        path: the file.
        offset: the first byte.
        size: the number of bytes. None: all.
    """

    path: Path
    offset: int = 0
    size: int | None = None

    def __call__(self) -> bytes:
        with open_file(self.path) as file:
            return file.read() if self.size is None else os.pread(file.fileno(), self.size, self.offset)


def check_utf_8_name(path: Path, name: str) -> None:
    """Raises DataError if the name of a file in a folder or archive isn't UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path} contains a file name that isn't UTF-8, {os.fsencode(name)!r}; rename it") from error


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _check_name(path: Path, name: str) -> str | None:
    """The normal form of the name of an entry; None: it is hidden. Raises DataError if it lies outside the archive."""
    normal = posixpath.normpath(name.replace("\\", "/"))
    folders = normal.split("/")
    if normal.startswith("/") or ".." in folders:
        raise DataError(f"{path} has an entry {name!r}, which lies outside of the archive; pack it again")
    return None if normal == "." or any(map(_is_ignored, folders)) else normal


def _list_zip(packed: PackedFile, is_wanted: Callable[[str], bool]) -> tuple[list[Entry], set[str]]:
    entries, folders, path = [], set[str](), packed.path
    try:
        archive = zipfile.ZipFile(path)
        for info in archive.infolist():
            name = _check_name(path, info.filename)
            is_folder = info.filename.endswith(("/", "\\"))  # `info.is_dir` knows only the first
            if name is not None:
                folders |= _parent_folders(name, is_folder=is_folder)
            if name is None or is_folder or not is_wanted(name):
                with suppress(RuntimeError):  # it is encrypted or packed in another way, and isn't read
                    archive.open(info).close()  # checks the name, which has no checksum: it may hide a wanted file
                continue
            if info.flag_bits & ENCRYPTED:
                raise DataError(f"{name} in {path} is encrypted; unpack the archive")
            packed.check_size(info.file_size)  # only one file at a time is in memory
            if (kind := stat.S_IFMT(info.external_attr >> 16)) not in (0, stat.S_IFREG):
                raise DataError(f"{name} in {path} is no regular file (its type is {kind:#o}); pack the file itself")
            entries.append(Entry(name, info.file_size, _ZipReader(archive, info, path)))
    except DataError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged archives, also struct.error and IndexError
        raise _make_damage_error(path, "zip", error) from error
    return entries, folders


@dataclass(frozen=True)
class _ZipReader:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: Path

    def __call__(self) -> bytes:
        try:
            with self.archive.open(self.info) as file:
                content = file.read(self.info.file_size + 1)
            if len(content) != self.info.file_size:
                raise zipfile.BadZipFile(f"the size of {self.info.file_size:,} bytes is wrong")
            return content
        except Exception as error:
            raise _make_damage_error(self.path, f"zip at {self.info.filename}", error) from error


def _list_tar(packed: PackedFile, is_wanted: Callable[[str], bool]) -> tuple[list[Entry], set[str]]:
    entries, folders, path = [], set[str](), packed.path
    total_bytes, is_packed, is_tar = 0, packed.is_packed(), False

    def needs_content(raw_name: str, kind: str, size: int) -> bool:
        nonlocal total_bytes, is_tar
        is_tar = True
        name = _check_name(path, raw_name)
        if name is None or kind == FOLDER or not is_wanted(name):
            return False
        if kind != FILE:
            raise DataError(f"{name} in {path} is {kind}, not a regular file; pack the file itself")
        total_bytes += size if is_packed else 0
        packed.check_size(total_bytes)
        return is_packed

    try:
        with packed.open() as file:
            for entry in read_tar(file, needs_content):
                if (name := _check_name(path, entry.name)) is None:
                    continue
                folders |= _parent_folders(name, is_folder=entry.kind == FOLDER)
                if entry.kind == FOLDER or not is_wanted(name):
                    continue
                reader: Callable[[], bytes] = FileReader(path, entry.offset, entry.size)
                if entry.content is not None:
                    reader = partial(bytes, entry.content)
                entries.append(Entry(name, entry.size, reader))
    except TarError as error:
        if not is_tar:
            raise DataError(
                f"{path} is a file, but no tar or zip archive: {error}. Choose a folder or such an archive. If it "
                "should be one, download or pack it again."
            ) from error
        raise DataError(f"{path} is damaged tar: {error}; download or pack it again") from error
    return entries, folders


def _parent_folders(name: str, *, is_folder: bool) -> set[str]:
    """The folders that contain an entry, and the entry itself if it is a folder."""
    parts = name.split("/")
    return {"/".join(parts[:stop]) for stop in range(1, len(parts) + is_folder)}


def _make_damage_error(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f"{path} is damaged {kind}: {error or type(error).__name__}; download or pack it again")
