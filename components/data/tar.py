"""Reading of tar archives from beginning to end: ustar, GNU and pax (POSIX.1-2001).

Python's `tarfile` ends silently at a damaged header, keeps all headers in memory, and in some releases never ends at a
hostile one (CVE-2024-6232, CVE-2025-8194).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

BLOCK = 512  # bytes of a header; content is padded to a multiple of it
CHUNK_BYTES = 1 << 20
EXTENSION_BYTES = 1 << 20  # of an extended header, at most

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
WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # whatever size they state
OTHER_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))  # mode, user, …, device
OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
RECORD = re.compile(rb"([0-9]{1,9}) ")


class TarError(ValueError):
    """An archive is damaged, or no archive."""


class Entry(NamedTuple):
    """An entry of an archive.

    Attributes:
        name: its path.
        kind: one of KINDS, or "an entry of type …".
        content: its bytes. None: they weren't wanted.
    """

    name: str
    kind: str
    content: bytes | None


def read_tar(file: BinaryIO, wanted: Callable[[str, str, int], bool]) -> Iterator[Entry]:
    """Reads the entries of an archive.

    Args:
        file: the archive, unpacked.
        wanted: (name, kind, size) -> whether the content is wanted.

    Raises:
        TarError: the archive is damaged, truncated, or no archive; the message names the byte.
    """
    place = 0  # of the header
    extended: dict[str, str] = {}
    always: dict[str, str] = {}
    while any(block := _read_exactly(file, BLOCK, place)):
        mark, name, size = _parse_header(block, place)
        behind = place + BLOCK
        if mark in b"xgXLK":
            if size > EXTENSION_BYTES:
                raise TarError(f"the header at byte {place} has an extension of {size} bytes")
            _extend(always if mark == b"g" else extended, mark, _read_content(file, size, behind), place)
        else:
            attributes = {**always, **extended}
            name = attributes.get("GNU.sparse.name") or attributes.get("path") or name
            kind = _find_kind(mark, name, attributes)
            size = 0 if mark in WITHOUT_CONTENT else _choose_size(attributes.get("size"), size, place)
            extended = {}
            if wanted(name, kind, size):
                yield Entry(name, kind, _read_content(file, size, behind))
            else:
                _skip(file, size + -size % BLOCK, behind)
                yield Entry(name, kind, None)
        place = behind + size + -size % BLOCK
    if extended:
        raise TarError(f"no header follows an extended header, behind byte {place}")
    _check_end(file, place + BLOCK)


def _parse_header(block: bytes, place: int) -> tuple[bytes, str, int]:
    """The type, the name and the size of a header."""
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _parse_number(block[148:156], place):
        raise TarError(f"at byte {place} there is no header of an archive, or a damaged one")
    for start, stop in OTHER_NUMBERS:
        if block[start] < 128:  # otherwise it is binary, and may be negative, like a date before 1970
            _parse_number(block[start:stop], place)
    name = _decode(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _decode(block[345:500])):
        name = f"{prefix}/{name}"
    return block[156:157], name, _parse_number(block[124:136], place)


def _find_kind(mark: bytes, name: str, attributes: Mapping[str, str]) -> str:
    if any(key.startswith("GNU.sparse.") for key in attributes):
        return KINDS[b"S"]
    if mark == b"\0" and name.endswith("/"):  # as before ustar
        return FOLDER
    return KINDS.get(mark, f"an entry of type {mark!r}")


def _extend(attributes: dict[str, str], mark: bytes, content: bytes, place: int) -> None:
    """Adds the attributes that an entry gives for the next one."""
    if mark == b"L":
        attributes["path"] = _decode(content)
    elif mark != b"K":  # K is the target of a link
        attributes.update(_parse_records(content, place))


def _parse_records(content: bytes, place: int) -> Iterator[tuple[str, str]]:
    """Keys and values of pax: lines `LENGTH KEY=VALUE`, whose length counts the digits of the length too."""
    start = 0
    while start < len(content):
        length = RECORD.match(content, start)
        stop = start + int(length[1]) if length else 0
        key, equals, value = content[length.end() : stop].partition(b"=") if length else (b"", b"", b"")
        if not (equals and value.endswith(b"\n") and stop <= len(content)):
            raise TarError(f"the header at byte {place} has a damaged extension")
        yield key.decode(errors="surrogateescape"), value[:-1].decode(errors="surrogateescape")
        start = stop


def _choose_size(stated: str | None, default: int, place: int) -> int:
    return default if stated is None else _parse_number(stated.encode(errors="replace"), place, 10)


def _parse_number(field: bytes, place: int, base: int = 8) -> int:
    """Parses octal digits; from 2^33 on a number is binary, and its first bit is set."""
    if base == 8 and field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = OCTAL.fullmatch(field) if base == 8 else re.fullmatch(rb"([0-9]{1,20})", field)
    if digits is None:
        raise TarError(f"the header at byte {place} has {field!r} in place of a number")
    return int(digits[1] or b"0", base)


def _decode(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _read_content(file: BinaryIO, size: int, place: int) -> bytes:
    """Reads `size` bytes, and the padding behind them."""
    content = _read_exactly(file, size, place)
    _read_exactly(file, -size % BLOCK, place + size)
    return content


def _read_exactly(file: BinaryIO, size: int, place: int) -> bytes:
    """Reads exactly `size` bytes. It allocates no more memory than the file has bytes."""
    chunks = []
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        size -= len(chunk)
        chunks.append(chunk)
    if size > 0:
        raise TarError(f"it ends {size} bytes early, behind byte {place + sum(map(len, chunks))}")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _skip(file: BinaryIO, size: int, place: int) -> None:
    if size > CHUNK_BYTES and file.seekable():
        file.seek(min(place + size, file.seek(0, os.SEEK_END)))
        return
    while size > 0 and (chunk := file.read(min(size, CHUNK_BYTES))):
        size -= len(chunk)


def _check_end(file: BinaryIO, place: int) -> None:
    """Raises TarError unless only zeros follow. Reading to the end checks the checksum of a packed file."""
    while chunk := file.read(CHUNK_BYTES):
        if any(chunk):
            raise TarError(f"something follows its end, behind byte {place}")
        place += len(chunk)
