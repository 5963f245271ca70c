"""Finding and opening the files that a user names."""

from __future__ import annotations

import glob
import hashlib
import io
import itertools
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from components.cache_folder import fetched_folder
from components.closest import closest_name, describe_other_form, find_other_form, join_names
from components.remote import fetch, hide_credentials, is_remote, strip_file_scheme
from components.types import DataError, MissingFileError

if TYPE_CHECKING:
    import numpy as np

DEFAULT_DATA_FOLDER = "data"  # below the working folder, without $TITRATE_DATA
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}

Paths = str | Sequence[str]
"""A file, a folder or a pattern such as `shards/*.csv`, or several of them."""


def data_folders() -> list[Path]:
    """The folders that relative paths are looked up in, in order: $TITRATE_DATA, then the working folder.

    Without $TITRATE_DATA, the folder `data` of the working folder follows, if it exists.
    """
    if own := os.environ.get("TITRATE_DATA"):
        return [Path(own), Path.cwd()]
    default = download_folder()
    return [Path.cwd(), default] if default.is_dir() else [Path.cwd()]


def download_folder() -> Path:
    """The folder for public data sets: $TITRATE_DATA, else `data` below the working folder."""
    return Path(os.environ.get("TITRATE_DATA") or Path.cwd() / DEFAULT_DATA_FOLDER)


def candidate_paths(*paths: str) -> list[Path]:
    """The absolute paths that user-written paths may stand for, in the order in which they are tried."""
    paths = tuple(os.path.expanduser(strip_file_scheme(path)) for path in paths)
    return list(dict.fromkeys(folder / path for folder in data_folders() for path in paths))


def find_path(*paths: str, file: bool = False) -> Path:
    """Finds a file or a folder. Relative paths are looked up in `data_folders`.

    Args:
        paths: the alternative paths of the file or folder. All are tried below the first of these folders, then all
            below the next. The first that exists is returned. A URI such as `s3://bucket/x.csv` is fetched.
        file: whether only a regular file is allowed.

    Raises:
        MissingFileError: nothing exists at these paths.
        DataError: what exists is neither a regular file nor a folder.
    """
    if is_remote(paths[0]):
        return _fetch_first(paths)
    candidates = candidate_paths(*paths)
    for path in candidates:
        if os.path.isfile(path) or (os.path.isdir(path) and not file):
            return path
    for path in candidates:
        if os.path.lexists(path):
            needed = "a regular file" if file else "a regular file or a folder"
            raise DataError(f"{path} is {_describe_path(path)}; {needed} is needed")
    name = candidates[0].name
    siblings = [other for other in _list_siblings(candidates) if other != name]
    nearest, other_form = closest_name(name, siblings), find_other_form(name, siblings)
    below = _find_one_below(paths[0])
    meant = below or (Path(paths[0]).parent / nearest if nearest else None)
    hint = f"did you mean {meant}?" if meant else _describe_remedy(paths[0])
    if other_form is not None:
        hint = f"{describe_other_form(name, other_form)} Write it as the file is named, or rename the file"
    raise MissingFileError(f"there is no {'file ' if file else ''}{' or '.join(map(str, candidates))}; {hint}", paths)


def _fetch_first(uris: Sequence[str]) -> Path:
    """Fetches the first file that exists. Raises MissingFileError if there is none."""
    for uri in uris[:-1]:
        with suppress(MissingFileError):
            return fetch(uri, patterns=False)[0]
    return fetch(uris[-1], patterns=False)[0]


def find_paths(path: str) -> list[Path]:
    """Finds a file or a folder, or else the files that match a pattern such as `shards/*.csv`.

    Args:
        path: the path, or a pattern with `*`, `?`, `[` or, for any number of folders, `**`. It is looked up as by
            `find_path`, and files are found before folders. A URI, or one with a pattern, is fetched.

    Returns:
        The file or folder; or the regular files that match, in the order of their paths, without hidden ones.

    Raises:
        MissingFileError: there is none.
        DataError: what exists is neither a regular file nor a folder.
    """
    if is_remote(path):
        return fetch(path)
    if not path:
        raise MissingFileError("there is no file without a name; write a file, a folder or a pattern")
    path = strip_file_scheme(path)
    candidates = candidate_paths(path)
    existing = [each for exists in (os.path.isfile, os.path.isdir) for each in candidates if exists(each)]
    if existing or not glob.has_magic(path):
        return [next(iter(existing), None) or find_path(path, file=True)]
    parts = Path(os.path.expanduser(path)).parts
    count = next(number for number, name in enumerate(parts) if glob.has_magic(name))
    roots = [folder.joinpath(*parts[:count]) for folder in data_folders()]
    for root in roots:
        names = glob.glob(os.path.join(*parts[count:]), root_dir=root, recursive=True)
        if files := [root / name for name in sorted(names) if os.path.isfile(root / name)]:
            return files
    root = next(filter(os.path.isdir, roots), roots[-1])
    listed = join_names(_list_siblings([root / "any"])) or "nothing"
    hint = f"{root} holds {listed}" if os.path.isdir(root) else f"there is no folder {root}"
    raise MissingFileError(f"no file matches {' or '.join(map(str, candidates))}; {hint}; correct the pattern")


