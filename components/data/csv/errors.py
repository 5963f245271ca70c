"""Errors in CSV files. The messages name the line.

Arrow's errors name a row, but not its line in the file. To find the line, the file is read again with Python's `csv`.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np

from components.cache_folder import strip_entry
from components.closest import join_names
from components.data.bad_rows import BadRowsError
from components.data.csv.dialect import CHARACTERS, CsvFile, guess_utf_16
from components.data.csv.lines import CHUNK_BYTES, count_line_ends, split_lines
from components.data.packed import PackedFile
from components.data.table_formats import find_format
from components.file_formats import FORMAT_NAMES
from components.types import Change, ColumnType, DataError, Problem, Remedy, Setting

BLOCK_BYTES = 8 << 20  # of Arrow's reader; each row must fit into a block
FIELD_COUNT_ERROR = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
DELIMITERS = ("tab", "semicolon", "pipe", "comma")
COMMENTS = ("#", "%", "//", "--", "!")  # usual starts of a comment
ZIP_MAGIC = b"PK\x03\x04"
GIT_LFS_POINTER = b"version https://git-lfs."
OTHER_FORMATS = {  # by the first bytes
    ZIP_MAGIC: "a zip archive, or an Excel or OpenDocument file",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x1f\x9d": "a file packed by compress",
    b"\x04\x22\x4d\x18": "a file packed by LZ4",
    b"\x93NUMPY": "a NumPy file",
    b"Obj\x01": "an Avro file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    GIT_LFS_POINTER: "a pointer of Git LFS",
}
SPREADSHEETS = {
    "xl/workbook.xml": "an Excel file",
    "xl/workbook.bin": "an Excel file",
    "content.xml": "an OpenDocument file",
}
SPREADSHEET_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".ods")
PACKED_KIND = re.compile("a (file packed|.*archive)")
TAR_MAGICS = (b"ustar\x0000", b"ustar  \0")  # of POSIX and GNU, at TAR_POSITION
TAR_POSITION = 257
START_BYTES = 1 << 12  # of the file, to recognize other formats
MAX_SHOWN = 60  # characters of a line in a message

AS_TEXT = Setting("to read all values as text", "types", "string")
CORRECT_VALUE = Remedy("correct the value")
SKIP_ROWS = Setting("to skip these rows", "on_bad_row", "skip", by_column=False)


def make_type_error(
    column: str,
    needed: str,
    rows: np.ndarray,
    show: Callable[[int], str],
    *,
    locate: Callable[[int], str],
    total: int,
    table_rows: int,
    kind: ColumnType | None,
    mark: str = "",
) -> BadRowsError:
    """Makes the error for values that can't be read.

    Args:
        column: the name of the column.
        needed: what is needed, such as "of type float".
        rows: the rows of these values, sorted int64.
        show: (a row) -> its value, for the message.
        locate: (a row) -> the table and its line.
        total: how many values the column has.
        table_rows: the number of rows, also of those without a value.
        kind: the type that the user declared. None: none.
        mark: the value of `marks` that may read these values; "": none.
    """

    def describe(row: int) -> str:
        return f"column `{column}` is {show(row)}, not {needed}"

    if kind == "timestamp":
        remedies = [Remedy(f"set `{format_option_key('dates', column)}`", "reading")]
    else:
        settings = [*([Setting("", "marks", mark)] if mark else []), AS_TEXT._replace(purpose="")]
        remedies = [make_remedy(column, each) for each in settings]
    first = int(rows[0])
    others = f" ({len(rows):,} of {total:,} values aren't)" if len(rows) > 1 else ""
    return BadRowsError(
        f"{locate(first)}: {describe(first)}{others}",
        (CORRECT_VALUE, *remedies),
        rows,
        describe,
        table_rows,
    )


def format_setting(name: str, setting: Setting) -> str:
    """Writes a setting as a message has it: `` `types.x=string` `` for the column x."""
    value = setting.value if isinstance(setting.value, str) else json.dumps(setting.value, ensure_ascii=False)
    return f"`{format_option_key(setting.option, name) if setting.by_column else setting.option}={value}`"


def make_remedy(name: str, setting: Setting) -> Remedy:
    """The remedy that sets an option for the column `name`."""
    changes: Change = "columns" if setting.option == "types" else "reading"
    return Remedy(f"set {format_setting(name, setting)}", changes, setting.purpose)


def format_option_key(option: str, name: str) -> str:
    """The key of an option of a column, such as types.x. A name that would end the key or the setting is in JSON."""
    is_plain = not name.startswith('"') and not set("`=") & set(name)
    return f"{option}.{name if is_plain else json.dumps(name, ensure_ascii=False).replace('`', chr(92) + 'u0060')}"


def make_problem_error(name: str, kind: ColumnType, problem: Problem) -> DataError:
    """Makes the error for a problem of a column whose type is declared."""
    remedies = [make_remedy(name, each) for each in problem.settings]
    return DataError(f"column `{name}` of type {kind}: {problem.fault}", *remedies)


def raise_read_error(file: CsvFile, message: str) -> NoReturn:
    """Raises DataError for an error of Arrow. The message names the line and the column instead of their numbers."""
    if "Empty CSV file" in message:
        raise_empty_error(file)
    if "straddling" in message:
        check_delimiter(file, _read_names(file))
        check_quotes(file)
        raise DataError(f"{file} has a row of more than {BLOCK_BYTES >> 20} MiB, the maximum; is it a table?")
    if match := FIELD_COUNT_ERROR.search(message):
        check_delimiter(file, _read_names(file))
        check_quotes(file)
        raise _make_field_count_error(file, record=int(match[1]) - 1, count=int(match[3]), needed=int(match[2]))
    if "UTF8" in message:
        raise_encoding_error(file)
    raise DataError(f"{file} can't be read as CSV: {message}")


def _make_field_count_error(file: CsvFile, *, record: int, count: int, needed: int) -> DataError:
    """The error for a record with another number of fields than the first line. Record 0 is the first line."""
    line = file.name_line(file.find_line(record))
    origin = "as `names` lists" if file.parts[0].names else "as in the first line"
    added = len(file.parts[0].added_fields)  # the lines don't have them
    fault = f"{file}, {line}: the number of fields is {count - added}, not {needed - added} {origin}"
    if remedy := _find_comment(file, _read_first_line(file)):
        return DataError(f"{fault}; {remedy}")
    remedy = (
        _find_comment_at(file, record, line)
        or _find_delimiter_at(file, record, needed)
        or _suggest_field_count_remedy(file, is_short=count < needed)
    )
    counts = dict[int, int]()
    with suppress(DataError):  # a row is too long
        counts = file.find_uneven_rows()
    if not counts:
        return DataError(f"{fault}; {remedy}")

    def describe(row: int) -> str:
        return f"the number of fields is {counts[row] - added}, not {needed - added}"

    return BadRowsError(fault, [remedy], np.array([*counts], np.int64), describe, file.count_rows())


def _find_comment_at(file: CsvFile, record: int, line: str) -> str:
    """The remedy if a record looks like a comment; "" if it doesn't."""
    fields = _read_record(file, record)
    return _find_comment(file, fields[0], line) if len(fields) == 1 else ""


