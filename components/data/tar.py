"""A sequential reader of tar archives in the formats ustar, GNU and pax (POSIX.1-2001).

Python's `tarfile` silently stops at a damaged header, keeps all headers in memory, and in some releases never returns
for a malicious header (CVE-2024-6232, CVE-2025-8194).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = 512  # the size of a header; content is padded to a multiple of it
CHUNK_BYTES = 1 << 20
SEEK_BYTES = 1 << 14  # more bytes are skipped without reading them, where the file is not packed
MAX_EXTENSION_BYTES = 1 << 20  # the maximum size of an extended header

FILE, FOLDER = "a file", "a folder"
KINDS = {
    **dict.fromkeys((b"0", b"\0", b"7"), FILE),
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": FOLDER,
    b"6": "a FIFO",
    b"S": "a sparse file",
}
# The types of headers with attributes of other entries.
PAX, GLOBAL_PAX, SOLARIS_PAX, GNU_LONG_NAME, GNU_LONG_LINK_TARGET = b"x", b"g", b"X", b"L", b"K"
EXTENSION_TYPES = (PAX, GLOBAL_PAX, SOLARIS_PAX, GNU_LONG_NAME, GNU_LONG_LINK_TARGET)
TYPES_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # even if their header specifies a size
# The bytes of the numbers in a header apart from size and checksum: mode, user, group, time, and the major and minor
# number of a device.
OTHER_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
RECORD_LENGTH = re.compile(rb"([0-9]{1,9}) ")  # the start of a line `LENGTH KEY=VALUE` in a pax header


class TarError(ValueError):
    """The file is damaged, or is no tar archive."""


class Entry(NamedTuple):
    """An entry of an archive.

    Attributes:
        name: its path.
        kind: one of the values of KINDS, or "an entry of type …".
        content: the content of the file. None: it wasn't read.
        offset: the position of the content in the archive.
        size: the size of the content in bytes.
    """

    name: str
    kind: str
    content: bytes | None
    offset: int
    size: int


def read_tar(file: BinaryIO, needs_content: Callable[[str, str, int], bool]) -> Iterator[Entry]:
    """Yields the entries of an archive.

    Args:
        file: the archive, decompressed.
        needs_content: maps the name, kind and size of an entry to whether its content is read.

    Raises:
        TarError: the archive is damaged, truncated, or no tar archive. The message names the byte.
    """
    position = 0  # of the next header
    extended: dict[str, str] = {}  # attributes of the next entry
    global_attributes: dict[str, str] = {}  # attributes of all following entries
    while any(block := _read_exactly(file, BLOCK_BYTES, position)):
        type_flag, name, size = _parse_header(block, position)
        content_start = position + BLOCK_BYTES
        if type_flag in EXTENSION_TYPES:
            if size > MAX_EXTENSION_BYTES:
                raise TarError(f"the header at byte {position} has an extension of {size} bytes")
            attributes = global_attributes if type_flag == GLOBAL_PAX else extended
            _add_attributes(attributes, type_flag, _read_content(file, size, content_start), position)
        else:
            attributes = {**global_attributes, **extended}
            name = attributes.get("GNU.sparse.name") or attributes.get("path") or name
            kind = _find_kind(type_flag, name, attributes)
            size = 0 if type_flag in TYPES_WITHOUT_CONTENT else _choose_size(attributes.get("size"), size, position)
            extended = {}
            if needs_content(name, kind, size):
                yield Entry(name, kind, _read_content(file, size, content_start), content_start, size)
            else:
                _skip(file, size + _padding(size), content_start)
                yield Entry(name, kind, None, content_start, size)
        position = content_start + size + _padding(size)
    if extended:
        raise TarError(f"no header follows the extended header before byte {position}")
    _check_end(file, position + BLOCK_BYTES)


def _parse_header(block: bytes, position: int) -> tuple[bytes, str, int]:
    """Returns the type flag, the name and the size."""
    checksum = sum(block) - sum(block[148:156]) + 8 * ord(" ")  # its own field counts as spaces
    if checksum != _parse_number(block[148:156], position):
        raise TarError(f"at byte {position} there is no tar header, or a damaged header")
    for start, stop in OTHER_NUMBERS:
        if block[start] < 128:  # binary numbers start with a higher byte, and may be negative, as dates before 1970
            _parse_number(block[start:stop], position)
    name = _decode(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _decode(block[345:500])):
        name = f"{prefix}/{name}"
    return block[156:157], name, _parse_number(block[124:136], position)


def _find_kind(type_flag: bytes, name: str, attributes: Mapping[str, str]) -> str:
    if any(key.startswith("GNU.sparse.") for key in attributes):
        return KINDS[b"S"]
    if type_flag == b"\0" and name.endswith("/"):  # the format before ustar
        return FOLDER
    return KINDS.get(type_flag, f"an entry of type {type_flag!r}")


def _add_attributes(attributes: dict[str, str], type_flag: bytes, content: bytes, position: int) -> None:
    """Adds the attributes that an extended header specifies for other entries."""
    if type_flag == GNU_LONG_NAME:
        attributes["path"] = _decode(content)
    elif type_flag != GNU_LONG_LINK_TARGET:  # the target of a link isn't needed
        attributes.update(_parse_records(content, position))


def _parse_records(content: bytes, position: int) -> Iterator[tuple[str, str]]:
    """Yields the keys and values of a pax header: lines `LENGTH KEY=VALUE`, where LENGTH is that of the whole line."""
    start = 0
    while start < len(content):
        match = RECORD_LENGTH.match(content, start)
        stop = start + int(match[1]) if match else 0
        key, equals, value = content[match.end() : stop].partition(b"=") if match else (b"", b"", b"")
        if not (equals and value.endswith(b"\n") and stop <= len(content)):
            raise TarError(f"the header at byte {position} has a damaged extension")
        yield key.decode(errors="surrogateescape"), value[:-1].decode(errors="surrogateescape")
        start = stop


def _choose_size(extended_size: str | None, size: int, position: int) -> int:
    return size if extended_size is None else _parse_number(extended_size.encode(errors="replace"), position, 10)


def _padding(size: int) -> int:
    return -size % BLOCK_BYTES


def _parse_number(field: bytes, position: int, base: int = 8) -> int:
    """Parses a number of a header: octal, or binary after a byte 0x80 if the field has too few octal digits for it."""
    if base == 8 and field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = OCTAL.fullmatch(field) if base == 8 else re.fullmatch(rb"([0-9]{1,20})", field)
    if digits is None:
        raise TarError(f"the header at byte {position} has {field!r} instead of a number")
    return int(digits[1] or b"0", base)


def _decode(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _read_content(file: BinaryIO, size: int, position: int) -> bytes:
    """Reads `size` bytes, and skips the padding after them."""
    content = _read_exactly(file, size, position)
    _read_exactly(file, _padding(size), position + size)
    return content


def _read_exactly(file: BinaryIO, size: int, position: int) -> bytes:
    """Reads exactly `size` bytes. A short file with a large `size` in its header needs little memory."""
    chunks = []
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        size -= len(chunk)
        chunks.append(chunk)
    if size > 0:
        raise TarError(f"the archive ends {size} bytes too early, at byte {position + sum(map(len, chunks))}")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _skip(file: BinaryIO, size: int, position: int) -> None:
    if size > SEEK_BYTES and file.seekable():
        file.seek(min(position + size, file.seek(0, os.SEEK_END)))
        return
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        size -= len(chunk)


def _check_end(file: BinaryIO, position: int) -> None:
    """Raises TarError unless only zeros follow. At the end, a decompressor verifies its own checksum."""
    while chunk := file.read(CHUNK_BYTES):
        if any(chunk):
            raise TarError(f"after the end of the archive, at byte {position}, there is more data")
        position += len(chunk)
