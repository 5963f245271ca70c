"""What is wrong with a CSV file, told with the line that it is in."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from components.data.packed import Packed
from components.types import DataError

DELIMITERS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ","}  # by names that a command line takes
BLOCK_BYTES = 8 << 20  # a row must fit into it
CHUNK_BYTES = 1 << 20
LONGEST = 16 << 20  # characters of a line, and of a field, that are looked at
LOCK = threading.Lock()  # the limit of a field is the whole process's
FIELDS = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
CONVERSION = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to .*: invalid value '(.*)'", re.DOTALL
)
ENCODINGS = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 and UTF-32 begin


def line_of(file: Packed, delimiter: str, record: int) -> int:
    """The line, from 1, in which a record begins; that of the names is record 0, empty lines are none."""
    before = 0
    with _records(file, delimiter) as reader:
        for fields in reader:
            if fields and record == 0:
                break
            record -= bool(fields)
            before = reader.line_num
    return before + 1


def refuse(file: Packed, delimiter: str, types: Mapping[str, str], message: str) -> NoReturn:
    """Tells what Arrow found to be wrong, in the file's own terms."""
    if "Empty CSV file" in message:
        _refuse_empty(file)
    if "straddling" in message:
        _refuse_long(file, delimiter)
    if found := FIELDS.search(message):
        refuse_quotes(file, delimiter)
        refuse_delimiter(file, delimiter, _header(file, delimiter))
        line = line_of(file, delimiter, int(found[1]) - 1)
        raise DataError(
            f"{file}, line {line}: the number of fields is {found[3]}, not {found[2]} as in the first line; "
            f"a field that holds a {delimiter!r} needs quotes"
        )
    if found := CONVERSION.search(message):
        name = _header(file, delimiter)[int(found[1])]
        refuse_value(file, delimiter, int(found[2]) - 1, name, found[3], types.get(name))
    if "UTF8" in message:
        refuse_encoding(file)
    raise DataError(f"{file} can't be read as CSV: {message}")


def refuse_value(file: Packed, delimiter: str, record: int, name: str, text: str, kind: str | None) -> NoReturn:
    """Names a value that is not of the type declared."""
    line = line_of(file, delimiter, record)
    raise DataError(
        f"{file}, line {line}: column `{name}` is {text!r}, not of the type {kind}; correct it, or change `types`"
    )


def refuse_delimiter(file: Packed, delimiter: str, names: Sequence[str]) -> None:
    """Refuses one column whose name holds what other files are delimited by."""
    others = [word for word, mark in DELIMITERS.items() if mark != delimiter and mark in names[0]]
    if len(names) == 1 and others:
        hint = f"does it have another delimiter? set `delimiter` to {others[0]}"
        raise DataError(f"{file} has one column, {names[0]!r}; {hint}")


def refuse_quotes(file: Packed, delimiter: str) -> None:
    """Refuses a quoted field that lasts until the file ends, or has something behind it."""
    if not _has_odd_quotes(file, delimiter):
        return
    line = 0
    with _records(file, delimiter, strict=True) as reader:
        try:
            for _ in reader:
                line = reader.line_num
        except csv.Error as error:
            if "expected after" in str(error):
                fault = f"something follows a quote that is closed; a quote in a quoted field is doubled ({error})"
            else:
                fault = "a quote is opened and never closed; close it, or leave it away"
            raise DataError(f"{file}, line {line + 1}: {fault}") from error


def _has_odd_quotes(file: Packed, delimiter: str) -> bool:
    """Whether some quotes do anything else than to begin a field, end it, or stand doubled in one that they began."""
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
    """The same of a text that neither begins nor ends with a quote; `inside` is 1 where it begins in a quoted field."""
    codes = np.frombuffer(text, np.uint8)
    edges = np.flatnonzero(np.diff(codes == ord('"'))) + 1  # where quotes begin, where they end, in turns
    begin, end = edges[::2], edges[1::2]
    odd = (end - begin) % 2
    inner = (inside + np.cumsum(odd) - odd) % 2 == 1
    bounds = np.frombuffer(f"{delimiter}\n\r".encode(), np.uint8)
    opens, closes = np.isin(codes[begin - 1], bounds), np.isin(codes[end], bounds)
    return not np.where(inner, (odd == 0) | closes, opens & ((odd == 1) | closes)).all()


def refuse_zeros(file: Packed) -> NoReturn:
    """Names the first line that has a byte 0, which no text has but in UTF-16."""
    with file.open() as opened:
        if opened.read(2) in ENCODINGS:
            raise DataError(f"{file} is in UTF-16; convert it (iconv -f utf-16 -t utf8)")
    with file.open() as opened:
        lines = 1
        for chunk in iter(lambda: opened.read(CHUNK_BYTES), b""):
            if (place := chunk.find(b"\0")) >= 0:
                lines += chunk.count(b"\n", 0, place)
                break
            lines += chunk.count(b"\n")
    raise DataError(f"{file}, line {lines}: there is a byte 0x00, as no text has but in UTF-16; convert the file")


def refuse_encoding(file: Packed) -> NoReturn:
    """Names the first line that isn't UTF-8."""
    with file.open() as opened:
        if opened.read(2) in ENCODINGS:
            raise DataError(f"{file} is in UTF-16; convert it (iconv -f utf-16 -t utf8)")
    with file.open() as opened:
        for line, text in enumerate(iter(lambda: opened.readline(LONGEST), b""), start=1):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                fault = f"{file}, line {line}: byte {text[error.start]:#x} isn't UTF-8"
                raise DataError(f"{fault}; convert the file (iconv -f latin1 -t utf8)") from error
    raise DataError(f"{file} isn't UTF-8; convert it")


def _refuse_empty(file: Packed) -> NoReturn:
    """Says why Arrow finds nothing in a file."""
    with _records(file, ",") as reader:
        for fields in reader:
            if fields:
                raise DataError(f"{file} has no rows below the names of its columns")
    raise DataError(f"{file} is empty; its first line must name the columns")


def _refuse_long(file: Packed, delimiter: str) -> NoReturn:
    """Says of a row that it doesn't fit into a block."""
    refuse_quotes(file, delimiter)
    raise DataError(f"{file} has a row of more than {BLOCK_BYTES >> 20} MiB, the most that is read; is it a table?")


def _header(file: Packed, delimiter: str) -> list[str]:
    with _records(file, delimiter) as reader:
        return next(fields for fields in reader if fields)


@contextmanager
def _records(file: Packed, delimiter: str, *, strict: bool = False) -> Iterator[Any]:
    """Python's reader of a file; raises DataError for a line or a field that is longer than Arrow takes."""
    with LOCK, file.open() as opened:
        before = csv.field_size_limit(LONGEST)
        try:
            text = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="")
            yield csv.reader(_lines(file, text), delimiter=delimiter, strict=strict)
        except csv.Error as error:
            raise DataError(f"{file} can't be read as CSV: {error}") from error
        finally:
            csv.field_size_limit(before)


def _lines(file: Packed, text: io.TextIOWrapper) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: text.readline(LONGEST), ""), start=1):
        if len(line) == LONGEST:
            raise DataError(f"{file}, line {number} has more than {LONGEST >> 20} million characters; is it a table?")
        yield line
