"""Where the files that a configuration names are looked up, and how they are opened."""

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
    """The folders below which relative paths are looked up, in their order."""
    return [Path(root) for root in (os.environ.get("TITRATE_DATA"), Path.cwd()) if root]


def candidates(*paths: str) -> list[Path]:
    """The places where some paths may be, in the order in which they are tried."""
    return list(dict.fromkeys(root / os.path.expanduser(path) for root in roots() for path in paths))


def find(*paths: str, file: bool = False) -> Path:
    """Where one of some paths is: relative ones are looked up below $TITRATE_DATA, then below the working folder.

    Args:
        paths: of a file or a folder; in each place the first that is there counts.
        file: whether a folder won't do.

    Raises DataError where there is none, with the nearest name beside it, or something else than a file or a folder.
    """
    places = candidates(*paths)
    for place in places:
        if os.path.isfile(place) or (os.path.isdir(place) and not file):
            return place
    for place in places:
        if os.path.lexists(place):
            raise DataError(f"{place} is {_kind_of(place)}; a regular file{'' if file else ' or a folder'} is needed")
    others = [name for name in _beside(places) if name != places[0].name]
    near = closest_name(places[0].name, others)
    remedy = f"set TITRATE_DATA to the folder that holds {paths[0]}, or correct the path"
    hint = f"did you mean {Path(paths[0]).parent / near}?" if near else remedy
    raise DataError(f"there is no {'file ' if file else ''}{' or '.join(map(str, places))}; {hint}")


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """The descriptor of a regular file.

    Raises DataError where something else was opened, which may block or never end, OSError where nothing can be.
    """
    # Opening a FIFO would wait for the other end; what was opened is examined, so that nothing can take its place.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise DataError(f"{path} is {_kind(mode)}; a regular file is needed")
    return descriptor


@contextmanager
def open_file(path: Path) -> Iterator[io.BufferedReader]:
    """A regular file, or what a link to one leads to, opened for reading.

    Raises DataError for anything else, which may block or never end, and where the file can't be opened or read, or
    doesn't fit into memory.
    """
    try:
        with open(open_regular(path), "rb") as file:
            yield file
    except OSError as error:
        if os.path.lexists(path) and not os.path.isfile(path):
            raise DataError(f"{path} is {_kind_of(path)}; a regular file is needed") from error
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path} is too large for the memory that is free; free some, or read less") from error


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


def _kind(mode: int) -> str:
    return KINDS.get(stat.S_IFMT(mode), "no regular file")


def _kind_of(path: Path) -> str:
    try:
        return _kind(path.stat().st_mode)
    except OSError:
        return "a link that leads nowhere"


def _beside(places: Iterable[Path]) -> list[str]:
    """What the folders hold in which something was looked up; a folder that can't be read holds nothing."""
    names: list[str] = []
    for folder in dict.fromkeys(place.parent for place in places):
        try:
            names += os.listdir(folder)
        except (OSError, ValueError):  # ValueError: there is a NUL in the path
            continue
    return names
