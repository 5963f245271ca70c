"""Errors in CSV files. The messages name the line.

Arrow's errors name a row, but not its line in the file. To find the line, the file is read again with Python's `csv`.
"""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from components.data.packed import PackedFile
from components.types import DataError

DELIMITERS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ","}  # by a name that needs no quotes in a shell
BLOCK_BYTES = 8 << 20  # of Arrow's reader; each row must fit into a block
CHUNK_BYTES = 1 << 20
MAX_LINE_CHARACTERS = 16 << 20  # also the maximum of a field
FIELD_LIMIT_LOCK = threading.Lock()  # `csv.field_size_limit` is global
FIELD_COUNT_ERROR = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
CONVERSION_ERROR = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to .*: invalid value '(.*)'", re.DOTALL
)
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16; the first is also that of UTF-32


def find_line(file: PackedFile, delimiter: str, record: int) -> int:
    """The line, from 1, in which a record starts. Record 0 has the names of the columns. Empty lines aren't records."""
    last_line = 0  # of the previous record
    with _open_records(file, delimiter) as reader:
        for fields in reader:
            if fields and record == 0:
                break
            if fields:  # not an empty line
                record -= 1
            last_line = reader.line_num
    return last_line + 1


def raise_read_error(file: PackedFile, delimiter: str, types: Mapping[str, str], message: str) -> NoReturn:
    """Raises DataError for an error of Arrow. The message names the line and the column instead of their numbers."""
    if "Empty CSV file" in message:
        _raise_empty_error(file)
    if "straddling" in message:
        check_quotes(file, delimiter)
        raise DataError(f"{file} has a row of more than {BLOCK_BYTES >> 20} MiB, the maximum; is it a table?")
    if match := FIELD_COUNT_ERROR.search(message):
        check_quotes(file, delimiter)
        check_delimiter(file, delimiter, _read_names(file, delimiter))
        line = find_line(file, delimiter, int(match[1]) - 1)
        raise DataError(
            f"{file}, line {line}: the number of fields is {match[3]}, not {match[2]} as in the first line; "
            f"a field that contains a {delimiter!r} needs quotes"
        )
    if match := CONVERSION_ERROR.search(message):
        name = _read_names(file, delimiter)[int(match[1])]
        raise_value_error(file, delimiter, int(match[2]) - 1, name, match[3], types.get(name))
    if "UTF8" in message:
        raise_encoding_error(file)
    raise DataError(f"{file} can't be read as CSV: {message}")


def raise_value_error(
    file: PackedFile, delimiter: str, record: int, name: str, text: str, kind: str | None
) -> NoReturn:
    """Raises DataError for a value that doesn't have the declared type."""
    line = find_line(file, delimiter, record)
    raise DataError(
        f"{file}, line {line}: column `{name}` is {text!r}, not of type {kind}; correct the value, or change `types`"
    )


def check_delimiter(file: PackedFile, delimiter: str, names: Sequence[str]) -> None:
    """Raises DataError for a single column with another delimiter in its name."""
    found = [name for name, character in DELIMITERS.items() if character != delimiter and character in names[0]]
    if len(names) == 1 and found:
        raise DataError(f"{file} has only one column, {names[0]!r}; set `delimiter` to {found[0]}")


def check_quotes(file: PackedFile, delimiter: str) -> None:
    """Raises DataError for a quoted field that is never closed, or is followed by other characters."""
    if not _has_misplaced_quotes(file, delimiter):
        return
    line = 0
    with _open_records(file, delimiter, strict=True) as reader:
        try:
            for _ in reader:
                line = reader.line_num
        except csv.Error as error:
            if "expected after" in str(error):
                fault = f"characters follow a quoted field; write a quote in a quoted field twice ({error})"
            else:
                fault = "a quote is opened and never closed; close it, or remove it"
            raise DataError(f"{file}, line {line + 1}: {fault}") from error


def _has_misplaced_quotes(file: PackedFile, delimiter: str) -> bool:
    """Whether there is a quote that neither opens nor closes a field, and isn't doubled within a quoted field.

    Searching large chunks of bytes with NumPy is much faster than Python's strict reader. Only if this search succeeds,
    the strict reader is needed, to find the line.
    """
    inside, rest = 0, b"\n"  # `inside` is 1 within a quoted field
    with file.open() as opened:
        while chunk := opened.read(CHUNK_BYTES):
            text = rest + chunk
            stop = len(text.rstrip(b'"'))  # a run of quotes at the end may continue in the next chunk
            if _are_misplaced(text[:stop], delimiter, inside):
                return True
            inside ^= text.count(b'"', 0, stop) % 2
            rest = text[stop - 1 :]
    return bool(_are_misplaced(rest + b"\n", delimiter, inside) or inside ^ rest.count(b'"') % 2)


