"""Writes the rows of a source into the files of a plan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from components.data.writing.formats import DigestFile, write_tables
from components.data.writing.images import write_image_folders
from components.data.writing.reading import Flags, add_flags
from components.data.writing.rows import read_rows, split_tables
from components.types import Source, UserError
from runner.errors import RunError, is_disk_error
from runner.files import replace_atomically
from runner.memory import format_bytes
from runner.modes.convert.manifest import Manifest, Written, join_digests
from runner.modes.convert.plan import Plan

if TYPE_CHECKING:
    import pyarrow

MAX_SHUFFLED_BYTES = 1 << 30  # of the rows in memory while shuffled shards are written; one shard may be larger


@dataclass
class Conversion:
    """The rows that are written, and what is known of those that were.

    Attributes:
        source: the data.
        rows: the numbers of the rows to write, counted over all parts: sorted int64.
        order: the positions among these rows in the order in which they are written. None: they are in order.
        zoned: the columns of times with a zone.
        plan: what is written where.
        report: called with the number of rows that are done.
        schema: the columns, once a row was read.
        rows_done: the rows that were written, also those of a file that isn't complete.
        rows_kept: the rows of complete files, which stay if the command is stopped.
        bytes_done: the bytes that were written.
    """

    source: Source
    rows: np.ndarray
    order: np.ndarray | None
    zoned: Collection[str]
    plan: Plan
    report: Callable[[int], None] = lambda done: None
    schema: pyarrow.Schema | None = None
    rows_done: int = 0
    rows_kept: int = 0
    bytes_done: int = field(default=0)

    def write_file(self) -> Written:
        """Writes one file, atomically."""
        tables = self._read(0, len(self.rows))
        return self._write(self.plan.path, self._temporary(self.plan.path), tables)

    def write_images(self, image: str, label: str) -> Written:
        """Writes a folder of images, which appears when it is complete."""
        folder = self.plan.path
        temporary = self._temporary(folder)
        try:
            with self._disk_errors(folder):
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
                tables = self._watch(self._read(0, len(self.rows)), {})
                size, digest = write_image_folders(temporary, tables, image, label)
                if folder.exists():
                    folder.rmdir()  # it is empty
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return Written(len(self.rows), size, digest)

    def write_shards(self, manifest: Manifest) -> None:
        """Writes the files that the manifest doesn't have yet, each atomically, and adds them to the manifest."""
        folder, count = self.plan.path, self.plan.shards or 1
        bounds = np.linspace(0, len(self.rows), count + 1).astype(np.int64).tolist()
        missing = [index for index in range(count) if self.plan.name_shard(index) not in manifest.shards]
        self.rows_kept = self.rows_done = sum(shard.rows for shard in manifest.shards.values())
        with self._disk_errors(folder):
            folder.mkdir(exist_ok=True)
            manifest.write(folder)
            for temporary in folder.glob(".part-*.tmp"):  # of a process that was killed
                temporary.unlink()
        for index, tables in self._read_shards(missing, bounds):
            path = folder / self.plan.name_shard(index)
            manifest.shards[path.name] = self._write(path, self._temporary(path), tables)
            with self._disk_errors(folder):
                manifest.write(folder)
            self.rows_kept = self.rows_done

    def read_schema(self) -> pyarrow.Schema:
        """The columns. A row is read if none was."""
        if self.schema is None:
            self.schema = next(self._read_rows(self.rows[:1])).schema
        return self.schema

    def _read_shards(
        self, missing: Sequence[int], bounds: Sequence[int]
    ) -> Iterator[tuple[int, Iterable[pyarrow.Table]]]:
        """Yields the number of each missing file and its rows."""
        sizes = {index: bounds[index + 1] - bounds[index] for index in missing}
        if self.order is None:  # one pass
            wanted = [np.arange(bounds[index], bounds[index + 1]) for index in missing]
            rows = self.rows[np.concatenate(wanted)] if wanted else self.rows[:0]
            yield from zip(missing, split_tables(self._read_rows(rows), sizes.values()), strict=True)
            return
        left = [*missing]
        while left:  # a pass for as many files as fit into memory
            count = max(1, int(MAX_SHUFFLED_BYTES // max(1, sizes[left[0]] * self._row_bytes())))
            group, left = left[:count], left[count:]
            pieces = [self.order[bounds[index] : bounds[index + 1]] for index in group]
            table = self._gather(np.concatenate(pieces))
            yield from zip(group, split_tables([table], [sizes[index] for index in group]), strict=True)

    def _read(self, start: int, stop: int) -> Iterable[pyarrow.Table]:
        if self.order is None:
            return self._read_rows(self.rows[start:stop])
        return [self._gather(self.order[start:stop])]

    def _read_rows(self, rows: np.ndarray) -> Iterator[pyarrow.Table]:
        return read_rows(self.source, rows, self.zoned, self.plan.columns)

    def _gather(self, positions: np.ndarray) -> pyarrow.Table:
        """The rows at some positions, in this order, in memory."""
        import pyarrow

        by_row = np.argsort(positions)
        table = pyarrow.concat_tables(self._read_rows(self.rows[positions[by_row]]))
        ranks = np.empty(len(by_row), np.int64)
        ranks[by_row] = np.arange(len(by_row))
        return table.take(pyarrow.array(ranks))

    def _row_bytes(self) -> float:
        """The bytes of a row in memory, as the first rows have them."""
        table = next(self._read_rows(self.rows[:1000]))
        return float(table.nbytes) / len(table)

    def _write(self, path: Path, temporary: Path, tables: Iterable[pyarrow.Table]) -> Written:
        assert self.plan.kind != "images"
        flags: Flags = {}
        before = self.rows_done
        with self._disk_errors(path), replace_atomically(path, temporary) as file:
            output = DigestFile(file)
            watched = self._watch(tables, flags, output)
            write_tables(cast(BinaryIO, output), watched, self.plan.kind, self.plan.compression, self.plan.options)
        found = {name: sorted(own) for name, own in flags.items() if own}
        return Written(self.rows_done - before, output.size, output.hexdigest(), found)

    def _watch(
        self, tables: Iterable[pyarrow.Table], flags: Flags, output: DigestFile | None = None
    ) -> Iterator[pyarrow.Table]:
        """The same tables, whose rows are counted when they are written."""
        size = 0
        for table in tables:
            self.schema = self.schema or table.schema
            add_flags(flags, table)
            yield table
            self.rows_done += len(table)
            if output is not None:
                self.bytes_done, size = self.bytes_done + output.size - size, output.size
            self.report(self.rows_done)

    def _temporary(self, path: Path) -> Path:
        return path.with_name(f".{path.name}.{os.getpid()}.tmp")

    @contextmanager
    def _disk_errors(self, path: Path) -> Iterator[None]:
        """An error of the disk becomes one with the path and, if they are known, the bytes that are needed."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if not is_disk_error(error):
                raise UserError(
                    f"output={self.plan.path}: {path} can't be written: {reason}. Choose another."
                ) from error
            needed = ""
            if self.rows_done and self.bytes_done:
                total = self.bytes_done * (len(self.rows) - self.rows_done) / self.rows_done
                needed = f" About {format_bytes(total)} more are needed for the other rows."
            raise RunError(
                f"{path}: {reason}, after {self.rows_done:,} of {len(self.rows):,} rows.{needed} Nothing incomplete "
                "was left. Free some space, then write the same command again."
            ) from error


def describe(written: Mapping[str, Written]) -> str:
    """The rows, bytes and digest of all files."""
    files = [*written.values()]
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    digest = join_digests([file.digest for file in files])
    return f"{rows:,} rows, {size:,} bytes, digest {digest}"


def merge_flags(written: Mapping[str, Written]) -> dict[str, Any]:
    """The flags of the columns in all files."""
    merged: Flags = {}
    for file in written.values():
        for name, flags in file.flags.items():
            merged.setdefault(name, set()).update(flags)
    return merged
