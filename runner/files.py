"""Reads and writes files of a run's folder, which may come from somebody else.

Reads are bounded, writes are atomic, and links are not followed when writing.
"""

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

FieldTypes: TypeAlias = Mapping[str, type | tuple[type, ...]]  # the type of each field of a JSON object
NUMBER = (int, float)
TYPE_NAMES: dict[Any, str] = {str: "text", int: "a whole number", NUMBER: "a number", dict: "an object", list: "a list"}
MAX_FILE_BYTES = 2**26


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Reads a regular file.

    Args:
        path: the file.
        limit: the maximum number of bytes to read; None: the whole file.

    Raises:
        UserError: the file is missing, is not a regular file, or is too large to be read whole.
    """
    with open_file(path) as file:
        if limit is None and (size := os.fstat(file.fileno()).st_size) > MAX_FILE_BYTES:
            raise UserError(f"{path} is damaged: it has {size:,} bytes, more than {MAX_FILE_BYTES:,}")
        return file.read(MAX_FILE_BYTES if limit is None else limit)


def read_text(path: Path) -> str:
    """Reads a file in UTF-8. Raises UserError if it is missing, damaged or not a regular file."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not UTF-8 text ({error.reason} at byte {error.start})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises UserError if the file is missing or damaged."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds a {type(content).__name__}, not an object")
    return content


def check_fields(path: Path, value: Any, fields: FieldTypes, key: str = "") -> None:
    """Raises UserError unless a value in a JSON file is an object with some fields.

    Args:
        path: the file, for the message.
        value: the value.
        fields: the type of each field.
        key: the dotted key of the value in the file; "": the value is the whole file.
    """
    prefix = f"{key}." if key else ""
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: {key} is {format_json(value)}, not an object")
    for name, field_type in fields.items():
        if name not in value:
            raise UserError(f"{path} is damaged: {prefix}{name} is missing")
        if not isinstance(field := value[name], field_type):
            wrong = f"{prefix}{name} is {format_json(field)}, not {TYPE_NAMES[field_type]}"
            raise UserError(f"{path} is damaged: {wrong}")


def format_json(value: Any) -> str:
    """A value as JSON, cut after 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


@contextmanager
def replace_atomically(path: Path, temporary: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a new file that replaces a file atomically at the end of the context, when its content is on the disk.

    After an exception, the old file is unchanged. If `path` is a link, the link is replaced, not its target.

    Args:
        path: the file to replace.
        temporary: the path of the new file until then; None: `path` with the suffix `.tmp`.
    """
    temporary = temporary or path.with_suffix(".tmp")
    try:
        temporary.unlink(missing_ok=True)  # left by a killed process, or a link
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
    """Opens or creates a regular file to append to. Raises UserError if it is a link."""
    return os.fdopen(_open_in_place(path, os.O_WRONLY | os.O_APPEND), "ab")


def open_to_update(path: Path) -> BinaryIO:
    """Opens or creates a regular file to read and write. Raises UserError if it is a link."""
    return os.fdopen(_open_in_place(path, os.O_RDWR), "rb+")


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file, and not a link to one."""
    return path.is_file() and not path.is_symlink()


def is_link(path: Path) -> bool:
    """Whether a path exists and is neither a regular file nor a folder, but a link, a FIFO or a device."""
    try:
        mode = path.lstat().st_mode  # a single call, because another process may replace the file
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def list_descendants(path: Path) -> list[Path]:
    """Lists all files and folders below a folder, without following links; empty for a file."""
    return sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []


def check_no_links(*paths: Path) -> None:
    """Raises UserError if a file or folder is a link or contains one. To be called before writing to them."""
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
    return UserError(f"{path} is a link or not a regular file, so nothing is written to it. Remove it.")
