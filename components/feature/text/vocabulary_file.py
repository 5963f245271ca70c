"""A vocabulary's file: a value a line."""

from __future__ import annotations

from pathlib import Path

from components.place import find, open_file
from components.types import DataError


def find_file(path: str) -> Path:
    """A regular file below $TITRATE_DATA, or in the working folder; raises DataError where it is in neither."""
    return find(path, file=True)


def read_lines(path: str, size: int | None) -> list[str]:
    """The first `size` lines of a text file, as the values of a vocabulary; all where it is None.

    Raises DataError for fewer lines, for one that is there twice, and for what isn't UTF-8, or has a byte 0.
    """
    file = find_file(path)
    with open_file(file) as opened:
        content = opened.read()
    if (zero := content.find(b"\0")) >= 0:
        raise DataError(f"{file} is no text: byte {zero} is 0x00, as in UTF-16; convert it")
    try:
        lines = [line.removesuffix("\r") for line in content.decode("utf-8-sig").removesuffix("\n").split("\n")]
    except UnicodeDecodeError as error:
        raise DataError(f"{file} isn't UTF-8: byte {error.start} is {error.object[error.start]:#x}") from error
    if lines == [""]:
        raise DataError(f"{file} is empty; one value a line is needed")
    if size is not None and size > len(lines):
        raise DataError(f"{file} has {len(lines)} lines, fewer than size={size}")
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines[:size], start=1):
        if numbers.setdefault(line, number) != number:
            raise DataError(f"line {number} of {file} is {line!r}, as line {numbers[line]} is; leave one out")
    return lines[:size]
