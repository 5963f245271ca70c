"""What is wrong with a CSV file, told with the line that it is in."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from components.types import DataError

DELIMITERS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ","}  # by names that a command line takes
CHUNK_BYTES = 1 << 20
FIELDS = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
LONGEST = 2**31 - 1  # bytes of a field: the most that a C long holds everywhere
LOCK = threading.Lock()  # the limit is the whole process's
CONVERSION = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to .*: invalid value '(.*)'", re.DOTALL
)


def line_of(path: Path, delimiter: str, record: int) -> int:
    """The line, from 1, in which a record begins; that of the names is record 0, empty lines are none."""
    before = 0
    with _fields_of_any_length(), _text(path) as file:
        reader = csv.reader(file, delimiter=delimiter)
        for fields in reader:
            if fields and record == 0:
                break
            record -= bool(fields)
            before = reader.line_num
    return before + 1


def refuse(path: Path, delimiter: str, types: Mapping[str, str], message: str) -> NoReturn:
    """Tells what Arrow found to be wrong, in the file's own terms."""
    if "Empty CSV file" in message:
        raise DataError(f"{path} is empty; its first line must name the columns")
    if found := FIELDS.search(message):
        refuse_open_quote(path, delimiter)
        refuse_delimiter(path, delimiter, _header(path, delimiter))
        line = line_of(path, delimiter, int(found[1]) - 1)
        raise DataError(
            f"{path}, line {line}: the number of fields is {found[3]}, not {found[2]} as in the first line; "
            f"a field that holds a {delimiter!r} needs quotes"
        )
    if found := CONVERSION.search(message):
        name = _header(path, delimiter)[int(found[1])]
        refuse_value(path, delimiter, int(found[2]) - 1, name, found[3], types.get(name))
    if "UTF8" in message:
        refuse_encoding(path)
    raise DataError(f"{path} can't be read as CSV: {message}")


def refuse_value(path: Path, delimiter: str, record: int, name: str, text: str, kind: str | None) -> NoReturn:
    """Names a value that is not of the type declared."""
    line = line_of(path, delimiter, record)
    raise DataError(
        f"{path}, line {line}: column `{name}` is {text!r}, not of the type {kind}; mend it, or change data.types"
    )


def refuse_delimiter(path: Path, delimiter: str, names: Sequence[str]) -> None:
    """Refuses one column whose name holds what other files are delimited by."""
    others = [word for word, mark in DELIMITERS.items() if mark != delimiter and mark in names[0]]
    if len(names) == 1 and others:
        raise DataError(f"{path} has one column, {names[0]!r}; is it delimited otherwise? data.delimiter={others[0]}")


def refuse_open_quote(path: Path, delimiter: str) -> None:
    """Refuses a quoted field that lasts until the file ends; only where quotes are odd in number is it looked for."""
    with path.open("rb") as file:
        if sum(chunk.count(b'"') for chunk in iter(lambda: file.read(CHUNK_BYTES), b"")) % 2 == 0:
            return
    line = 0
    with _fields_of_any_length(), _text(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for _ in reader:
                line = reader.line_num
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(
                    f"{path}, line {line + 1}: a quote is opened and never closed; close it, or leave it away"
                ) from error


def refuse_encoding(path: Path) -> NoReturn:
    """Names the first line that isn't UTF-8."""
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                fault = f"{path}, line {line}: byte {text[error.start]:#x} isn't UTF-8"
                raise DataError(f"{fault}; convert the file (iconv -f latin1 -t utf8)") from error
    raise DataError(f"{path} isn't UTF-8; convert it")


def _header(path: Path, delimiter: str) -> list[str]:
    with _fields_of_any_length(), _text(path) as file:
        return next(fields for fields in csv.reader(file, delimiter=delimiter) if fields)


def _text(path: Path) -> io.TextIOWrapper:
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    with LOCK:
        before = csv.field_size_limit(LONGEST)
        try:
            yield
        finally:
            csv.field_size_limit(before)
