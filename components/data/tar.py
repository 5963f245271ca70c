"""Tar archives, read once from their beginning to their end: ustar, GNU and pax (POSIX.1-2001).

Python's `tarfile` ends without a word at a damaged header, keeps all headers in memory, and in some releases never
ends at a hostile one (CVE-2024-6232, CVE-2025-8194).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

BLOCK = 512  # bytes of a header; content is padded to a multiple of it
CHUNK_BYTES = 1 << 20
EXTENSION_BYTES = 1 << 20  # of what extends a header, at most

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
WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # whatever their size says
OTHER_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))  # mode, user, …, device
OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
RECORD = re.compile(rb"([0-9]{1,9}) ")


class TarError(ValueError):
    """An archive is damaged, or none."""


class Entry(NamedTuple):
    """What an archive has at one place."""

    name: str
    kind: str  # one of KINDS, or "an entry of type …"
    content: bytes | None  # where it was wanted


def read_tar(file: BinaryIO, wanted: Callable[[str, str, int], bool]) -> Iterator[Entry]:
    """The entries of an archive; the content of those of which `wanted(name, kind, size)`.

    Raises TarError, with its place, where the archive is damaged, cut off, or none.
    """
    place = 0  # of the header
    extended: dict[str, str] = {}
    always: dict[str, str] = {}
    while any(block := _exactly(file, BLOCK, place)):
        mark, name, size = _header(block, place)
        behind = place + BLOCK
        if mark in b"xgXLK":
            if size > EXTENSION_BYTES:
                raise TarError(f"the header at byte {place} is extended by {size} bytes")
            _extend(always if mark == b"g" else extended, mark, _content(file, size, behind), place)
        else:
            attributes = {**always, **extended}
            name = attributes.get("GNU.sparse.name") or attributes.get("path") or name
            kind = _kind(mark, name, attributes)
            size = 0 if mark in WITHOUT_CONTENT else _size(attributes.get("size"), size, place)
            extended = {}
            if wanted(name, kind, size):
                yield Entry(name, kind, _content(file, size, behind))
            else:
                _skip(file, size + -size % BLOCK, behind)
                yield Entry(name, kind, None)
        place = behind + size + -size % BLOCK
    if extended:
        raise TarError(f"nothing follows what should extend a header, behind byte {place}")
    _check_end(file, place + BLOCK)


def _header(block: bytes, place: int) -> tuple[bytes, str, int]:
    """The type, the name and the size that a header states."""
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _number(block[148:156], place):
        raise TarError(f"at byte {place} there is no header of an archive, or a damaged one")
    for start, stop in OTHER_NUMBERS:
        if block[start] < 128:  # else it is binary, and may be negative: a date before 1970
            _number(block[start:stop], place)
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    return block[156:157], name, _number(block[124:136], place)


def _kind(mark: bytes, name: str, attributes: Mapping[str, str]) -> str:
    if any(key.startswith("GNU.sparse.") for key in attributes):
        return KINDS[b"S"]
    if mark == b"\0" and name.endswith("/"):  # as before ustar
        return FOLDER
    return KINDS.get(mark, f"an entry of type {mark!r}")


def _extend(attributes: dict[str, str], mark: bytes, content: bytes, place: int) -> None:
    """Takes in what an entry says of that which follows."""
    if mark == b"L":
        attributes["path"] = _text(content)
    elif mark != b"K":  # K is where a link leads
        attributes.update(_records(content, place))


def _records(content: bytes, place: int) -> Iterator[tuple[str, str]]:
    """Keys and values of pax, each a line `LENGTH KEY=VALUE` whose length counts itself."""
    start = 0
    while start < len(content):
        length = RECORD.match(content, start)
        stop = start + int(length[1]) if length else 0
        key, equals, value = content[length.end() : stop].partition(b"=") if length else (b"", b"", b"")
        if not (equals and value.endswith(b"\n") and stop <= len(content)):
            raise TarError(f"the header at byte {place} is extended by something damaged")
        yield key.decode(errors="surrogateescape"), value[:-1].decode(errors="surrogateescape")
        start = stop


def _size(stated: str | None, otherwise: int, place: int) -> int:
    return otherwise if stated is None else _number(stated.encode(errors="replace"), place, 10)


def _number(field: bytes, place: int, base: int = 8) -> int:
    """Octal digits, or from 2^33 on binary ones behind a first bit."""
    if base == 8 and field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = OCTAL.fullmatch(field) if base == 8 else re.fullmatch(rb"([0-9]{1,20})", field)
    if digits is None:
        raise TarError(f"the header at byte {place} has {field!r} where a number belongs")
    return int(digits[1] or b"0", base)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _content(file: BinaryIO, size: int, place: int) -> bytes:
    """So many bytes, and the padding behind them."""
    content = _exactly(file, size, place)
    _exactly(file, -size % BLOCK, place + size)
    return content


def _exactly(file: BinaryIO, size: int, place: int) -> bytes:
    """So many bytes; no more memory is taken than there are."""
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
    """Nothing but zeros follows the end; what is packed has its checksum there."""
    while chunk := file.read(CHUNK_BYTES):
        if any(chunk):
            raise TarError(f"something follows its end, behind byte {place}")
        place += len(chunk)