def _find_delimiter_at(file: CsvFile, record: int, needed: int) -> str:
    """The remedy if a record has as many fields as are needed with another delimiter; "" if not.

    Without `names`, the first line has shown another delimiter.
    """
    fields = _read_record(file, record)
    for name in DELIMITERS if file.names and len(fields) == 1 else ():
        if fields[0].count(CHARACTERS[name]) + 1 == needed:
            return f"set `delimiter={name}`"
    return ""


def _read_record(file: CsvFile, record: int) -> list[str]:
    """The fields of a record. Record 0 has the names of the columns."""
    with file.open_records() as reader:
        fields: list[str] = next(itertools.islice(filter(None, reader), record, None))
    return fields


def _suggest_field_count_remedy(file: CsvFile, *, is_short: bool) -> str:
    first_line = _read_first_line(file)
    quoted = f"a field that contains a {file.field_delimiter!r} needs quotes"
    if is_short:
        quoted = f"an empty field needs its {file.field_delimiter!r}, and a field with a line break needs quotes"
    if file.names:
        return f"list the names of all columns in `names`; or {quoted}"
    if file.field_delimiter in first_line:
        return quoted
    return f"the first line, {_shorten(first_line)!r}, must name the columns: remove what stands above; or {quoted}"


def check_delimiter(file: CsvFile, names: Sequence[str]) -> None:
    """Raises DataError for a single column whose name is a comment, or has another delimiter in it."""
    if len(names) - len(file.parts[0].added_fields) > 1:
        return
    if remedy := _find_comment(file, _read_first_line(file)):
        raise DataError(f"{file} has only one column; {remedy}")
    for name in DELIMITERS:
        if CHARACTERS[name] != file.field_delimiter and CHARACTERS[name] in names[0]:
            raise DataError(f"{file} has only one column, {names[0]!r}; set `delimiter={name}`")


