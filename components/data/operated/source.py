"""A source whose rows pass through row operations."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from components.data.block_store import BlockStore
from components.data.files import hash_texts
from components.data.operated.kept_rows import KeptRows
from components.data.operated.profile import OperatedTable, profile_operated
from components.data.operated.running import (
    OperationReport,
    check_left_out,
    compact_counts,
    count_source_rows,
    describe_operation,
    map_splits,
    measure_input,
    name_operation,
    run_operation,
)
from components.data.operated.summary import FirstRowsRecorder, OperatedRows, summarize
from components.ragged import concatenate_arrays
from components.tracked_block import Merged, TrackedBlock
from components.types import (
    Block,
    ChecksFiles,
    ColumnType,
    DataError,
    FileChecksums,
    Foldable,
    HasFiles,
    HasSources,
    InfersTypes,
    LeavesOut,
    LocalVersion,
    OperationsSummary,
    ReadsSource,
    RowNumbers,
    RowOperation,
    SkipsRows,
    Source,
    TableProfile,
    as_index,
    find_columns_read,
    locate_row,
    row_count,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatedSource:
    """A source whose rows pass through operations, once. Its splits are those of the source: no row changes its split.

    Each part of the source passes through the operations by itself. The result is kept: in memory, or in temporary
    files if it is large.

    Attributes:
        source: the source.
        operations: the operations, in their order.
        numbers: the position of each operation in the configuration. None: there are no others.
        left_out_columns: columns that are left out after the operations.
        kept: the rows after the operations, if they were computed before.
        declared_types: the types in a profile of columns that operations compute: `string` for categories, or `float`
            for numbers.
        knows_unread: whether no operation may add a column of the name of one that isn't read. False: the other columns
            of rows to predict don't matter.
    """

    source: Source
    operations: tuple[RowOperation, ...]
    numbers: tuple[int, ...] | None = None
    left_out_columns: tuple[str, ...] = ()
    kept: KeptRows | None = None
    declared_types: Mapping[str, ColumnType] = field(default_factory=dict)
    knows_unread: bool = True

    def __getattr__(self, name: str) -> Any:
        """An option of the source, such as `stratify`."""
        source = self.__dict__.get("source")
        if is_dataclass(source) and name in {each.name for each in fields(source)}:
            return getattr(source, name)
        raise AttributeError(name)

    def fingerprint(self) -> str:
        return hash_texts([self.source.fingerprint(), *map(describe_operation, self.names, self.operations)])

    def local_version(self) -> str:
        """A text that changes when a file is replaced, also by one of equal size and time of modification."""
        others = [operation.opened for operation in self.operations if isinstance(operation, ReadsSource)]
        versions = [each.local_version() for each in (self.source, *others) if isinstance(each, LocalVersion)]
        return hash_texts(versions) if len(versions) > 1 else "".join(versions)

    def file_checksums(self) -> Sequence[tuple[str, FileChecksums]]:
        """The checksums of the files of the source."""
        return self.source.file_checksums() if isinstance(self.source, ChecksFiles) else []

    def add_file_checksums(self, known: Mapping[str, FileChecksums]) -> None:
        """Adds the checksums of files that were read before."""
        if isinstance(self.source, ChecksFiles):
            self.source.add_file_checksums(known)

    @property
    def names(self) -> tuple[str, ...]:
        """The operations in messages: `operations.1 (derive)`."""
        numbers = range(len(self.operations)) if self.numbers is None else self.numbers
        pairs = zip(numbers, self.operations, strict=True)
        return tuple(f"operations.{number} ({name_operation(each)})" for number, each in pairs)

    def sizes(self) -> Mapping[str, int]:
        """The number of rows after the operations. The first call runs them."""
        return self._sizes

    def with_sizes(self, sizes: Mapping[str, int]) -> Self:
        """The same source, with a number of rows that was counted before."""
        source = copy.copy(self)
        source.__dict__["_sizes"] = dict(sizes)
        return source

    @property
    def changed_rows_remedy(self) -> str:
        return (
            "The operations must give the same rows each time: a function that draws random numbers does so from a "
            "fixed seed, as by np.random.default_rng(0)"
        )

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows after the operations. The first call runs them."""
        return iter(self.result.parts[part])

    def splits(self) -> Mapping[str, RowNumbers]:
        return self._map_splits(self.source.splits())

    def folds(self, count: int, fold: int) -> Mapping[str, RowNumbers]:
        """The splits of a cross-validation of the source."""
        if not isinstance(self.source, Foldable):
            raise DataError(f"{type(self.source).__name__} does not support cross-validation")
        return self._map_splits(self.source.folds(count, fold))

    def locate_row(self, row: int) -> str:
        """The location in the source of a row, for messages."""
        return self._locate_source_row(int(self.source_rows()[row]))

    def source_rows(self) -> np.ndarray:
        """The number of the row of the source of each row, counted over all parts: int64."""
        return concatenate_arrays([*self.result.source_rows.values()])

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file of the source. A source that doesn't come from files counts as one."""
        if isinstance(self.source, HasFiles):
            return self.source.file_sizes()
        numbers = self.source.row_numbers() if isinstance(self.source, LeavesOut) else None
        return [self._source_size if numbers is None else int(numbers[-1]) + 1]

    def source_sizes(self) -> Mapping[str, int]:
        """The number of rows of each source of a mixed one. Raises DataError if their rows aren't in its order."""
        assert isinstance(self.source, HasSources)
        sizes = self.source.source_sizes()
        numbers = np.searchsorted(np.cumsum([*sizes.values()]), self.source_rows(), side="right")
        if (np.diff(numbers) < 0).any():
            raise DataError(
                "an operation changes the order of the rows of several sources, whose weights need one source after "
                "another. Leave the weights out, or the operation"
            )
        return dict(zip(sizes, np.bincount(numbers, minlength=len(sizes)).tolist(), strict=True))

    def skipped_rows(self) -> int | None:
        """The number of rows that the source skips because they can't be read. None: such a row is an error."""
        return self.source.skipped_rows() if isinstance(self.source, LeavesOut) else None

    def left_out(self) -> tuple[str, ...]:
        """Sentences about the rows that the source leaves out."""
        return self.source.left_out() if isinstance(self.source, LeavesOut) else ()

    def notes(self) -> tuple[str, ...]:
        """Sentences about the rows that the operations leave out."""
        return tuple(sentence for report in self.result.reports if (sentence := report.describe_left_out()) is not None)

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data of each row. None: they are those of the source, which leaves out none."""
        rows = self.source_rows()
        if isinstance(self.source, LeavesOut) and self.source.row_numbers() is not None:
            return self._number_source_rows(rows)
        is_same = len(rows) == self._source_size and bool((rows == np.arange(len(rows))).all())
        return None if is_same else rows

    @property
    def on_bad_row(self) -> str:
        """`skip` if the source leaves out rows that can't be read, else `error`."""
        return self.source.on_bad_row if isinstance(self.source, SkipsRows) else "error"

    @property
    def reads_used_columns(self) -> bool:
        """Only the columns that are used are kept."""
        return True

    def with_used_columns(
        self,
        names: Collection[str],
        targets: Collection[str] = (),
        class_separators: Mapping[str, str | None] | None = None,
    ) -> Self:
        """The same source, for a run that reads these columns after the operations. The arguments: see `SkipsRows`."""
        source = copy.copy(self)
        source.__dict__.pop("result", None)
        source.__dict__["used_columns"] = frozenset(names)
        inner = self.source
        if isinstance(inner, SkipsRows) and (inner.on_bad_row == "skip" or inner.reads_used_columns):
            needed = find_columns_read(self.operations, names)
            if needed is not None:
                computed = {name for each in self.operations for name in each.columns_computed or ()}
                separators = {name: text for name, text in (class_separators or {}).items() if name not in computed}
                inner = inner.with_used_columns(needed, {*targets} - computed, separators)
                object.__setattr__(source, "source", inner)
        return source

    def with_more_columns(self, names: Collection[str]) -> Self:
        """The same rows with other columns, too. The operations run again."""
        if self.used_columns is None or self.used_columns >= set(names):
            return self
        source = copy.copy(self)
        source.__dict__.pop("result", None)
        source.__dict__["used_columns"] = self.used_columns | set(names)
        return source

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> Mapping[str, Any]:
        """The options with which the source reads other rows in the same way."""
        if not isinstance(self.source, InfersTypes):
            return {}
        needed = find_columns_read(self.operations, columns)
        known = dict(columns) if needed is None else {name: columns.get(name) for name in needed}
        for operation in self.operations:  # they read the column as it is
            known |= dict.fromkeys(operation.columns_read or ())
        return self.source.inferred_options(known)

    def reading_notes(self, columns: Collection[str], *, declared: bool) -> tuple[str, ...]:
        """How the texts of columns of the source are read."""
        if not isinstance(self.source, InfersTypes):
            return ()
        needed = find_columns_read(self.operations, columns)
        return self.source.reading_notes(columns if needed is None else needed, declared=declared)

    def profile(self) -> TableProfile:
        """The facts about the columns after the operations."""
        part, numbers = next(iter(self.result.parts)), self.row_numbers()
        if not self.sizes()[part]:
            self.splits()  # the error about a split without rows names the operation
        table = OperatedTable(
            source_size=self.source.sizes()[part],
            source_rows=self.result.source_rows[part],
            blocks=[*self.result.parts[part]],
            release=self.result.parts[part].release,
            row_numbers=None if numbers is None else numbers[: self.sizes()[part]],
            locate_row=self.locate_row,
            declared_types=self.declared_types,
        )
        return profile_operated(self.source, self.operations, self.result.reports, table, self.left_out_columns)

    def release_rows(self) -> KeptRows | None:
        """The rows, if they are known, for a source that declares other types. This one forgets them."""
        rows = self.__dict__.pop("result", None)
        is_whole = self.used_columns is None and self.on_bad_row == "error"  # otherwise the rows depend on what is read
        return KeptRows.of(rows, self.source) if rows is not None and is_whole else None

    @cached_property
    def used_columns(self) -> frozenset[str] | None:
        """The columns that are kept after the operations. None: all."""
        return None

    @cached_property
    def result(self) -> OperatedRows:
        """The rows after all operations, which run once."""
        if self.kept is not None:
            rows = self.kept.select(self.source, self._select_used, self._locate_source_row)
            if rows is not None:
                return rows
        reports = [OperationReport(name) for name in self.names]
        parts, source_rows, offset = dict[str, BlockStore](), dict[str, np.ndarray](), 0
        before, after = FirstRowsRecorder(), FirstRowsRecorder()
        for part, size in self.source.sizes().items():
            store, numbers = BlockStore(), [np.zeros(0, np.int64)]
            for block in after.record(self._operate(before.record(self._track(part, offset)), reports)):
                check_left_out(self.left_out_columns, block.columns, before.columns)
                store.add(self._select_used(block))
                numbers.append(block.source_rows)
            store.finish()
            parts[part], source_rows[part] = store, np.concatenate(numbers)
            offset += size
        compact_counts(reports)
        return OperatedRows(parts, source_rows, reports, before, after)

    def _operate(self, blocks: Iterator[TrackedBlock], reports: Sequence[OperationReport]) -> Iterator[TrackedBlock]:
        """Runs the operations on the blocks of a part. The reports get what they do."""
        size = self._source_size
        for operation, report in zip(self.operations, reports, strict=True):
            blocks = run_operation(operation, report, measure_input(blocks, report))
            blocks = count_source_rows(report, blocks, size)
        return blocks

    def summarize_operations(self) -> OperationsSummary:
        """What the operations did, with the splits that were asked for last."""
        return summarize(self.operations, self.result, self._number_source_rows)

    def _number_source_rows(self, rows: np.ndarray) -> np.ndarray:
        """The numbers in the data of rows of the source, which count those that it leaves out."""
        numbers = self.source.row_numbers() if isinstance(self.source, LeavesOut) else None
        return rows if numbers is None else numbers[rows]

    def _track(self, part: str, offset: int) -> Iterator[TrackedBlock]:
        """Yields the rows of a part of the source, with their numbers."""
        needed: Collection[str] | None = None
        for block in self.source.blocks(part):
            if not (rows := row_count(next(iter(block.columns.values())))):
                continue
            needed = needed or self._find_needed(block)
            tracked = TrackedBlock(
                columns=block.columns,
                valid=block.valid,
                origin=block.origin,
                ids=block.ids,
                files=block.files,
                offers_skipping=block.offers_skipping,
                missing_file_remedies=block.missing_file_remedies,
                source_rows=np.arange(offset, offset + rows),
                source=self.source,
                locate_source_row=self._locate_source_row,
            )
            others = frozenset(block.columns).difference(needed) if self.knows_unread else frozenset[str]()
            yield replace(tracked.select_columns(frozenset(needed)), unread=others)
            offset += rows

    def _find_needed(self, block: Block) -> Collection[str]:
        """The columns that operations and the run need, or all if one isn't there, so that the error lists all."""
        used, names = self.used_columns, set(block.columns)
        needed = None if used is None else find_columns_read(self.operations, used)
        if needed is not None and any(each.columns_computed is None for each in self.operations):
            needed = names & set(needed)  # the operations may compute the others
        return needed if needed is not None and set(needed) <= names else frozenset(names)

    def _select_used(self, block: TrackedBlock) -> TrackedBlock:
        used = self.used_columns
        if self.left_out_columns:
            block = block.select_columns(frozenset(block.columns) - {*self.left_out_columns})
        if used is None or not used <= set(block.columns):
            return block
        paths = {"path", *(f"{name}.path" for name in block.columns if name in block.files)} if block.files else set()
        return block.select_columns(used | (paths & set(block.columns)))

    def _locate_source_row(self, row: int) -> str:
        return locate_row(self.source, row)

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        return {part: len(rows) for part, rows in self.result.source_rows.items()}

    @property
    def _source_size(self) -> int:
        return sum(self.source.sizes().values())

    def _map_splits(self, splits: Mapping[str, RowNumbers]) -> dict[str, RowNumbers]:
        """The rows of each split after the operations.

        Raises:
            DataError: a split has no row left, or a row is made of rows in several splits.
        """
        self._check_merged(splits)
        return map_splits(splits, self.source_rows(), self._source_size, self.result.reports)

    def _check_merged(self, splits: Mapping[str, RowNumbers]) -> None:
        """Raises DataError if an operation made one row of rows in several splits, or of one that is in none."""
        if not any(report.merged for report in self.result.reports):
            return
        split_of = np.full(self._source_size, -1, np.int8)
        for number, rows in enumerate(splits.values()):
            split_of[as_index(rows)] = number
        for index, report in enumerate(self.result.reports):
            for merged in report.merged:
                is_divided = split_of[merged.rows] != split_of[merged.into]
                if is_divided.any():
                    raise self._make_divided_error(index, merged, int(is_divided.argmax()), split_of, [*splits])

    def _make_divided_error(
        self, index: int, merged: Merged, position: int, split_of: np.ndarray, splits: Sequence[str]
    ) -> DataError:
        """Makes the error about two rows that an operation made one, in different splits."""
        rows = sorted((int(merged.into[position]), int(merged.rows[position])))
        names = [*splits, "none"]
        places = [f"{self._locate_source_row(row)} in {names[split_of[row]]}" for row in rows]
        computed = {name for operation in self.operations[:index] for name in operation.columns_computed or ()}
        keys = [name for name in merged.keys if name not in computed]
        remedy = f"set `group={keys[0]}`" if keys else "set `group` to a column with one value for each key"
        return DataError(
            f"{self.names[index]}: the rows with {merged.describe(position)} are in several splits: "
            f"{' and '.join(places)}. A row is made of rows of one split",
            remedy,
        )
