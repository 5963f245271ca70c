"""The dialect of a CSV file: its encoding, delimiter, quotes and comments. It turns the file into lines of UTF-8.

Several files are joined to one text of UTF-8, in which lines have other numbers than in their files.
"""

from __future__ import annotations

import bisect
import codecs
import csv
import io
import itertools
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from components.data.bad_rows import BadRows
from components.data.csv.lines import CHUNK_BYTES, LineStream, count_line_ends, empty_lines, read_chunks, split_lines
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
START_BYTES = 1 << 12  # of a file, which usually hold its header
NULL = rb"\N"  # a missing value in MySQL's files
MAX_LINE_CHARACTERS = 16 << 20  # also the maximum of a field
FIELD_LIMIT_LOCK = threading.RLock()  # `csv.field_size_limit` is global; joined files open each other


@dataclass(frozen=True)
class CsvFile:
    """A CSV file and its dialect.

    Attributes:
        file: the file, packed or not, or in memory, or several that are joined.
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
        added_fields: the names of columns that the file doesn't have, and the text of each, which all rows have. They
            are read as the last fields of each line.
    """

    file: PackedFile | MemoryFile | JoinedFile
    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    encoding: str = "utf-8"
    skipped: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    strip: str = ""
    added_fields: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return str(self.file)

    @cached_property
    def field_delimiter(self) -> str:
        """The character between fields."""
        return (self._separator_line or ",") if self.delimiter == "," else self.delimiter

    @property
    def parts(self) -> tuple[CsvFile, ...]:
        """The files that are joined, or only this one."""
        return self.file.parts if isinstance(self.file, JoinedFile) else (self,)

    @contextmanager
    def open(self) -> Iterator[LineStream]:
        """Opens the file as UTF-8. Comments and skipped rows are empty lines, so that others keep their numbers.

        Raises:
            DataError: as `PackedFile.open`; or, while reading, a byte doesn't fit the encoding.
        """
        with self.file.open() as opened:
            # The files that are joined are without marks already.
            has_marks = not isinstance(self.file, JoinedFile) and (
                self.comment is not None or self._separator_line is not None or self.escape == "\\"
            )
            if self._is_utf_8 and not (has_marks or self.skipped or self.names or self.strip or self.added_fields):
                yield LineStream(opened)
                return
            chunks: Iterable[bytes] = read_chunks(opened) if self._is_utf_8 else self.decode(read_chunks(opened))
            if self.skipped:
                chunks = self._empty_skipped(chunks)
            if has_marks:
                chunks = self._empty_comments_and_nulls(chunks)
            if self.strip:
                chunks = self._strip_fields(chunks)
            if self.names:
                chunks = self._add_names(chunks)
            if self.added_fields:
                chunks = self._add_fields(chunks)
            yield LineStream(io.BufferedReader(ChunkReader(filter(None, chunks)), CHUNK_BYTES))

    @contextmanager
    def open_records(self, *, strict: bool = False) -> Iterator[Any]:
        """Opens a reader of Python's `csv`; raises DataError for lines or fields of more than MAX_LINE_CHARACTERS."""
        with FIELD_LIMIT_LOCK, self.open() as opened:
            old_limit = csv.field_size_limit(MAX_LINE_CHARACTERS)
            try:
                text = io.TextIOWrapper(
                    io.BufferedReader(ChunkReader(read_chunks(opened)), CHUNK_BYTES),
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
        """The location of a row, counted from 0: `line 5`, or `line 5 of b.csv`, or `row 3` in memory."""
        if not isinstance(self.file, MemoryFile):
            return self.name_line(self.find_line(row + 1))
        return self.file.locate(int(BadRows(np.array(self.skipped, np.int64)).number(np.array([row]))[0]))

    def name_line(self, line: int) -> str:
        """Names a line, counted from 1: `line 5`, or `line 5 of b.csv` where files are joined."""
        return self.file.name_line(line) if isinstance(self.file, JoinedFile) else f"line {line}"

    def read_header(self) -> Header:
        """Reads the record with the names of the columns."""
        with self.open_records() as reader:
            for fields in filter(None, reader):
                return Header(tuple(fields), reader.line_num)
            return Header((), reader.line_num)

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
            text = start if self._is_utf_8 else b"".join(self.decode([start], is_whole=False))
        match = SEPARATOR_LINE.match(text)
        return match[1].decode() if match and match[1].isascii() else None

    def _read_lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE_CHARACTERS), ""), start=1):
            if len(line) == MAX_LINE_CHARACTERS:
                limit = f"{MAX_LINE_CHARACTERS >> 20} million characters"
                name = self.name_line(number - self.added_lines)
                raise DataError(f"{self}, {name} has more than {limit}, the maximum; is it a table?")
            yield line

    def decode(self, chunks: Iterable[bytes], *, is_whole: bool = True) -> Iterator[bytes]:
        """Converts the file to UTF-8. `is_whole`: whether the last chunk ends the file."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        ends = io.IncrementalNewlineDecoder(None, translate=True)  # CR and LF may be in two chunks
        line = 1
        for chunk in [*chunks, b""] if not is_whole else itertools.chain(chunks, [b""]):
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
            empty_lines(lines, (skipped[low:high] - first).tolist(), before)
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

    def _add_fields(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Adds the last fields of each record: their names to the first one, and their texts to the others."""
        delimiter = self.field_delimiter
        names, texts = (
            "".join(delimiter + self._quote(field) for field in fields).encode()
            for fields in zip(*self.added_fields, strict=True)
        )
        quote, is_quoted, added = (self.quote or "").encode(), False, names
        for lines in split_lines(chunks):
            for number, line in enumerate(lines):
                if quote and quote in line:
                    _, is_quoted = self._empty_nulls(line, is_quoted)
                if not is_quoted and (content := line.rstrip(b"\r\n")):
                    lines[number], added = content + added + line[len(content) :], texts
            yield b"".join(lines)

    def _quote(self, field: str) -> str:
        """A field as the file would have it."""
        special = (self.field_delimiter, self.quote, self.escape, "\n", "\r")
        if not any(character and character in field for character in special):
            return field
        if self.quote is None or (self.escape and self.escape in field):
            raise DataError(f"{self} is in a folder that is named {field!r}, which no field can have. Rename it.")
        return f"{self.quote}{field.replace(self.quote, self.quote * 2)}{self.quote}"

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
            empty_lines(lines, comments, before)
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


