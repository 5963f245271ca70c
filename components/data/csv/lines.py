"""Lines of bytes: LF, CR LF and CR alone end them."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

CHUNK_BYTES = 1 << 20


class LineStream(io.RawIOBase):
    """A readable file in which no read ends between CR and LF. There, Arrow would drop the LF of a quoted field."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 2:
            return self._file.read(size)
        data = self._file.read(size - 1)
        return data + self._file.read(1) if data.endswith(b"\r") else data


def read_chunks(file: Any) -> Iterator[bytes]:
    """Reads a file in chunks of CHUNK_BYTES."""
    return iter(lambda: file.read(CHUNK_BYTES), b"")


def split_lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Splits chunks into lines with their ends. The byte order mark is left out."""
    rest, is_first = b"", True
    for chunk in chunks:
        if is_first:
            chunk, is_first = chunk.removeprefix(codecs.BOM_UTF8), False
        lines = (rest + chunk).splitlines(keepends=True)
        rest = lines.pop() if lines else b""  # it may continue in the next chunk
        yield lines
    yield [rest]


def empty_lines(lines: list[bytes], numbers: Sequence[int], before: bytes) -> None:
    """Empties some lines in place. They stay lines: LF after a line that ends in CR would be one end with it.

    Args:
        lines: the lines with their ends.
        numbers: the positions of those to empty, sorted.
        before: the line before the first one, as it was emptied.
    """
    for number in numbers:
        lines[number] = lines[number][len(lines[number].rstrip(b"\r\n")) :]
    for start in (0, *(each for number in numbers for each in (number, number + 1))):
        number = start  # an LF alone follows a CR only where one of them was emptied
        while lines[number : number + 1] == [b"\n"] and (lines[number - 1] if number else before).endswith(b"\r"):
            lines[number] = b"\r"
            number += 1


def count_line_ends(text: bytes) -> int:
    """The number of line ends in a text: LF, CR LF and CR alone."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
