"""Files of a run's folder, which may come from somebody else: bounded reads, atomic writes, never through a link."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from components.input_files import open_descriptor, open_file
from components.types import DataError, UserError

Fields: TypeAlias = Mapping[str, type | tuple[type, ...]]  # the type of each field of a JSON object
NUMBER = (int, float)
KINDS: dict[Any, str] = {str: "text", int: "a whole number", NUMBER: "a number", dict: "an object", list: "a list"}
LARGEST_FILE = 2**26  # bytes of a text file that is read


def read_bytes(path: Path, first: int | None = None) -> bytes:
    """Reads a regular file. A FIFO in its place would block for ever, and a device would have no end.

    Args:
        path: the file.
        first: how many bytes are read at most; None: all of them.

    Raises:
        UserError: it is not a regular file, or is too large.
    """
    with open_file(path) as file:
        if first is None and (size := os.fstat(file.fileno()).st_size) > LARGEST_FILE:
            raise UserError(f"{path} is damaged: it has {size:,} bytes, more than {LARGEST_FILE:,}")
        return file.read(LARGEST_FILE if first is None else first)


def read_text(path: Path) -> str:
    """Reads a UTF-8 text. Raises UserError where the file is missing, damaged or not a regular file."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not UTF-8 text ({error.reason} at byte {error.start})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises UserError where the file is missing or damaged."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds a {type(found).__name__}, not an object")
    return found


def check_fields(path: Path, found: Any, fields: Fields, place: str = "") -> None:
    """Raises UserError unless a value in a JSON file is an object with some fields.

    Args:
        path: the file, for the message.
        found: the value.
        fields: the type of each field.
        place: the dotted key of the value in the file; "": the whole file.
    """
    inside = f"{place}." if place else ""
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: {place} is {format_json(found)}, not an object")
    for key, kind in fields.items():
        if key not in found:
            raise UserError(f"{path} is damaged: {inside}{key} is missing")
        if not isinstance(found[key], kind):
            raise UserError(f"{path} is damaged: {inside}{key} is {format_json(found[key])}, not {KINDS[kind]}")


def format_json(value: Any) -> str:
    """A value as JSON, cut after 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


@contextmanager
def replace_atomically(path: Path, temporary: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a new file that replaces `path` atomically, once on the disk, at the end of the context.

    An exception leaves `path` as it was. A link at `path` is itself replaced.

    Args:
        path: the file to replace.
        temporary: the name of the new file until then; None: that of `path` with the suffix `.tmp`.
    """
    temporary = temporary or path.with_suffix(".tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a killed process, or a link
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
    """Replaces the text of a file atomically."""
    with replace_atomically(path) as file:
        file.write(text.encode())


def open_to_append(path: Path) -> BinaryIO:
    """Opens, or creates, a regular file to append to. Raises UserError where it is a link."""
    return os.fdopen(_open_in_place(path, os.O_WRONLY | os.O_APPEND), "ab")


def open_to_update(path: Path) -> BinaryIO:
    """Opens, or creates, a regular file to read and write. Raises UserError where it is a link."""
    return os.fdopen(_open_in_place(path, os.O_RDWR), "rb+")


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file, not a link to one."""
    return path.is_file() and not path.is_symlink()


def is_link(path: Path) -> bool:
    """Whether a path exists and is neither a regular file nor a folder: a link, a FIFO, a device."""
    try:
        mode = path.lstat().st_mode  # once: another process may replace it
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def list_descendants(path: Path) -> list[Path]:
    """All files and folders below a folder, without following links; empty for a file."""
    return sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []


def check_no_links(*paths: Path) -> None:
    """Raises UserError where one of some files and folders is, or contains, a link. Call it before writing there."""
    for path in paths:
        if link := next(filter(is_link, (path, *list_descendants(path))), None):
            raise _link_error(link)


def _open_in_place(path: Path, flags: int) -> int:
    try:
        return open_descriptor(path, flags | os.O_CREAT | os.O_NOFOLLOW)
    except (DataError, OSError) as error:
        if os.path.lexists(path) and not is_regular(path):
            raise _link_error(path) from error
        raise


def _link_error(path: Path) -> UserError:
    return UserError(f"{path} is a link or no regular file, and nothing is written through one; remove it")
