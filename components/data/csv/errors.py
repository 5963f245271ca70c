"""Errors of CSV files: each message names the line.

Arrow reports what is wrong with a file, but not the line. Python's `csv` reads the file again to count lines.
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

DELIMITERS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ","}  # by names that need no quotes in a shell
BLOCK_BYTES = 8 << 20  # a row must fit into a block
CHUNK_BYTES = 1 << 20
LONGEST = 16 << 20  # characters of a line, and of a field, at most
LOCK = threading.Lock()  # `csv.field_size_limit` is one number for the whole process
FIELDS = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
CONVERSION = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to .*: invalid value '(.*)'", re.DOTALL
)
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16 and UTF-32
UTF_16 = "is in UTF-16; convert it (iconv -f utf-16 -t utf8)"


def find_line(file: PackedFile, delimiter: str, record: int) -> int:
    """The line, from 1, in which a record begins. Record 0 is that of the names; empty lines are no records."""
    before = 0
    with _open_records(file, delimiter) as reader:
        for fields in reader:
            if fields and record == 0:
                break
            record -= bool(fields)
            before = reader.line_num
    return before + 1


def raise_read_error(file: PackedFile, delimiter: str, types: Mapping[str, str], message: str) -> NoReturn:
    """Raises DataError for an error of Arrow, with lines and names in place of its numbers."""
    if "Empty CSV file" in message:
        _raise_empty_error(file)
    if "straddling" in message:
        check_quotes(file, delimiter)
        limit = f"{BLOCK_BYTES >> 20} MiB, the most that is read"
        raise DataError(f"{file} has a row of more than {limit}; is it a table?")
    if found := FIELDS.search(message):
        check_quotes(file, delimiter)
        check_delimiter(file, delimiter, _read_names(file, delimiter))
        line = find_line(file, delimiter, int(found[1]) - 1)
        raise DataError(
            f"{file}, line {line}: the number of fields is {found[3]}, not {found[2]} as in the first line; "
            f"a field that holds a {delimiter!r} needs quotes"
        )
    if found := CONVERSION.search(message):
        name = _read_names(file, delimiter)[int(found[1])]
        raise_value_error(file, delimiter, int(found[2]) - 1, name, found[3], types.get(name))
    if "UTF8" in message:
        raise_encoding_error(file)
    raise DataError(f"{file} can't be read as CSV: {message}")


def raise_value_error(
    file: PackedFile, delimiter: str, record: int, name: str, text: str, kind: str | None
) -> NoReturn:
    """Raises DataError for a value that isn't of the declared type."""
    line = find_line(file, delimiter, record)
    raise DataError(
        f"{file}, line {line}: column `{name}` is {text!r}, not of the type {kind}; correct it, or change `types`"
    )


def check_delimiter(file: PackedFile, delimiter: str, names: Sequence[str]) -> None:
    """Raises DataError for a single column whose name holds the delimiter of other files."""
    others = [word for word, mark in DELIMITERS.items() if mark != delimiter and mark in names[0]]
    if len(names) == 1 and others:
        hint = f"does it have another delimiter? set `delimiter` to {others[0]}"
        raise DataError(f"{file} has one column, {names[0]!r}; {hint}")


def check_quotes(file: PackedFile, delimiter: str) -> None:
    """Raises DataError for a quoted field that never ends, or has characters behind its last quote."""
    if not _has_odd_quotes(file, delimiter):
        return
    line = 0
    with _open_records(file, delimiter, strict=True) as reader:
        try:
            for _ in reader:
                line = reader.line_num
        except csv.Error as error:
            if "expected after" in str(error):
                fault = f"something follows a quote that is closed; a quote in a quoted field is doubled ({error})"
            else:
                fault = "a quote is opened and never closed; close it, or remove it"
            raise DataError(f"{file}, line {line + 1}: {fault}") from error


def _has_odd_quotes(file: PackedFile, delimiter: str) -> bool:
    """Whether some quotes neither begin a field, nor end it, nor stand doubled in a quoted field.

    This searches bytes in bulk, and so is much faster than Python's strict reader, which then finds the line.
    """
    inside, rest = 0, b"\n"
    with file.open() as opened:
        while chunk := opened.read(CHUNK_BYTES):
            text = rest + chunk
            whole = len(text.rstrip(b'"'))
            if _are_odd(text[:whole], delimiter, inside):
                return True
            inside ^= text.count(b'"', 0, whole) % 2
            rest = text[whole - 1 :]
    return bool(_are_odd(rest + b"\n", delimiter, inside) or inside ^ rest.count(b'"') % 2)


def _are_odd(text: bytes, delimiter: str, inside: int) -> bool:
    """The same for a text that neither begins nor ends with a quote; `inside` is 1 if it begins in a quoted field."""
    codes = np.frombuffer(text, np.uint8)
    edges = np.flatnonzero(np.diff(codes == ord('"'))) + 1  # in turn the first byte of a run of quotes, and the next
    begin, end = edges[::2], edges[1::2]
    odd = (end - begin) % 2
    inner = (inside + np.cumsum(odd) - odd) % 2 == 1
    bounds = np.frombuffer(f"{delimiter}\n\r".encode(), np.uint8)
    opens, closes = np.isin(codes[begin - 1], bounds), np.isin(codes[end], bounds)
    return not np.where(inner, (odd == 0) | closes, opens & ((odd == 1) | closes)).all()


def raise_nul_error(file: PackedFile) -> NoReturn:
    """Raises DataError for the first line with a NUL byte, which only UTF-16 text has."""
    _check_utf_16(file)
    with file.open() as opened:
        lines = 1
        for chunk in iter(lambda: opened.read(CHUNK_BYTES), b""):
            if (place := chunk.find(b"\0")) >= 0:
                lines += chunk.count(b"\n", 0, place)
                break
            lines += chunk.count(b"\n")
    raise DataError(f"{file}, line {lines}: there is a byte 0x00, which only text in UTF-16 has; convert the file")


def raise_encoding_error(file: PackedFile) -> NoReturn:
    """Raises DataError for the first line that isn't UTF-8."""
    _check_utf_16(file)
    with file.open() as opened:
        for line, text in enumerate(iter(lambda: opened.readline(LONGEST), b""), start=1):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                fault = f"{file}, line {line}: byte {text[error.start]:#x} isn't UTF-8"
                raise DataError(f"{fault}; convert the file (iconv -f latin1 -t utf8)") from error
    raise DataError(f"{file} isn't UTF-8; convert it")


def _check_utf_16(file: PackedFile) -> None:
    with file.open() as opened:
        if opened.read(2) in BYTE_ORDER_MARKS:
            raise DataError(f"{file} {UTF_16}")


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
    """Python's reader of a file; raises DataError for a line or a field that is longer than LONGEST."""
    with LOCK, file.open() as opened:
        before = csv.field_size_limit(LONGEST)
        try:
            text = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="")
            yield csv.reader(_read_lines(file, text), delimiter=delimiter, strict=strict)
        except csv.Error as error:
            raise DataError(f"{file} can't be read as CSV: {error}") from error
        finally:
            csv.field_size_limit(before)


def _read_lines(file: PackedFile, text: io.TextIOWrapper) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: text.readline(LONGEST), ""), start=1):
        if len(line) == LONGEST:
            raise DataError(f"{file}, line {number} has more than {LONGEST >> 20} million characters; is it a table?")
        yield line