def describe_paths(paths: Paths) -> str:
    """The paths for messages: as they are written, at most three. URIs have no credentials."""
    if isinstance(paths, str):
        return hide_credentials(paths)
    more = f", … ({len(paths) - 3:,} more)" if len(paths) > 3 else ""
    return ", ".join(map(hide_credentials, paths[:3])) + more


def name_paths(paths: Paths) -> str:
    """The name of a file or folder; of a pattern that of its folder, of several files that of their first one's folder.

    It is "" where a path names no folder.
    """
    if isinstance(paths, str):
        paths = urlsplit(paths).path if is_remote(paths) else paths
        named = itertools.takewhile(lambda name: not glob.has_magic(name), Path(paths).parts)
        return Path(*named).name
    first = Path(next(iter(paths), ""))
    return name_paths(str(first.parent)) or name_paths(str(first))


def _find_one_below(path: str) -> Path | None:
    """The only path that ends with a relative one in a folder directly below those of the data; None: no single one."""
    found: set[Path] = set()
    is_below = not os.path.isabs(os.path.expanduser(path)) and ".." not in Path(path).parts
    for root in data_folders() if is_below else ():
        with suppress(OSError, ValueError):  # ValueError: the path contains a NUL
            folders = [folder for folder in root.iterdir() if folder.name[0] != "."]
            found |= {Path(folder.name, path) for folder in folders if (folder / path).exists()}
    return found.pop() if len(found) == 1 else None


def _describe_remedy(path: str) -> str:
    """What to do about a path at which nothing exists, nor under a similar name."""
    if os.path.isabs(os.path.expanduser(path)):
        return "correct the path"
    if folder := os.environ.get("TITRATE_DATA"):
        if not os.path.isdir(folder):
            return f"TITRATE_DATA is {folder}, which is no folder; correct it, or the path"
        return "it is neither below TITRATE_DATA nor below the working folder; correct one of them, or the path"
    return f"set TITRATE_DATA to the folder that holds {path}, or correct the path"


def open_descriptor(path: Path, flags: int = os.O_RDONLY) -> int:
    """Opens a regular file and returns its file descriptor.

    Raises:
        DataError: the path is no regular file: reading a FIFO or a device may block, or never end.
        OSError: the file can't be opened.
    """
    # Without O_NONBLOCK, opening a FIFO waits for its other end. The check below examines the open descriptor, not the
    # path, because another process may replace the file at the path in between.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise DataError(f"{path} is {_describe_mode(mode)}; a regular file is needed")
    return descriptor


@contextmanager
def open_file(path: Path) -> Iterator[io.BufferedReader]:
    """Opens a regular file, or a link to one, for reading.

    Raises:
        DataError: the path is no regular file, the file can't be opened or read, or the body of the `with` raises
            MemoryError.
    """
    try:
        with open(open_descriptor(path), "rb") as file:
            yield file
    except OSError as error:
        if os.path.lexists(path) and not os.path.isfile(path):  # a socket or a broken link can't be opened at all
            raise DataError(f"{path} is {_describe_path(path)}; a regular file is needed") from error
        reason = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) and path.is_relative_to(fetched_folder()):
            reason = "its copy was removed from the cache folder. Run the command again, or make a new source"
        raise DataError(f"{path} can't be read: {reason}") from error
    except MemoryError as error:
        raise DataError(f"{path} doesn't fit into the free memory; free some, or read less") from error


def hash_file(path: Path, digest_size: int = 64) -> hashlib.blake2b:
    """The BLAKE2b hash of the bytes of a file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=digest_size))  # type: ignore[return-value]


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads the header of an array in NumPy's format.

    Returns:
        The array's shape, whether it is in Fortran order, and its dtype.

    Raises:
        ValueError: the file has no valid header.
    """
    import numpy as np

    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            version = np.lib.format.read_magic(file)
            if version not in readers:  # 3.0 is for structured arrays
                raise ValueError(f"its format has version {version[0]}.{version[1]}; use ASCII names of fields")
            return readers[version](file)
    except Exception as error:  # NumPy evaluates the header: SyntaxError, RecursionError and others are possible
        raise ValueError(str(error) or type(error).__name__) from error


def _describe_mode(mode: int) -> str:
    return FILE_KINDS.get(stat.S_IFMT(mode), "no regular file")


def _describe_path(path: Path) -> str:
    try:
        return _describe_mode(path.stat().st_mode)
    except OSError:
        return "a broken link"


def _list_siblings(paths: Iterable[Path]) -> list[str]:
    """The names in the parent folders of paths. Folders that can't be read are left out."""
    names: list[str] = []
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            names += os.listdir(folder)
        except (OSError, ValueError):  # ValueError: the path contains a NUL
            continue
    return names
