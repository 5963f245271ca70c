"""Checks that CSV files which are joined have the same columns."""

from __future__ import annotations

from collections import Counter
from typing import NoReturn

from components.closest import closest_name, format_name, join_names
from components.data.csv.dialect import CsvFile, JoinedFile
from components.data.csv.errors import (
    check_delimiter,
    check_encoding,
    check_quotes,
    name_character,
    raise_empty_error,
)
from components.types import DataError


def check_headers(file: CsvFile) -> None:
    """Checks the headers of the files that are joined to one.

    Raises:
        DataError: a file is empty, or has other columns than the first one, the same in another order, or another
            delimiter.
    """
    if not isinstance(file.file, JoinedFile):
        return
    first, first_names = file.parts[0], file.file.headers[0].names
    for part, header in zip(file.parts, file.file.headers, strict=True):
        if not header.names:
            raise_empty_error(part)
        if part.field_delimiter != first.field_delimiter:
            own, other = (name_character(each.field_delimiter) for each in (part, first))
            raise DataError(
                f"{part} has the delimiter {own}, but {first} has {other}; a first line such as sep=; must be in all "
                "files that are read together, or in none"
            )
        if header.names != first_names:
            _raise_mismatch(first, part, first_names, header.names)


def _raise_mismatch(first: CsvFile, part: CsvFile, needed: tuple[str, ...], names: tuple[str, ...]) -> NoReturn:
    """Raises DataError for a file whose columns have other names than those of the first file."""
    if "\ufffd" in "".join(names) and part.encoding == "utf-8":  # a byte that isn't UTF-8 is read as this character
        check_encoding(part)
    check_delimiter(part, names)
    check_quotes(part)
    if Counter(names) == Counter(needed):
        number = next(number for number, name in enumerate(names) if name != needed[number])
        raise DataError(
            f"{part} has the columns of {first} in another order: column {number + 1} is {format_name(names[number])}, "
            f"not {format_name(needed[number])}; write the columns of all files in the same order"
        )
    missing, unexpected = (list(Counter(own) - Counter(other)) for own, other in ((needed, names), (names, needed)))
    parts = []
    if missing:
        parts.append(f"Missing: {join_names(missing)}.")
    if unexpected:
        parts.append(f"Unexpected: {join_names(unexpected)}.")
    for name in unexpected:
        if meant := closest_name(name, missing):
            parts.append(f"Is {format_name(name)} meant to be {format_name(meant)}?")
            break
    raise DataError(
        f"{part} has other columns than {first}, with which it is read. {' '.join(parts)} Its first line must name the "
        "same columns. Correct it, or leave the file out."
    )
