"""The source for text files whose lines are rows."""

from __future__ import annotations

import codecs
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np

from components.data import column_store
from components.data.column_store import map_arrays, map_file
from components.data.csv.dialect import CsvFile
from components.data.csv.lines import read_chunks
from components.data.csv.source import check_encoding
from components.data.files import check_utf_8_name
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.profile import Profile
from components.data.table import LocatedBlock, Table
from components.data.table_paths import find_table_files, list_folder, make_tuples_of_paths, name_files
from components.file_formats import strip_packed_suffix
from components.input_files import Paths, describe_paths, hash_file
from components.types import Block, DataError, Range, Strings, TableProfile, Values

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class TextLines(Table):
    """Lines of text files as a column `text`, and with `label` a column `label`.

    LF, CR LF and CR alone end lines. Empty lines aren't rows; lines of blanks are. Files may be packed with gzip,
    bzip2, xz or Zstandard. Texts of more than 134 MB in all are kept in a temporary file. For texts that are whole
    files, see `TextFolders`.

    Attributes:
        path: a file, a pattern such as `poems/*.txt`, or a list of these, or a folder: all files in it and in the
            folders below. The files of a pattern and a folder are in the order of their paths. A relative path is
            looked up below $TITRATE_DATA, then below the working folder.
        label: the class of a line: `file`, the name of its file without suffixes such as .txt or .txt.gz; or `folder`,
            the name of the folder of its file. None: there is no column of classes.
        skip_lines: the number of lines at the start of each file that aren't rows, such as a header.
        encoding: a text encoding of Python, such as utf-16 or cp1252.
        valid: the rows of the validation split: a share in (0, 1), a count from 1, or one or several files, as in
            `path`, which are read like those. None: 0.15.
        test: the rows of the test split, likewise.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes (10^9 bytes).
    """

    path: str | tuple[str, ...]
    label: Literal["file", "folder"] | None = None
    skip_lines: Annotated[int, Range(0)] = 0
    encoding: str = "utf-8"
    valid: Annotated[float, Range(0, bounds="()")] | str | tuple[str, ...] | None = None
    test: Annotated[float, Range(0, bounds="()")] | str | tuple[str, ...] | None = None
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        make_tuples_of_paths(self, "path", "valid", "test")
        check_encoding(self.encoding)

    def content_digest(self) -> str:
        digest = hashlib.blake2b(f"{self.skip_lines} {codecs.lookup(self.encoding).name}".encode(), digest_size=16)
        for part, files in self._files.items():
            for file in files:
                digest.update(f"{part} {self._find_class(file) if self.label else ''} ".encode())
                digest.update(hash_file(file).digest())
        return digest.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {name: part.texts.rows for name, part in self._parts.items()}

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file, over all parts."""
        return [count for part in self._parts.values() for count in part.counts.tolist()]

    def origin(self, part: str) -> str:
        return describe_paths(self._paths[part])

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {
            name: {"text": part.texts} | ({} if part.labels is None else {"label": part.labels})
            for name, part in self._parts.items()
        }

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        block = super().make_block(part, columns, first_row)
        return LocatedBlock(**vars(block), locate_row=partial(self._locate, part))

    def profile(self) -> TableProfile:
        """The facts about the columns. Raises DataError if there is no column of classes."""
        label = describe_paths(self.path)
        if self.label is None:
            raise DataError(
                f"{label} has no classes to predict. Set `label=file` if each file holds the lines of one class, or "
                "`label=folder`, or choose feature columns that need no target"
            )
        columns = self.columns_by_part[next(iter(self._paths))]
        profiles = (
            Profile(name, "string", name == "label", values, None, self.locate_row, dict)
            for name, values in columns.items()
        )
        return TableProfile(label, tuple(profiles), "label")

    @property
    def _paths(self) -> dict[str, Paths]:
        """The files of each part as they are written."""
        given = {name: path for name in ("valid", "test") if isinstance(path := getattr(self, name), str | tuple)}
        return {"train" if given else "all": self.path, **given}

    @cached_property
    def _files(self) -> Mapping[str, tuple[Path, ...]]:
        return {part: find_table_files(paths, list_folder) for part, paths in self._paths.items()}

    @cached_property
    def _parts(self) -> Mapping[str, _Part]:
        return {part: self._read_part(part, files) for part, files in self._files.items()}

    def _read_part(self, part: str, files: tuple[Path, ...]) -> _Part:
        counts, lengths = np.zeros(len(files), np.int64), []

        def read() -> Iterator[bytes]:
            for number, file in enumerate(files):
                for data, sizes in self._read_lines(file):
                    counts[number] += len(sizes)
                    lengths.append(sizes)
                    yield data

        maps: list[pyarrow.Buffer] = []
        data = _join(read(), maps)
        if not counts.all():
            empty = files[int(counts.argmin())]
            skipped = f" after the first {self.skip_lines:,}; set `skip_lines` to fewer, or" if self.skip_lines else ";"
            raise DataError(f"{empty} has no lines{skipped} choose files with lines that aren't empty")
        offsets = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()
        texts = Strings(data, map_arrays(offsets, maps) if maps else offsets)
        labels = None if self.label is None else _repeat([self._find_class(file) for file in files], counts)
        return _Part(texts, labels, counts)

    def _read_lines(self, path: Path) -> Iterator[tuple[bytes, np.ndarray]]:
        """Yields pieces of a file: the bytes of their rows without ends of lines, and the sizes of the rows, int64."""
        left = self.skip_lines
        for piece in self._read_pieces(path):
            ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
            skipped = min(left, len(ends))
            left -= skipped
            start = int(ends[skipped - 1]) + 1 if skipped else 0
            sizes = np.diff(ends[skipped:], prepend=start - 1) - 1
            if len(sizes := sizes[sizes > 0]):
                yield piece[start:].replace(b"\n", b""), sizes

    def _read_pieces(self, path: Path) -> Iterator[bytes]:
        """Yields a file in UTF-8 in pieces of whole lines, each of which ends in LF."""
        held: list[bytes] = []
        with PackedFile(path, self.max_unpacked_gb).open() as opened:
            for chunk in _unify_ends(self._decode(path, read_chunks(opened))):
                if b"\0" in chunk:
                    raise DataError(
                        f"{path} has a NUL character, so it is no text in {self.encoding}. Remove it, or set `encoding`"
                    )
                lines, end, rest = chunk.rpartition(b"\n")
                if end:
                    yield b"".join([*held, lines, end])
                    held = []
                held.append(rest)
        if last := b"".join(held):
            yield last + b"\n"

    def _decode(self, path: Path, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Converts a file to UTF-8 without a byte order mark. Raises DataError for a byte that doesn't fit."""
        decoded = CsvFile(PackedFile(path), encoding=self.encoding).decode(chunks)
        is_first = True
        for chunk in filter(None, decoded):
            yield chunk.removeprefix(codecs.BOM_UTF8) if is_first else chunk
            is_first = False

    def _find_class(self, path: Path) -> str:
        check_utf_8_name(path.parent, path.name)
        if self.label == "folder":
            return path.parent.name
        return Path(strip_packed_suffix(path.name)).stem

    def _locate(self, part: str, row: int) -> str:
        files = self._files[part]
        bounds = self._parts[part].counts.cumsum()
        number = int(np.searchsorted(bounds, row, side="right"))
        row -= int(bounds[number - 1]) if number else 0
        return f"line {self._find_line(files[number], row)} of {name_files(files)[number]}"

    def _find_line(self, path: Path, row: int) -> int:
        """The line, from 1, of a row of a file."""
        lines = 0
        for piece in self._read_pieces(path):
            ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
            is_row = (np.diff(ends, prepend=-1) > 1) & (np.arange(lines, lines + len(ends)) >= self.skip_lines)
            if row < (count := int(is_row.sum())):
                return lines + int(np.flatnonzero(is_row)[row]) + 1
            row, lines = row - count, lines + len(ends)
        return lines


