"""Vocabulary files: text files with one value per line."""

from __future__ import annotations

from pathlib import Path

from components.input_files import find_path, open_file
from components.types import DataError


def find_file(path: str) -> Path:
    """Finds a regular file below $TITRATE_DATA or the working folder; raises DataError if it doesn't exist."""
    return find_path(path, file=True)


def read_lines(path: str, size: int | None) -> list[str]:
    """Reads the values of a vocabulary from a text file.

    Args:
        path: the file.
        size: the number of lines to read. None: all.

    Raises:
        DataError: the file is empty, has fewer lines than `size`, has a line twice, or isn't UTF-8.
    """
    file = find_file(path)
    with open_file(file) as opened:
        content = opened.read()
    position = content.find(b"\0")
    if position >= 0:
        raise DataError(f"{file} is no text in UTF-8: byte {position} is 0x00, as in UTF-16; convert it")
    try:
        lines = [line.removesuffix("\r") for line in content.decode("utf-8-sig").removesuffix("\n").split("\n")]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} isn't UTF-8: byte {error.start} is {error.object[error.start]:#x}; convert it"
        ) from error
    if lines == [""]:
        raise DataError(f"{file} is empty; one value per line is needed")
    if size is not None and size > len(lines):
        raise DataError(f"{file} has only {len(lines)} lines, but `size` is {size}")
    number_of_line: dict[str, int] = {}
    for number, line in enumerate(lines[:size], start=1):
        if line in number_of_line:
            raise DataError(f"line {number} of {file} is {line!r}, the same as line {number_of_line[line]}; remove one")
        number_of_line[line] = number
    return lines[:size]