def _read_first_line(file: CsvFile) -> str:
    with file.open() as opened:
        start = opened.read(START_BYTES).removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    return start.splitlines()[0].decode(errors="replace") if start else ""


def _find_comment(file: CsvFile, line: str, name: str = "the first line") -> str:
    """The remedy if a line looks like a comment; "" if it doesn't."""
    text = line.lstrip()
    if not text.startswith(COMMENTS):
        return ""
    usual_count, starts = _find_usual_rows(file, line)
    if usual_count == line.count(file.field_delimiter) + 1 > 1:
        return ""
    fault = f"{name}, {_shorten(line)!r}, looks like a comment"
    # A minus is also the sign of numbers, perhaps in later versions of the file.
    if file.comment != text[0] and text[0] in ("-", *starts):
        return f"{fault}; remove it"
    if text == line:
        return f"{fault}; set `comment={name_character(text[0])}`"
    setting = "" if file.comment == text[0] else f", and set `comment={name_character(text[0])}`"
    return f"{fault}, but starts with a blank; remove the blank{setting}"


def _find_usual_rows(file: CsvFile, comment: str) -> tuple[int, set[str]]:
    """The most frequent number of fields of the rows, other than a comment, and the first characters of such rows."""
    counts, starts = Counter[int](), set[tuple[int, str]]()
    with file.open_records() as reader:
        for fields in filter(None, reader):
            if fields[0] != comment:
                counts[len(fields)] += 1
                starts.add((len(fields), fields[0][:1]))
    usual = max(counts, key=counts.__getitem__, default=0)
    return usual, {start for count, start in starts if count == usual}


def check_quotes(file: CsvFile) -> None:
    """Raises DataError for a quoted field that is never closed in its file, or is followed by other characters."""
    for part in file.parts:
        _check_quotes_of_part(part)


def _check_quotes_of_part(file: CsvFile) -> None:
    # With escaped quotes, only the strict reader knows which quotes count.
    if file.quote is None or (file.escape is None and not _has_misplaced_quotes(file)):
        return
    line = 0
    with file.open_records(strict=True) as reader:
        try:
            for _ in reader:
                line = reader.line_num
        except csv.Error as error:
            if "expected after" in str(error):
                fault = f"characters follow a quoted field; write a quote in a quoted field twice ({error})"
            else:
                fault = "a quote is opened and never closed; close it, or remove it"
            remedy = "if no field is quoted, set `quote=null`"
            raise DataError(f"{file}, line {line + 1 - file.added_lines}: {fault}; {remedy}") from error


