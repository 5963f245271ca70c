"""The dialect of a CSV file: its encoding, delimiter, quotes and comments. It turns the file into lines of UTF-8."""

from __future__ import annotations

import codecs
import csv
import io
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from components.data.bad_rows import BadRows
from components.data.packed import ChunkReader, MemoryFile, PackedFile
from components.types import DataError

CHARACTERS = {  # by a name that needs no quotes in a shell
    "tab": "\t",
    "semicolon": ";",
    "pipe": "|",
    "comma": ",",
    "point": ".",
    "space": " ",
    "apostrophe": "'",
    "underscore": "_",
    "hash": "#",
    "percent": "%",
    "backslash": "\\",
    "double_quote": '"',
    "single_quote": "'",
}
SEPARATOR_LINE = re.compile(rb"(?:\xef\xbb\xbf)?sep=([^\r\n])(?=[\r\n]|\Z)", re.IGNORECASE)  # Excel writes and reads it
CHUNK_BYTES = 1 << 20
NULL = rb"\N"  # a missing value in MySQL's files
MAX_LINE_CHARACTERS = 16 << 20  # also the maximum of a field
FIELD_LIMIT_LOCK = threading.Lock()  # `csv.field_size_limit` is global


@dataclass(frozen=True)
class CsvFile:
    """A CSV file and its dialect.

    Attributes:
        file: the file, packed or not, or in memory.
        delimiter: the character between fields. A comma is replaced by the character of a first line such as `sep=;`.
        quote: the character around fields. None: no field is quoted.
        escape: the character before a delimiter or quote that is part of a field. None: there is none. With a
            backslash, a field `\\N` is empty, as in files of MySQL.
        comment: lines that start with it are skipped. None: there are no comments.
        encoding: a text encoding of Python.
        skipped: the rows that are skipped, by their numbers in the file from 0, sorted. Rows are numbered without them
            everywhere else.
        names: the names of the columns, of a file that doesn't have them. They are read as a line before the first one.
        strip: the characters that are removed at both ends of each field. No field may be quoted.
    """

    file: PackedFile | MemoryFile
    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    encoding: str = "utf-8"
    skipped: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    strip: str = ""

    def __str__(self) -> str:
        return str(self.file)

    @cached_property
    def field_delimiter(self) -> str:
        """The character between fields."""
        return (self._separator_line or ",") if self.delimiter == "," else self.delimiter

    @contextmanager
    def open(self) -> Iterator[LineStream]:
        """Opens the file as UTF-8. Comments and skipped rows are empty lines, so that others keep their numbers.

        Raises:
            DataError: as `PackedFile.open`; or, while reading, a byte doesn't fit the encoding.
        """
        with self.file.open() as opened:
            has_marks = self.comment is not None or self._separator_line is not None or self.escape == "\\"
            if self._is_utf_8 and not (has_marks or self.skipped or self.names or self.strip):
                yield LineStream(opened)
                return
            chunks: Iterable[bytes] = _read_chunks(opened) if self._is_utf_8 else self._decode(_read_chunks(opened))
            if self.skipped:
                chunks = self._empty_skipped(chunks)
            if has_marks:
                chunks = self._empty_comments_and_nulls(chunks)
            if self.strip:
                chunks = self._strip_fields(chunks)
            if self.names:
                chunks = self._add_names(chunks)
            yield LineStream(io.BufferedReader(ChunkReader(filter(None, chunks)), CHUNK_BYTES))

    @contextmanager
    def open_records(self, *, strict: bool = False) -> Iterator[Any]:
        """Opens a reader of Python's `csv`; raises DataError for lines or fields of more than MAX_LINE_CHARACTERS."""
        with FIELD_LIMIT_LOCK, self.open() as opened:
            old_limit = csv.field_size_limit(MAX_LINE_CHARACTERS)
            try:
                text = io.TextIOWrapper(
                    io.BufferedReader(ChunkReader(_read_chunks(opened)), CHUNK_BYTES),
                    encoding="utf-8-sig",
                    errors="replace",
                    newline="",
                )
                yield csv.reader(
                    self._read_lines(text),
                    delimiter=self.field_delimiter,
                    quotechar=self.quote,
                    quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
                    escapechar=self.escape,
                    strict=strict,
                )
            except csv.Error as error:
                raise DataError(f"{self} can't be read as CSV: {error}") from error
            finally:
                csv.field_size_limit(old_limit)

    @property
    def added_lines(self) -> int:
        """The number of lines that are read before the first line of the file."""
        return 1 if self.names else 0

    @property
    def is_in_memory(self) -> bool:
        """Whether the file was written in memory, so that its format needs no check, and its rows have no lines."""
        return isinstance(self.file, MemoryFile)

    def locate(self, row: int) -> str:
        """The location of a row, counted from 0: `line 5`, or `row 3` in memory."""
        if not isinstance(self.file, MemoryFile):
            return f"line {self.find_line(row + 1)}"
        return self.file.locate(int(BadRows(np.array(self.skipped, np.int64)).number(np.array([row]))[0]))

    def find_lines(self, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yields the first line, from 0, and the end of the lines of each of some rows, sorted and counted from 0."""
        wanted, record, start = iter(rows), -1, 0
        following = next(wanted, None)
        with self.open_records() as reader:
            for fields in reader:
                if fields and record == following:
                    yield start - self.added_lines, reader.line_num - self.added_lines
                    following = next(wanted, None)
                record += bool(fields)
                start = reader.line_num

    def read_skipped(self, name: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yields the number of each skipped row and the text that it has in a column.

        In a row with a wrong number of fields, the column may be counted from either end, so there are two texts, from
        the nearer end first. One is "" where the row has no such field. A row of a single field has none: it is a line
        of other text.
        """
        skipped = frozenset(self.skipped)
        with replace(self, skipped=()).open_records() as reader:
            records = filter(None, reader)
            names = next(records)
            position = names.index(name) if name in names else len(names)
            for row, fields in enumerate(records):
                if row not in skipped:
                    continue
                positions = [position, position - len(names) + len(fields)]
                if 2 * position >= len(names):
                    positions.reverse()
                if len(fields) == len(names):
                    del positions[1:]
                elif len(fields) == 1:
                    positions.clear()
                yield row, tuple(fields[each] if 0 <= each < len(fields) else "" for each in positions)

    def count_rows(self) -> int:
        """The number of rows."""
        with self.open_records() as reader:
            return sum(map(bool, reader)) - 1

    def find_uneven_rows(self) -> dict[int, int]:
        """The numbers of fields, by row, of the rows with another number than the first line."""
        with self.open_records() as reader:
            counts = (len(fields) for fields in reader if fields)
            needed = next(counts)
            return {row: count for row, count in enumerate(counts) if count != needed}

    def find_line(self, record: int) -> int:
        """The line, from 1, in which a record starts. Empty lines aren't records.

        Record 0 has the names of the columns; if they aren't in the file, its line is 0.
        """
        last_line = 0  # of the previous record
        with self.open_records() as reader:
            for fields in reader:
                if fields and record == 0:
                    break
                if fields:  # not an empty line
                    record -= 1
                last_line = reader.line_num
        return last_line + 1 - self.added_lines

    @property
    def _is_utf_8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    @cached_property
    def _separator_line(self) -> str | None:
        """The delimiter that a first line such as `sep=;` names. This line isn't part of the table."""
        with self.file.open() as opened:
            start = opened.read(1 << 8)
            text = start if self._is_utf_8 else b"".join(self._decode([start], is_whole=False))
        match = SEPARATOR_LINE.match(text)
        return match[1].decode() if match and match[1].isascii() else None

    def _read_lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE_CHARACTERS), ""), start=1):
            if len(line) == MAX_LINE_CHARACTERS:
                limit = f"{MAX_LINE_CHARACTERS >> 20} million characters"
                line_number = number - self.added_lines
                raise DataError(f"{self}, line {line_number} has more than {limit}, the maximum; is it a table?")
            yield line

    def _decode(self, chunks: Iterable[bytes], *, is_whole: bool = True) -> Iterator[bytes]:
        """Converts the file to UTF-8. `is_whole`: whether the last chunk ends the file."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        ends = io.IncrementalNewlineDecoder(None, translate=True)  # CR and LF may be in two chunks
        line = 1
        for chunk in [*chunks, b""] if not is_whole else _append(chunks, b""):
            try:
                text = decoder.decode(chunk, final=is_whole and not chunk)
            except UnicodeError as error:
                if not isinstance(error, UnicodeDecodeError) or "BOM" in error.reason:  # the latter from Python 3.13 on
                    raise self._make_mark_error(error, line, chunk) from None
                before = error.object[: error.start].decode(self.encoding, errors="ignore")
                line += ends.decode(before, final=True).count("\n")
                raise DataError(
                    f"{self}, line {line}: byte {error.object[error.start]:#04x} doesn't fit `encoding` "
                    f"(={self.encoding}): {error.reason}. Set `encoding` to that of the file."
                ) from None
            line += ends.decode(text).count("\n")
            yield text.encode("utf-8", "surrogatepass")

    def _make_mark_error(self, error: UnicodeError, line: int, chunk: bytes) -> DataError:
        """Makes the error for a missing byte order mark, or another fault without a position."""
        name = codecs.lookup(self.encoding).name
        remedy = "`encoding` to that of the file"
        if name in ("utf-16", "utf-32"):
            guessed = guess_utf_16(chunk) if name == "utf-16" else ""
            remedy = f"`encoding={guessed}`" if guessed else f"`encoding={name}-le` or `encoding={name}-be`"
        fault = error.reason if isinstance(error, UnicodeDecodeError) else error
        return DataError(
            f"{self}, line {line}: a byte doesn't fit `encoding` (={self.encoding}): {fault}. Set {remedy}."
        )

    def _empty_skipped(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Empties the lines of the rows that are skipped."""
        first, skipped, before = 0, self._skipped_lines, b""
        for lines in split_lines(chunks):
            low, high = np.searchsorted(skipped, (first, first + len(lines)))
            _empty_lines(lines, (skipped[low:high] - first).tolist(), before)
            first, before = first + len(lines), lines[-1] if lines else before
            yield b"".join(lines)

    @cached_property
    def _skipped_lines(self) -> np.ndarray:
        """The lines of the rows that are skipped, from 0, sorted int64."""
        found = replace(self, skipped=()).find_lines(self.skipped)
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(start, stop) for start, stop in found)])

    def _strip_fields(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Removes characters at both ends of each field."""
        delimiter, ends = self.field_delimiter.encode(), self.strip.encode()
        for lines in split_lines(chunks):
            for number, line in enumerate(lines):
                content = line.rstrip(b"\r\n")
                fields = (field.strip(ends) for field in content.split(delimiter))
                lines[number] = delimiter.join(fields) + line[len(content) :]
            yield b"".join(lines)

    def _add_names(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Adds a line with the names of the columns."""
        yield self.field_delimiter.join(self.names).encode() + b"\n"
        for number, chunk in enumerate(chunks):
            yield chunk if number else chunk.removeprefix(codecs.BOM_UTF8)

    def _empty_comments_and_nulls(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Empties the line that names the delimiter, lines that start with the comment character, and fields `\\N`.

        A line within a quoted field is no comment.
        """
        comment, quote = (self.comment or "").encode(), (self.quote or "").encode()
        is_quoted, is_first, before = False, True, b""
        for lines in split_lines(chunks):
            comments = []
            for number, line in enumerate(lines):
                is_separator_line = is_first and self._separator_line is not None
                if is_separator_line or (comment and not is_quoted and line.startswith(comment)):
                    comments.append(number)
                elif (quote and quote in line) or (self.escape == "\\" and NULL in line):
                    lines[number], is_quoted = self._empty_nulls(line, is_quoted)
                is_first = False
            _empty_lines(lines, comments, before)
            before = lines[-1] if lines else before
            yield b"".join(lines)

    def _empty_nulls(self, line: bytes, is_quoted: bool) -> tuple[bytes, bool]:
        """Empties the fields `\\N` of a line. Arrow would remove the backslash, and read the text `N`.

        Args:
            line: a line with its end.
            is_quoted: whether it starts within a quoted field.

        Returns:
            The line, and whether it ends within a quoted field.
        """
        position, nulls = 0, []
        while match := self._tokens[is_quoted].search(line, position):
            position = match.end()
            if match.lastgroup == "quote":
                is_quoted = not is_quoted
            elif match.lastgroup == "null":
                nulls.append(match.end())
        for end in reversed(nulls):
            start = end - len(NULL)
            is_whole_line = not line[:start] + line[end:].rstrip(b"\r\n")
            if is_whole_line and self.quote is None:
                raise DataError(f"{self}: a line `\\N` would be empty, and an empty line is no row. Set `quote`.")
            line = line[:start] + (self.quote or "").encode() * 2 * is_whole_line + line[end:]
        return line, is_quoted

    @cached_property
    def _tokens(self) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
        """What to search for outside and within a quoted field.

        A quote opens a field after a delimiter or at the start of a line only. A quote within a quoted field is
        written twice, or escaped. `\\A` is the start of the line, also if the search begins later.
        """
        quote, delimiter, escape = (
            re.escape((character or "").encode()) for character in (self.quote, self.field_delimiter, self.escape)
        )
        start, end = rb"(?:\A|%b)" % delimiter, rb"(?=%b|[\r\n]|\Z)" % delimiter
        null = [rb"(?P<null>%b\\N%b)" % (start, end)] if self.escape == "\\" else []
        escaped = [rb"%b." % escape] if escape else []
        opening = [rb"(?P<quote>%b%b)" % (start, quote)] if quote else []
        closing = [quote * 2, rb"(?P<quote>%b)" % quote] if quote else []
        outside, inside = b"|".join([*null, *opening, *escaped]), b"|".join([*escaped, *closing])
        return re.compile(outside, re.DOTALL), re.compile(inside, re.DOTALL)


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


def guess_utf_16(start: bytes) -> str:
    """The byte order in which a text without byte order mark has the zeros of UTF-16; "" if it is another encoding."""
    zeros = np.frombuffer(start[: len(start) // 2 * 2], np.uint8).reshape(-1, 2) == 0
    shares = zeros.mean(axis=0) if len(zeros) else np.zeros(2)
    if shares.max() > 0.5 and shares.min() < 0.1:
        return "utf-16-le" if shares[1] > shares[0] else "utf-16-be"
    return ""


def _read_chunks(file: Any) -> Iterator[bytes]:
    return iter(lambda: file.read(CHUNK_BYTES), b"")


def _append(chunks: Iterable[bytes], last: bytes) -> Iterator[bytes]:
    yield from chunks
    yield last


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


def _empty_lines(lines: list[bytes], numbers: Sequence[int], before: bytes) -> None:
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
