"""Files of a run's folder, which may be a stranger's: read within bounds, replaced whole, written through no link."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from components.place import open_file, open_regular
from components.types import DataError, UserError

Fields: TypeAlias = Mapping[str, type | tuple[type, ...]]  # of a JSON object: what kind of value each has
NUMBER = (int, float)
KINDS: dict[Any, str] = {str: "text", int: "a whole number", NUMBER: "a number", dict: "an object", list: "a list"}
MOST_TEXT = 2**26  # bytes of a file of settings or figures; whoever made the folder may have filled it


def read_bytes(path: Path, first: int | None = None) -> bytes:
    """The bytes of a regular file, or its `first` ones; raises UserError where it is another thing, or too large.

    The folder may be a stranger's: a FIFO in place of a file would block, and a device never end.
    """
    with open_file(path) as file:
        if first is None and (size := os.fstat(file.fileno()).st_size) > MOST_TEXT:
            raise UserError(f"{path} is damaged: it has {size:,} bytes, more than {MOST_TEXT:,}")
        return file.read(MOST_TEXT if first is None else first)


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8; raises UserError where it is missing, damaged or another thing."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is no UTF-8 text ({error.reason} at byte {error.start})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises UserError where that is missing or damaged."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds a {type(found).__name__}, not an object")
    return found


def check_fields(path: Path, found: Any, fields: Fields, place: str = "") -> None:
    """Raises UserError where what a file holds at a place isn't an object that has these fields."""
    inside = f"{place}." if place else ""
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: {place} is {shown(found)}, not an object")
    for key, kind in fields.items():
        if key not in found:
            raise UserError(f"{path} is damaged: {inside}{key} is missing")
        if not isinstance(found[key], kind):
            raise UserError(f"{path} is damaged: {inside}{key} is {shown(found[key])}, not {KINDS[kind]}")


def shown(value: Any) -> str:
    """A value as JSON, short enough for a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end of the context, whole and on the disk, or not at all.

    A link at `path` is itself replaced. `temporary` is the file's name until then; None: that of `path` with `.tmp`.
    """
    temporary = temporary or path.with_suffix(".tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed; a stranger's link would lead elsewhere
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's text whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def open_to_append(path: Path) -> BinaryIO:
    """A regular file to append to, made where there is none; raises UserError where a link is there."""
    return os.fdopen(_open_in_place(path, os.O_WRONLY | os.O_APPEND), "ab")


def open_to_change(path: Path) -> BinaryIO:
    """A regular file to read and to write, made where there is none; raises UserError as `open_to_append` does."""
    return os.fdopen(_open_in_place(path, os.O_RDWR), "rb+")


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file of its own folder, rather than a link to one somewhere else."""
    return path.is_file() and not path.is_symlink()


def is_link(path: Path) -> bool:
    """Whether a path is a link, or another thing than a file or a folder."""
    try:
        mode = path.lstat().st_mode  # once: another process may replace it
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def below(path: Path) -> list[Path]:
    """All that a folder holds, but not what links lead to; nothing of a file."""
    return sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []


def refuse_links(*paths: Path) -> None:
    """Raises UserError where one of some files and folders is, or holds, a link: they are about to be written to."""
    for path in paths:
        if link := next(filter(is_link, (path, *below(path))), None):
            raise _refusal(link)


def _open_in_place(path: Path, flags: int) -> int:
    try:
        return open_regular(path, flags | os.O_CREAT | os.O_NOFOLLOW)
    except (DataError, OSError) as error:
        if os.path.lexists(path) and not is_regular(path):
            raise _refusal(path) from error
        raise


def _refusal(path: Path) -> UserError:
    return UserError(f"{path} is a link or no regular file, and nothing is written through one; remove it")