class Header(NamedTuple):
    """The record with the names of the columns.

    Attributes:
        names: the names.
        lines: the number of lines up to its end. All lines of a file without a record.
    """

    names: tuple[str, ...]
    lines: int


@dataclass(frozen=True)
class JoinedFile:
    """CSV files with the same columns, one after the other as a single text of UTF-8.

    The header of each file but the first is emptied, and each file ends with a line end.

    Attributes:
        parts: the files and their dialects, which have the same delimiter.
        names: the name of each file, for messages.
        name: the name of the whole, for messages.
    """

    parts: tuple[CsvFile, ...]
    names: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Opens the files. Raises DataError as `CsvFile.open` does."""
        opened: io.BufferedReader = io.BufferedReader(ChunkReader(self._read_chunks()), CHUNK_BYTES)
        with opened:
            yield opened

    def name_line(self, line: int) -> str:
        """Names a line of the text, counted from 1: `line 5 of b.csv`."""
        part = bisect.bisect_left(self._line_counts, line)
        before = self._line_counts[part - 1] if part else 0
        return f"line {line - before - self.parts[part].added_lines} of {self.names[part]}"

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """The header of each file."""
        return tuple(part.read_header() for part in self.parts)

    @cached_property
    def _line_counts(self) -> list[int]:
        """The number of lines up to the end of each file."""
        return list(itertools.accumulate(self._count_lines(part) for part in range(len(self.parts))))

    def _count_lines(self, part: int) -> int:
        return sum(map(count_line_ends, self._read_part(part, b"\n")))

    def _read_chunks(self) -> Iterator[bytes]:
        """Yields chunks that aren't empty."""
        end = b"\n"
        for part in range(len(self.parts)):
            for chunk in filter(None, self._read_part(part, end)):
                end = chunk[-1:]
                yield chunk

    def _read_part(self, part: int, before: bytes) -> Iterator[bytes]:
        """Reads a file. `before`: the line end before it."""
        with self.parts[part].open() as opened:
            chunks = _remove_mark(itertools.chain(iter([opened.read(START_BYTES)]), read_chunks(opened)))
            if part:
                chunks = _empty_first_lines(chunks, self.headers[part].lines, before)
            end = b""
            for chunk in chunks:
                end = chunk[-1:] or end
                yield chunk
            if end not in (b"\n", b"\r"):
                yield b"\n"


def _remove_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Leaves out the byte order mark of UTF-8."""
    yield next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    yield from chunks


def _empty_first_lines(chunks: Iterator[bytes], count: int, before: bytes) -> Iterator[bytes]:
    """Empties lines at the start. `before`: the line end before them."""
    lines: list[bytes] = []
    for chunk in chunks:
        lines = (b"".join(lines) + chunk).splitlines(keepends=True)
        if len(lines) > count:  # so the last one to empty is whole
            break
    empty_lines(lines, range(min(count, len(lines))), before)
    yield b"".join(lines)
    yield from chunks


def guess_utf_16(start: bytes) -> str:
    """The byte order in which a text without byte order mark has the zeros of UTF-16; "" if it is another encoding."""
    zeros = np.frombuffer(start[: len(start) // 2 * 2], np.uint8).reshape(-1, 2) == 0
    shares = zeros.mean(axis=0) if len(zeros) else np.zeros(2)
    if shares.max() > 0.5 and shares.min() < 0.1:
        return "utf-16-le" if shares[1] > shares[0] else "utf-16-be"
    return ""