def _are_misplaced(text: bytes, delimiter: str, inside: int) -> bool:
    """Whether a text has such a quote. It neither starts nor ends with a quote.

    Args:
        text: the text.
        delimiter: the character between fields.
        inside: 1 if the text starts in a quoted field, else 0.
    """
    codes = np.frombuffer(text, np.uint8)
    edges = np.flatnonzero(np.diff(codes == ord('"'))) + 1
    starts, stops = edges[::2], edges[1::2]  # of each run of quotes
    odd = (stops - starts) % 2
    starts_inside = (inside + np.cumsum(odd) - odd) % 2 == 1  # an odd number of quotes came before
    bounds = np.frombuffer(f"{delimiter}\n\r".encode(), np.uint8)
    follows_bound, precedes_bound = np.isin(codes[starts - 1], bounds), np.isin(codes[stops], bounds)
    # In a quoted field, an even run is doubled quotes, and an odd run closes the field. Outside, a run opens a field;
    # an even run also closes it.
    valid_inside = (odd == 0) | precedes_bound
    valid_outside = follows_bound & ((odd == 1) | precedes_bound)
    return not np.where(starts_inside, valid_inside, valid_outside).all()


def raise_nul_error(file: PackedFile) -> NoReturn:
    """Raises DataError for the first line with a NUL byte, which is usual in UTF-16 only."""
    _check_utf_16(file)
    with file.open() as opened:
        line = 1
        for chunk in iter(lambda: opened.read(CHUNK_BYTES), b""):
            if (position := chunk.find(b"\0")) >= 0:
                line += chunk.count(b"\n", 0, position)
                break
            line += chunk.count(b"\n")
    raise DataError(f"{file}, line {line}: there is a byte 0x00, as in UTF-16; convert the file to UTF-8")


def raise_encoding_error(file: PackedFile) -> NoReturn:
    """Raises DataError for the first line that isn't UTF-8."""
    _check_utf_16(file)
    with file.open() as opened:
        for line, text in enumerate(iter(lambda: opened.readline(MAX_LINE_CHARACTERS), b""), start=1):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                fault = f"{file}, line {line}: byte {text[error.start]:#x} isn't UTF-8"
                raise DataError(f"{fault}; convert the file (iconv -f latin1 -t utf8)") from error
    raise DataError(f"{file} isn't UTF-8; convert the file")


def _check_utf_16(file: PackedFile) -> None:
    with file.open() as opened:
        if opened.read(2) in BYTE_ORDER_MARKS:
            raise DataError(f"{file} is in UTF-16; convert the file (iconv -f utf-16 -t utf8)")


def _raise_empty_error(file: PackedFile) -> NoReturn:
    with _open_records(file, ",") as reader:
        for fields in reader:
            if fields:
                raise DataError(f"{file} has no rows below the names of its columns")
    raise DataError(f"{file} is empty; its first line must name the columns")


def _read_names(file: PackedFile, delimiter: str) -> list[str]:
    with _open_records(file, delimiter) as reader:
        return next(fields for fields in reader if fields)


@contextmanager
def _open_records(file: PackedFile, delimiter: str, *, strict: bool = False) -> Iterator[Any]:
    """Opens a file with Python's `csv`; raises DataError for lines or fields of more than MAX_LINE_CHARACTERS."""
    with FIELD_LIMIT_LOCK, file.open() as opened:
        old_limit = csv.field_size_limit(MAX_LINE_CHARACTERS)
        try:
            text = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="")
            yield csv.reader(_read_lines(file, text), delimiter=delimiter, strict=strict)
        except csv.Error as error:
            raise DataError(f"{file} can't be read as CSV: {error}") from error
        finally:
            csv.field_size_limit(old_limit)


def _read_lines(file: PackedFile, text: io.TextIOWrapper) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: text.readline(MAX_LINE_CHARACTERS), ""), start=1):
        if len(line) == MAX_LINE_CHARACTERS:
            limit = f"{MAX_LINE_CHARACTERS >> 20} million characters"
            raise DataError(f"{file}, line {number} has more than {limit}, the maximum; is it a table?")
        yield line
