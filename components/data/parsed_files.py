"""The source for files, or records in files, that a function of Python parses."""

from __future__ import annotations

import bisect
import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from components.data.generator import Generator
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.table_paths import find_table_files, list_folder, make_tuples_of_paths, name_files
from components.data.tfrecord.columns import open_records
from components.data.tfrecord.framing import read_records
from components.input_files import hash_file
from components.types import DataError, Range, row_count

BATCH_RECORDS, BATCH_BYTES = 1 << 10, 1 << 24  # that a function gets at once
MAX_PIECE_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 40  # a longer one is a slip


@dataclass(frozen=True, kw_only=True, eq=False)
class ParsedFiles(Generator):
    """Rows that a function makes of the bytes of files, or of the records in files. They are in memory only in blocks.

    The function gets the bytes, and, if it has a parameter `path`, the path of the file. Files may be packed with gzip,
    bzip2, xz or Zstandard; the function gets them unpacked. To read the split from the path, make a column of it, and
    set `split_column`. What the function returns is checked as for `Generator`.

    Attributes are those of `Generator`, without those below:
        path: a file, a pattern such as `signals/*.bin`, or a list of these, or a folder: all files in it and in the
            folders below. The files of a pattern and a folder are in the order of their paths. A relative path is
            looked up below $TITRATE_DATA, then below the working folder.
        function: the function, by its dotted name, or with more arguments, such as
            `{_target_: my_module.parse, rate: 16000}`.
        yields: `rows`: it gets one record, and returns a mapping of one row, by column; or `blocks`: it gets a list of
            records (and in `path` that of their paths), and returns a mapping of columns with any number of rows.
        framing: where a record starts and ends: a record is a whole `file`; a record of a TFRecord or ArrayRecord file,
            `tfrecord`; or a piece of a file of this number of bytes.
        header_bytes: the number of bytes at the start of each file that aren't read, before pieces of fixed length.
        version: a text or a number that identifies the function, in place of its source file and of what it holds.
        max_unpacked_gb: the maximum size of an unpacked file in gigabytes (10^9 bytes).
    """

    path: str | tuple[str, ...]
    function: Callable[..., Any]
    framing: Literal["file", "tfrecord"] | Annotated[int, Range(1, MAX_PIECE_BYTES)] = "file"
    header_bytes: Annotated[int, Range(0, MAX_HEADER_BYTES)] = 0
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        make_tuples_of_paths(self, "path")
        super().__post_init__()
        if self.header_bytes and isinstance(self.framing, str):
            raise DataError(
                f"`header_bytes` (={self.header_bytes}) is for pieces of a fixed length, but `framing` is "
                f"{self.framing}. Leave it out, or set `framing` to the number of bytes of a piece"
            )

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(f"{self.framing} {self.header_bytes}".encode(), digest_size=16)
        for file, name in zip(self._files, self._names, strict=True):
            digest.update(f"{name if self._takes_path else ''} ".encode(errors="surrogateescape"))
            digest.update(hash_file(file).digest())
        return f"{digest.hexdigest()}, {super().fingerprint()}"

    def _read_rows(self) -> Iterator[tuple[int, Any]]:
        if self.yields == "rows":
            for number, record in enumerate(self._read_records()):
                with self._errors_in_row(number):
                    row = self._parse(record.content, str(record.path))
                yield number, row
            return
        count = 0
        for batch in _batch(self._read_records()):
            self._positions.batches[count] = f"{batch[0].name} to {batch[-1].name}" if batch[1:] else batch[0].name
            with self._errors_in_row(count):
                block = self._parse([record.content for record in batch], [str(record.path) for record in batch])
            self._check_mapping(count, block)
            yield count, block
            count += row_count(next(iter(block.values())))
            if self.limit is not None and count >= self.limit:
                return

    def _parse(self, content: Any, path: Any) -> Any:
        return self.function(content, path=path) if self._takes_path else self.function(content)

    def _read_records(self) -> Iterator[_Record]:
        number, positions = 0, self._positions
        for index, (file, name) in enumerate(zip(self._files, self._names, strict=True)):
            if index == len(positions.starts):
                positions.starts.append(number)
            for content in self._read_file(file):
                positions.seen = max(positions.seen, number)
                yield _Record(content, file, self._name_record(name, number - positions.starts[index]))
                number += 1

    def _read_file(self, path: Path) -> Iterator[bytes]:
        """Yields the records of a file."""
        if self.framing == "tfrecord":
            with open_records(path, self.max_unpacked_gb) as file:
                for records in read_records(file, str(path)):
                    yield from records.tolist()
        else:
            with PackedFile(path, self.max_unpacked_gb).open() as opened:
                yield from [opened.read()] if self.framing == "file" else self._read_pieces(path, opened)

    def _read_pieces(self, path: Path, opened: Any) -> Iterator[bytes]:
        assert isinstance(self.framing, int)
        if len(header := opened.read(self.header_bytes)) < self.header_bytes:
            raise DataError(f"{path} has {len(header):,} bytes, fewer than `header_bytes` (={self.header_bytes})")
        pieces = 0
        while piece := opened.read(self.framing):
            if len(piece) < self.framing:
                raise DataError(
                    f"{path} ends with {len(piece):,} bytes after {pieces:,} pieces of {self.framing:,} bytes. Set "
                    "`framing` to the length of a piece, and `header_bytes` to what is before the first one"
                )
            yield piece
            pieces += 1

    def _describe_row(self, number: int) -> str:
        if self.yields == "blocks":
            return self._positions.batches.get(number) or super()._describe_row(number)
        if number > self._positions.seen:
            for _ in self._read_records():
                if number <= self._positions.seen:
                    break
        index = bisect.bisect_right(self._positions.starts, number) - 1
        return self._name_record(self._names[index], number - self._positions.starts[index])

    def _describe_block(self, first: int) -> str:
        return f"the block of {self._describe_row(first)}"

    def _name_record(self, name: str, number: int) -> str:
        if self.framing == "file":
            return name
        unit = "record" if isinstance(self.framing, str) else "piece"
        return f"{unit} {number:,} of {name}"

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        return find_table_files(self.path, list_folder)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return name_files(self._files)

    @cached_property
    def _positions(self) -> _Positions:
        return _Positions()

    @cached_property
    def _takes_path(self) -> bool:
        given = self.function.keywords if isinstance(self.function, partial) else {}
        try:
            return "path" in inspect.signature(self.function).parameters and "path" not in given
        except (TypeError, ValueError):  # a function without a signature, such as some of C
            return False


class _Record(NamedTuple):
    content: bytes
    path: Path
    name: str


@dataclass
class _Positions:
    """What is known of the places of records in the files.

    Attributes:
        starts: the number of the first record of each file that was opened.
        seen: the last record that was read.
        batches: the names of the records of each batch, by the number of its first row.
    """

    starts: list[int] = field(default_factory=list)
    seen: int = -1
    batches: dict[int, str] = field(default_factory=dict)


def _batch(records: Iterator[_Record]) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.content)
        if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
