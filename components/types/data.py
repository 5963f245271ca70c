"""Data on the host: columns, blocks of rows, and the sources that produce them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from components.types.base import Remedy
from components.types.profile import ColumnType
from components.types.rows import RowNumbers

if TYPE_CHECKING:
    import numpy as np


class Strings(NamedTuple):
    """Strings in Arrow's layout: string i is `data[offsets[i]:offsets[i + 1]]`, in UTF-8; or the bytes of files.

    With `indices` the strings are dictionary-encoded: row i is string `indices[i]`. Code that loops over the dictionary
    processes each repeated string only once.

    Attributes:
        data: the bytes of all strings, uint8.
        offsets: (strings + 1,), int64, ascending; the first offset may be above 0.
        indices: (rows,), integers: the string of each row. None: row i is string i.
    """

    data: np.ndarray
    offsets: np.ndarray
    indices: np.ndarray | None = None

    @classmethod
    def from_bytes(cls, texts: Sequence[bytes]) -> Strings:
        """Packs texts in UTF-8, without a dictionary."""
        import numpy as np

        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(texts), np.uint8), offsets)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1 if self.indices is None else len(self.indices)

    def iterate_bytes(self) -> Iterator[bytes]:
        """Yields the bytes of each row."""
        for index in range(len(self.offsets) - 1) if self.indices is None else self.indices.tolist():
            yield self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def tolist(self) -> list[str]:
        """The string of each row."""
        if self.indices is not None and self.rows < len(self.offsets) - 1:  # some strings are of no row
            return [text.decode() for text in self.iterate_bytes()]
        data, bounds = self.data.tobytes(), self.offsets.tolist()
        texts = [data[start:stop].decode() for start, stop in itertools.pairwise(bounds)]
        return texts if self.indices is None else [texts[index] for index in self.indices.tolist()]


class Ragged(NamedTuple):
    """Rows with different numbers of values: row i is `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        values: the values of all rows: an array (total, …), `Strings`, or Ragged: the lists of rows with lists of
            lists. `Encoded` columns never hold `Strings`.
        offsets: (rows + 1,), int64, ascending from 0.
    """

    values: Any
    offsets: np.ndarray


Encoded: TypeAlias = "np.ndarray | Ragged"
"""An encoded column for the compiled program. The first axis is the rows."""

Values: TypeAlias = "np.ndarray | Strings | Ragged"
"""A column of a source, or a column that another feature column reads.

Unlike `Encoded`, it may hold strings and 64-bit numbers.
"""


def row_count(values: Values) -> int:
    """The number of rows of a column."""
    if isinstance(values, Strings):
        return values.rows
    return len(values.offsets) - 1 if isinstance(values, Ragged) else len(values)


class LazyColumns(Mapping[str, "Values"]):
    """Columns of a block, of which some are read when they are used, such as the contents of files.

    Args:
        columns: the other columns by name, at least one.
        readers: by name of a column, the function that reads it: (indices of rows, int64) -> the column of these rows.
        rows: the indices of the rows, int64.
    """

    def __init__(
        self, columns: Mapping[str, Values], readers: Mapping[str, Callable[[np.ndarray], Values]], rows: np.ndarray
    ) -> None:
        self._columns, self._readers, self._rows = dict(columns), readers, rows

    def __getitem__(self, name: str) -> Values:
        if name not in self._columns and name in self._readers:
            self._columns[name] = self._readers[name](self._rows)
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._columns, *self._readers]))

    def __len__(self) -> int:
        return len(self._columns.keys() | self._readers)

    def __contains__(self, name: object) -> bool:
        return name in self._columns or name in self._readers

    @property
    def read_columns(self) -> Mapping[str, Values]:
        """The columns that were read."""
        return self._columns

    def with_columns(self, columns: Mapping[str, Values]) -> LazyColumns:
        """The same columns and others."""
        return LazyColumns({**self._columns, **columns}, self._readers, self._rows)

    def select(self, rows: np.ndarray, take: Callable[[Values, np.ndarray], Values]) -> LazyColumns:
        """Some rows. What was not read is read for these rows only.

        Args:
            rows: the indices of the rows among these.
            take: (a column, indices) -> its rows at the indices.
        """
        taken = {name: take(values, rows) for name, values in self._columns.items()}
        return LazyColumns(taken, self._readers, self._rows[rows])

    def rename(self, names: Mapping[str, str]) -> LazyColumns:
        """The same columns with other names: `names` has the new ones by the old ones."""
        columns = {names.get(name, name): values for name, values in self._columns.items()}
        readers = {names.get(name, name): reader for name, reader in self._readers.items()}
        return LazyColumns(columns, readers, self._rows)

    def keep(self, names: Collection[str]) -> Mapping[str, Values]:
        """The columns of some names. Those that weren't read are still read when they are used, each time anew."""
        columns = {name: values for name, values in self._columns.items() if name in names}
        readers = {name: reader for name, reader in self._readers.items() if name in names and name not in columns}
        if not readers:
            return columns
        columns = columns or dict(itertools.islice(self._columns.items(), 1))  # it has the number of rows
        return LazyColumns(columns, readers, self._rows)


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a data set, column by column.

    Attributes:
        columns: the values by column name. `LazyColumns` reads some of them when they are used.
        valid: masks (rows,), bool, by column name: False where a value is missing. A column without a mask has no
            missing values.
        origin: the name of the data for messages.
        first_row: the position of the first row in the data.
        ids: the names of those `columns` that hold the ids which a categorical feature column computed. In them, -1 is
            an id like any other, and the smallest int32 stands for a missing value.
        files: the names of those `columns` that hold the bytes of files.
        offers_skipping: whether the source can leave out rows whose files can't be read, and doesn't do so already.
        missing_file_remedies: how the source leaves out rows without a file, if it can and doesn't do so already.
    """

    columns: Mapping[str, Values]
    valid: Mapping[str, np.ndarray] = field(default_factory=dict)
    origin: str = "data"
    first_row: int = 0
    ids: frozenset[str] = frozenset()
    files: Set[str] = frozenset()
    offers_skipping: bool = False
    missing_file_remedies: tuple[Remedy, ...] = ()

    def locate(self, row: int) -> str:
        """The location of a row in the data, for messages; `row` counts from the start of the block."""
        return f"row {self.first_row + row} of {self.origin}"


class Source(Protocol):
    """A data set: rows in a fixed order.

    It comes in parts, as it was published: `train`, and those of `valid` and `test` that it has, or only `all`.
    `splits` then chooses the rows for training, validation and test. A row may be in no split.
    """

    def fingerprint(self) -> str:
        """A digest that changes when the rows change. It should be cheap to compute."""

    def sizes(self) -> Mapping[str, int]:
        """The number of rows by part, in the order of the parts. It may take a pass over all rows: see `CountsRows`."""

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of a part in consecutive blocks."""

    def splits(self) -> Mapping[str, RowNumbers]:
        """The row numbers of the splits `train`, `valid` and `test`, sorted.

        Rows are numbered from 0 over all parts, in the order of the parts.
        """


FEATURES = "features"
"""The column that a source adds for the features of a finished run."""


class ComputedFeatures(NamedTuple):
    """What a stage of the network of a finished run computes for rows.

    Attributes:
        rows: the rows, with all of their columns.
        values: the features of each row, float32 (rows, …): an array, or one in a file that is indexed like it.
        splits: the row numbers of the splits.
        fingerprint: a digest of the rows, the splits, the weights of the run and the stage.
        left_out: sentences about rows that are left out.
        row_numbers: the number in the data, from 0, of each row. None: no row is left out.
        skipped_rows: the number of rows that are left out because they can't be read. None: such a row is an error.
        notes: sentences about what operations do.
        network: a digest of the weights of the run and the stage.
    """

    rows: Source
    values: np.ndarray
    splits: Mapping[str, RowNumbers]
    fingerprint: str
    left_out: tuple[str, ...]
    row_numbers: np.ndarray | None
    skipped_rows: int | None
    notes: tuple[str, ...]
    network: str


@runtime_checkable
class HasFeatures(Protocol):
    """A source with the features of a finished run.

    Attributes:
        network: a digest of the weights of the run and the stage.
    """

    network: str


@runtime_checkable
class NeedsFeatures(Protocol):
    """A source of the features of a finished run, which the runner computes.

    Attributes:
        run: a run folder, its name below `folder`, or an MLflow run id.
        stage: the stage of its network. None: the last one.
        rows: the source of other rows than those of the run. None: those.
    """

    run: str
    stage: str | None
    rows: Source | None

    def bind(self, features: ComputedFeatures) -> Source:
        """The source with the features."""


@runtime_checkable
class OpensSource(Protocol):
    """A source that depends on the format of its file."""

    def open(self) -> Source:
        """The source for the format. Raises DataError if the file can't be read."""


@runtime_checkable
class Foldable(Protocol):
    """A source that supports cross-validation."""

    def folds(self, count: int, fold: int) -> Mapping[str, RowNumbers]:
        """The splits of a cross-validation.

        Args:
            count: the number of folds. The rows of the test split are in no fold.
            fold: the fold, from 0, that becomes the validation split.
        """


@runtime_checkable
class CountsRows(Protocol):
    """A source whose `sizes` takes a pass over all rows, and which may yield other rows in a later pass.

    The cache keeps the sizes.
    """

    @property
    def changed_rows_remedy(self) -> str:
        """The end of an error about rows that differ from those of an earlier pass: sentences about what to do."""

    def with_sizes(self, sizes: Mapping[str, int]) -> Source:
        """The same source, whose `sizes` returns these numbers."""


@runtime_checkable
class LocalVersion(Protocol):
    """A source whose fingerprint depends on sizes and times of files, which may stay equal when their bytes change."""

    def local_version(self) -> str:
        """A text that also changes when a file is replaced by one of the same size and time of modification.

        It is for the cache only: unlike `fingerprint`, it is another one for a copy of the files. "": `fingerprint`
        depends on all bytes.
        """


class FileChecksums(NamedTuple):
    """The checksums of files.

    Attributes:
        files: the hash of the path, the size and the time of modification of each file, uint64.
        checksums: the checksum of its bytes, int64; negative: it wasn't read yet.
    """

    files: np.ndarray
    checksums: np.ndarray


@runtime_checkable
class ChecksFiles(Protocol):
    """A source that compares the bytes of a file, each time it is read, with what was read before.

    The cache keeps the checksums.
    """

    def file_checksums(self) -> Sequence[tuple[str, FileChecksums]]:
        """The checksums of all files, in lists of a folder or archive. They change when files are read."""

    def add_file_checksums(self, known: Mapping[str, FileChecksums]) -> None:
        """Adds checksums, by folder or archive, that `file_checksums` returned before, also of other files."""


@runtime_checkable
class FindsBadRows(Protocol):
    """A source that searches for rows that can't be read in a pass over all rows. The cache keeps the result."""

    @property
    def on_bad_row(self) -> str:
        """`skip` if rows that can't be read are left out, else `error`."""

    def find_bad_rows(self) -> Mapping[str, Any]:
        """The rows that can't be read, as arrays and plain values."""

    def with_bad_rows(self, found: Mapping[str, Any]) -> Source:
        """The same source, which doesn't search, but leaves out these rows."""


@runtime_checkable
class SkipsRows(Protocol):
    """A source whose rows or columns depend on what is read: it leaves out rows that can't be read, or reads less."""

    @property
    def on_bad_row(self) -> str:
        """`skip` if rows that can't be read are left out, else `error`."""

    @property
    def reads_used_columns(self) -> bool:
        """Whether only the columns that are used are read."""

    def with_used_columns(
        self,
        names: Collection[str],
        targets: Collection[str] = (),
        class_separators: Mapping[str, str | None] | None = None,
    ) -> Source:
        """The same source, for a run that reads these columns only.

        Args:
            names: the columns. A value that can't be read in another one makes no row bad.
            targets: those that targets read. Images among them may be masks.
            class_separators: the columns of classes, each with the text between several classes of a row. None: a row
                has one. If all rows of a class can't be read, that is an error.
        """


@runtime_checkable
class KeepsUsedColumns(Protocol):
    """A source that has computed its rows, and keeps only the columns that are used."""

    def with_more_columns(self, names: Collection[str]) -> Source:
        """The same rows with other columns, too."""


@runtime_checkable
class TracksRows(Protocol):
    """A source whose rows are made of those of another one."""

    def source_rows(self) -> np.ndarray:
        """The number of the row of the other source of each row, counted over all parts: int64."""


@runtime_checkable
class AllowsAbsentColumns(Protocol):
    """A source in some of whose formats each row names its own values: an absent column is one of gaps."""

    def with_known_columns(
        self, names: Collection[str], types: Mapping[str, ColumnType] | None = None, lists: Collection[str] = ()
    ) -> Source:
        """The same source, in which some columns have gaps in all rows if no row has a value of them.

        Args:
            names: the columns of the training rows that are read.
            types: the types of some of them, for columns of gaps. None: those that the source infers.
            lists: those of them that have lists in their rows.
        """


@runtime_checkable
class LocatesRows(Protocol):
    """A source that locates a row without reading blocks."""

    def locate_row(self, row: int) -> str:
        """The location of a row, counted over all parts, for messages."""


def locate_row(source: Source, row: int) -> str:
    """The location of a row, counted over all parts, for messages. Rows are read only if the source can't locate it."""
    if isinstance(source, LocatesRows):
        return source.locate_row(row)
    for block in (block for part in source.sizes() for block in source.blocks(part)):
        if row < (rows := row_count(next(iter(block.columns.values())))):
            return block.locate(row)
        row -= rows
    raise IndexError(row)


@runtime_checkable
class HasNotes(Protocol):
    """A source that does what the user should know, though nothing is wrong."""

    def notes(self) -> tuple[str, ...]:
        """Sentences for the user, such as `operations.0 (filter) leaves out 2 of 9 rows`."""


@runtime_checkable
class HasFiles(Protocol):
    """A source whose rows come from one or several files, each with consecutive rows."""

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file, over all parts, in the order of the rows.

        It includes the rows that are left out, as `row_numbers` does. It may take a pass over all files.
        """


@runtime_checkable
class HasSources(Protocol):
    """A source whose rows are those of several sources, one after another."""

    def source_sizes(self) -> Mapping[str, int]:
        """The number of rows of each source by its name, in the order of the rows."""


@runtime_checkable
class LeavesOut(Protocol):
    """A source that can leave out rows, such as those without a target, or those that can't be read."""

    def skipped_rows(self) -> int | None:
        """The number of rows that are left out because they can't be read. None: such a row is an error."""

    def left_out(self) -> tuple[str, ...]:
        """Sentences for the user about the rows that are left out, such as `2 of 9 rows have no value of price …`."""

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data, from 0, of each row that isn't left out, int64. None: no row is left out."""