def _has_misplaced_quotes(file: CsvFile) -> bool:
    """Whether there is a quote that neither opens nor closes a field, and isn't doubled within a quoted field.

    Searching large chunks of bytes with NumPy is much faster than Python's strict reader. Only if this search succeeds,
    the strict reader is needed, to find the line.
    """
    assert file.quote is not None
    quote = file.quote.encode()
    inside, rest = 0, b"\n"  # `inside` is 1 within a quoted field
    with file.open() as opened:
        while chunk := opened.read(CHUNK_BYTES):
            text = rest + chunk
            stop = len(text.rstrip(quote))  # a run of quotes at the end may continue in the next chunk
            if _are_misplaced(text[:stop], file, inside):
                return True
            inside ^= text.count(quote, 0, stop) % 2
            rest = text[stop - 1 :]
    return bool(_are_misplaced(rest + b"\n", file, inside) or inside ^ rest.count(quote) % 2)


def _are_misplaced(text: bytes, file: CsvFile, inside: int) -> bool:
    """Whether a text has such a quote. It neither starts nor ends with a quote.

    Args:
        text: the text.
        file: the dialect.
        inside: 1 if the text starts in a quoted field, else 0.
    """
    codes = np.frombuffer(text, np.uint8)
    is_quote = codes == ord(file.quote or "")
    is_bound = is_quote | (codes == ord("\n")) | (codes == ord("\r"))
    for code in file.field_delimiter.encode():
        is_bound |= codes == code
    is_open = np.bitwise_xor.accumulate(is_quote) ^ bool(inside)  # behind each character
    # A quote that opens a field follows a bound, or the other one of two quotes; one that closes it precedes these.
    is_placed = np.where(is_open[1:-1], is_bound[:-2], is_bound[2:])
    return bool((is_quote[1:-1] & ~is_placed).any())


def _describe_zip(path: Path) -> str | None:
    """What a zip archive is: a spreadsheet, or an archive of some files. None: it is damaged, or packed."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a spreadsheet" if path.suffix.lower() in SPREADSHEET_SUFFIXES else None
    sheet = next((kind for name, kind in SPREADSHEETS.items() if name in names), None)
    return sheet or f"a zip archive of {join_names(names)}"


def check_format(file: CsvFile, *, follows: bool = False) -> None:
    """Raises DataError for a file that is no CSV file, but has another format. It isn't joined of others.

    Args:
        file: the file.
        follows: whether a CSV file comes before it in the same table.
    """
    if not isinstance(file.file, PackedFile):  # a file in memory is written as a CSV file
        return
    path = file.file.path
    with file.file.open() as opened:
        start = opened.read(START_BYTES)
    if (found := find_format(start)) is not None:
        remedy = "save all files of a table in one format"
        remedy = remedy if follows else "choose data=table, or save it as CSV if other files of the data are CSV"
        raise DataError(f"{file} is {FORMAT_NAMES[found]}, not CSV; {remedy}")
    kind = next((kind for magic, kind in OTHER_FORMATS.items() if start.startswith(magic)), None)
    if start.startswith(TAR_MAGICS, TAR_POSITION):
        kind = "a tar archive"
    if start.startswith(ZIP_MAGIC):
        kind = _describe_zip(path) or kind
    if kind is not None:
        remedy = "unpack it, or save it as CSV" if PACKED_KIND.match(kind) else "save it as CSV or Parquet"
        if kind == "an image":
            remedy = "list the paths of images in a CSV file, or choose data=images for a folder of them"
        if kind == "a pointer of Git LFS":
            remedy = "fetch the file itself by `git lfs pull`"
        raise DataError(f"{file} is {kind}, not a CSV file; {remedy}")
    text = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if text[:1] in (b"{", b"["):
        first_line = text.splitlines()[0]
        if _is_json(first_line) or first_line.strip() in (b"{", b"["):
            command = _format_conversion(path, "read_json")
            raise DataError(
                f"{file} is in JSON, and neither a CSV file nor JSON lines, with an object in each line, which "
                f"data=table reads; convert it, for example with {command}"
            )
    if text[:14].lower() == b"<!doctype html" or text[:5].lower() in (b"<html", b"<?xml"):
        raise DataError(f"{file} is in HTML or XML, not a CSV file; save the table as CSV")


def _format_conversion(path: Path, reader: str) -> str:
    """The command that converts a file with a function of pandas into a new CSV file beside it."""
    local = Path(path.name) if strip_entry(path) != path else path  # an address can't be written to
    converted = local.with_suffix(".csv")
    if converted.exists():  # also if it is the file itself
        converted = local.with_name(f"{path.stem}_converted.csv")
    source, destination = json.dumps(str(path)), json.dumps(str(converted))
    code = f"import pandas; pandas.{reader}({source}).to_csv({destination}, index=False)"
    return f"python -c {shlex.quote(code)}"


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except ValueError:
        return False


def raise_nul_error(file: CsvFile) -> NoReturn:
    """Raises DataError for the first line with a NUL byte, which is usual in UTF-16 only."""
    _check_utf_16(file)
    with file.open() as opened:
        line = 1 - file.added_lines
        for chunk in iter(lambda: opened.read(CHUNK_BYTES), b""):
            if (position := chunk.find(b"\0")) >= 0:
                line += count_line_ends(chunk[:position])
                break
            line += count_line_ends(chunk)
    location = f"{file}, {file.name_line(line)}"
    raise DataError(f"{location}: there is a byte 0x00, as in UTF-16; set `encoding` to that of the file")


def raise_encoding_error(file: CsvFile) -> NoReturn:
    """Raises DataError for the first line that isn't UTF-8. Only a file that is read as UTF-8 can have one."""
    check_encoding(file)
    raise DataError(f"{file} isn't UTF-8; set `encoding` to that of the file")


