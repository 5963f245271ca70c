"""Finding and opening the files that a user names."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from components.closest import closest_name
from components.types import DataError

if TYPE_CHECKING:
    import numpy as np

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def roots() -> list[Path]:
    """The folders below which relative paths are looked up, in order."""
    return [Path(root) for root in (os.environ.get("TITRATE_DATA"), Path.cwd()) if root]


def candidates(*paths: str) -> list[Path]:
    """The places where paths may be, in the order in which they are tried."""
    return list(dict.fromkeys(root / os.path.expanduser(path) for root in roots() for path in paths))


def find(*paths: str, file: bool = False) -> Path:
    """Finds a file or a folder. Relative paths are looked up below $TITRATE_DATA, then below the working folder.

    Args:
        paths: its possible paths; in each place the first that exists counts.
        file: whether it must be a file.

    Raises:
        DataError: there is none (the message has the nearest name in its folder), or something that is neither.
    """
    places = candidates(*paths)
    for place in places:
        if os.path.isfile(place) or (os.path.isdir(place) and not file):
            return place
    for place in places:
        if os.path.lexists(place):
            needed = "a regular file" if file else "a regular file or a folder"
            raise DataError(f"{place} is {_describe_path(place)}; {needed} is needed")
    others = [name for name in _list_neighbours(places) if name != places[0].name]
    near = closest_name(places[0].name, others)
    remedy = f"set TITRATE_DATA to the folder that holds {paths[0]}, or correct the path"
    hint = f"did you mean {Path(paths[0]).parent / near}?" if near else remedy
    raise DataError(f"there is no {'file ' if file else ''}{' or '.join(map(str, places))}; {hint}")


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Opens a regular file, and returns its descriptor.

    Raises:
        DataError: it is something else, which may block or never end.
        OSError: it can't be opened.
    """
    # Opening a FIFO would wait for the other end. The open descriptor is examined, so no other file can replace it.
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
        DataError: it is something else, which may block or never end; it can't be opened or read; or, within the
            context, it doesn't fit into memory.
    """
    try:
        with open(open_regular(path), "rb") as file:
            yield file
    except OSError as error:
        if os.path.lexists(path) and not os.path.isfile(path):
            raise DataError(f"{path} is {_describe_path(path)}; a regular file is needed") from error
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path} doesn't fit into the free memory; free some, or read less") from error


def hash_file(path: Path, digest_size: int = 64) -> hashlib.blake2b:
    """The BLAKE2b hash of the bytes of a file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=digest_size))  # type: ignore[return-value]


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads the header of an array in NumPy's format.

    Returns:
        The shape, whether the array is in Fortran's order, and its type.

    Raises:
        ValueError: the file has no such header.
    """
    import numpy as np

    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read[np.lib.format.read_magic(file)](file)
    except Exception as error:  # NumPy evaluates the header: SyntaxError, RecursionError and others are possible
        raise ValueError(str(error) or type(error).__name__) from error


def _describe_mode(mode: int) -> str:
    return KINDS.get(stat.S_IFMT(mode), "no regular file")


def _describe_path(path: Path) -> str:
    try:
        return _describe_mode(path.stat().st_mode)
    except OSError:
        return "a link that leads nowhere"


def _list_neighbours(places: Iterable[Path]) -> list[str]:
    """The names in the folders of some places. A folder that can't be read has none."""
    names: list[str] = []
    for folder in dict.fromkeys(place.parent for place in places):
        try:
            names += os.listdir(folder)
        except (OSError, ValueError):  # ValueError: there is a NUL in the path
            continue
    return names