class _Part(NamedTuple):
    """The rows of a part.

    Attributes:
        texts: the lines.
        labels: their classes. None: there are none.
        counts: the number of rows of each file.
    """

    texts: Strings
    labels: Strings | None
    counts: np.ndarray


def _join(pieces: Iterator[bytes], maps: list[pyarrow.Buffer]) -> np.ndarray:
    """The bytes of all pieces, uint8, in a temporary file if they are many. `maps` gets its content."""
    held, size = [], 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > column_store.MAX_ARRAY_BYTES:
            content = map_file(lambda file: file.writelines(itertools.chain(held, pieces)), maps)
            return np.frombuffer(content, np.uint8)
    return np.frombuffer(b"".join(held), np.uint8)


def _unify_ends(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text, in which LF ends all lines."""
    held = b""  # the CR at the end of a chunk, which an LF may follow
    for chunk in chunks:
        chunk = held + chunk
        held = b"\r" if chunk.endswith(b"\r") else b""
        yield chunk.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if held:
        yield b"\n"


def _repeat(names: list[str], counts: np.ndarray) -> Strings:
    """The name of each file, as many times as it has rows."""
    classes, ids = np.unique(names, return_inverse=True)
    packed = Strings.from_bytes([name.encode() for name in classes.tolist()])
    return packed._replace(indices=np.repeat(ids.astype(np.int32), counts))