def check_encoding(file: CsvFile) -> None:
    """Raises DataError for the first line that isn't UTF-8. The file is one that is read as UTF-8."""
    _check_utf_16(file)
    for part in file.parts:
        with part.file.open() as opened:
            chunks = iter(lambda: opened.read(CHUNK_BYTES), b"")
            for number, line in enumerate(itertools.chain.from_iterable(split_lines(chunks)), start=1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    fault = f"{part}, line {number}: byte {line[error.start]:#x} isn't UTF-8"
                    raise DataError(f"{fault}; {_suggest_encoding(line, error.start)}") from error


def _suggest_encoding(line: bytes, position: int) -> str:
    """Suggests cp1252, which contains all letters of Latin-1, and shows the text around the byte in it."""
    start = line[max(position - 10, 0) : position + 10].rstrip(b"\r\n")
    try:
        text = start.decode("cp1252")
    except UnicodeDecodeError:
        return "set `encoding` to that of the file"
    return f"it looks like Latin-1: set `encoding=cp1252`, which reads {text!r}, or set `encoding` to that of the file"


def _check_utf_16(file: CsvFile) -> None:
    """Raises DataError for the byte order mark of UTF-16, or for its NUL bytes."""
    for part in file.parts:
        with part.file.open() as opened:
            start = opened.read(START_BYTES)
        if start[:4] == codecs.BOM_UTF32_LE or start[:4] == codecs.BOM_UTF32_BE:
            encoding = "utf-32"
        elif start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            encoding = "utf-16"
        else:
            encoding = guess_utf_16(start)
        if encoding:
            raise DataError(f"{part} looks like {encoding.upper()}: set `encoding={encoding}`")


def raise_empty_error(file: CsvFile) -> NoReturn:
    with file.open_records() as reader:
        for fields in reader:
            if fields:
                raise DataError(f"{file} has no rows below the names of its columns")
    raise DataError(f"{file} is empty; its first line must name the columns")


def _read_names(file: CsvFile) -> list[str]:
    with file.open_records() as reader:
        return next(fields for fields in reader if fields)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def name_character(character: str) -> str:
    """The name of a character, if it has one, or the character itself."""
    return next((name for name, value in CHARACTERS.items() if value == character), character)
