"""Runs row operations: names them in errors, compares their blocks, and reports what they do."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from components.closest import suggest_name
from components.data.function_content import UnknownContentError, describe_content
from components.ragged import describe_values, split_levels
from components.tracked_block import Merged, TrackedBlock
from components.types import (
    DataError,
    LazyColumns,
    MakesRows,
    Ragged,
    ReadsFiles,
    RowNumbers,
    RowOperation,
    as_index,
)


@dataclass
class OperationReport:
    """What an operation did with the rows of all parts.

    Attributes:
        name: the operation in messages: `operations.1 (derive)`.
        rows_before: the number of rows that it got.
        rows_after: the number of rows that it returned.
        makes_rows: whether it makes rows: several of one, or one of several. So it leaves out none.
        reads_all: whether it got all rows. Otherwise it stopped before.
        added: the columns that it added.
        replaced: the columns that it replaced.
        dropped: the columns that it left out.
        counts: the number of rows with something special, by its description.
        seconds: the time that it took.
        layouts: what rows of each column have that it computed. None: it returned no row.
        merged: the rows that it made one with others.
        locate_first: describes the location of the first row that it returned.
        row_counts: how often each row of the source is among the rows that it returned, (rows,), integers. None: it
            got no part yet.
        by_split: the number of rows of each split before and after it.
    """

    name: str
    rows_before: int = 0
    rows_after: int = 0
    makes_rows: bool = False
    reads_all: bool = True
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    layouts: Mapping[str, str] | None = None
    merged: list[Merged] = field(default_factory=list)
    locate_first: Callable[[], str] = lambda: ""
    row_counts: np.ndarray | None = None
    by_split: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def describe_left_out(self) -> str | None:
        """A sentence about the rows that are left out. None: there are none."""
        if not self.reads_all:
            return f"{self.name} keeps {self.rows_after:,} rows, and leaves out all after them"
        reasons = [
            f"{'1 row' if count == 1 else f'{count:,} rows'}: {reason}"
            for reason, count in self.counts.items()
            if count
        ]
        if self.makes_rows or self.rows_after >= self.rows_before:
            return f"{self.name}: {'; '.join(reasons)}" if reasons else None
        left_out = f"leaves out {self.rows_before - self.rows_after:,} of {self.rows_before:,} rows"
        return "; ".join([f"{self.name} {left_out}", *reasons])


def run_operation(
    operation: RowOperation, report: OperationReport, blocks: Iterator[TrackedBlock]
) -> Iterator[TrackedBlock]:
    """Runs an operation on the rows of a part.

    Args:
        operation: the operation.
        report: gets what it does.
        blocks: the rows.

    Raises:
        DataError: a row is wrong, or a column isn't of the type that it has in the first block. The error names the
            operation.
    """
    report.makes_rows = isinstance(operation, MakesRows)
    errors: list[BaseException] = []  # of the operations before
    first: list[TrackedBlock] = []
    is_end = False

    def read() -> Iterator[TrackedBlock]:
        nonlocal is_end
        with _note_errors(errors):
            for block in blocks:
                first[:] = first or [block]
                yield dataclasses.replace(block, computed=frozenset())
        is_end = True

    try:
        for block in _measure(operation.apply(read(), report.counts), report):
            _compare(block, first[0] if first else block, report)
            if block.merged is not None:
                report.merged.append(block.merged)
            yield dataclasses.replace(block, merged=None)
    except DataError as error:
        if error not in errors:
            error.replace_remedies(error.remedies, f"{report.name}: {error.fault}")
        raise
    report.reads_all &= is_end


def count_source_rows(report: OperationReport, blocks: Iterator[TrackedBlock], size: int) -> Iterator[TrackedBlock]:
    """The same blocks, whose rows are counted by the row of the source that each is made of.

    Args:
        report: gets the counts.
        blocks: the blocks that an operation returns.
        size: the number of rows of the source.
    """
    if report.row_counts is None:
        report.row_counts = np.zeros(size, np.int32)
    for block in blocks:
        np.add.at(report.row_counts, block.source_rows, np.int32(1))  # many times as fast as with Python's 1
        yield block


def compact_counts(reports: Sequence[OperationReport]) -> None:
    """Converts the counts to the smallest integers that hold them, because they are kept."""
    for report in reports:
        if report.row_counts is not None:
            report.row_counts = report.row_counts.astype(np.min_scalar_type(report.row_counts.max(initial=0)))


def count_by_split(reports: Sequence[OperationReport], splits: Mapping[str, RowNumbers]) -> None:
    """Counts the rows of each split before and after each operation.

    Args:
        reports: get the counts.
        splits: the rows of the source of each split.
    """
    before = {split: len(rows) for split, rows in splits.items()}
    for report in reports:
        counts, after = report.row_counts, dict.fromkeys(splits, 0)
        if counts is not None:
            after = {split: int(counts[as_index(rows)].sum(dtype=np.int64)) for split, rows in splits.items()}
        report.by_split = {split: (before[split], after[split]) for split in splits}
        before = after


def map_splits(
    splits: Mapping[str, RowNumbers], source_rows: np.ndarray, size: int, reports: Sequence[OperationReport]
) -> dict[str, RowNumbers]:
    """The rows of each split after operations. Raises DataError if a split has none left.

    Args:
        splits: the rows of the source of each split.
        source_rows: the row of the source of each row after the operations.
        size: the number of rows of the source.
        reports: what the operations did. They get the number of rows of each split.
    """
    count_by_split(reports, splits)
    mapped = dict[str, RowNumbers]()
    for split, rows in splits.items():
        is_in_split = np.zeros(size, bool)
        is_in_split[as_index(rows)] = True
        mapped[split] = np.flatnonzero(is_in_split[source_rows])
        if len(rows) and not len(mapped[split]):
            raise DataError(_describe_emptied(split, reports))
    return mapped


def _describe_emptied(split: str, reports: Sequence[OperationReport]) -> str:
    """Which operation leaves out the last row of a split."""
    last = next(number for number, report in enumerate(reports) if not report.by_split[split][1])
    steps = [f"{report.name} leaves {report.by_split[split][1]:,}" for report in reports[:last]]
    before = f" ({', '.join(steps)})" if steps else ""
    return (
        f"the {split} split has {reports[0].by_split[split][0]:,} rows{before}, and {reports[last].name} leaves none "
        "of them. Change the operation, or how the rows are split"
    )


def measure_input(blocks: Iterator[TrackedBlock], report: OperationReport) -> Iterator[TrackedBlock]:
    """The same blocks, whose rows are counted, and whose time isn't that of the operation that gets them."""
    while True:
        start = time.perf_counter()
        block = next(blocks, None)
        report.seconds -= time.perf_counter() - start
        if block is None:
            return
        report.rows_before += block.rows
        yield block


def _measure(blocks: Iterator[TrackedBlock], report: OperationReport) -> Iterator[TrackedBlock]:
    """The same blocks, which are counted as those of the operation, with their time."""
    while True:
        start = time.perf_counter()
        block = next(blocks, None)
        report.seconds += time.perf_counter() - start
        if block is None:
            return
        if block.rows:
            report.rows_after += block.rows
            yield block


@contextmanager
def _note_errors(errors: list[BaseException]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        errors.append(error)
        raise


def _compare(block: TrackedBlock, before: TrackedBlock, report: OperationReport) -> None:
    """Raises DataError unless a block has the columns of the first one, and of the same types."""
    layouts = _describe_columns(block)
    if report.layouts is None:
        report.layouts, report.locate_first = layouts, partial(block.locate_source_row, int(block.source_rows[0]))
        report.added = tuple(name for name in block.columns if not before.has_column(name))
        report.dropped = tuple(name for name in before.columns if name not in block.columns)
        report.replaced = tuple(name for name in block.columns if before.has_column(name) and name in block.computed)
    elif layouts != report.layouts:
        first = report.layouts
        name = next(name for name in {**layouts, **first} if layouts.get(name) != first.get(name))
        raise DataError(
            f"the rows from {block.locate(0)} have {_describe(name, layouts)}, and those from {report.locate_first()} "
            f"have {_describe(name, first)}. All rows must have the same columns and types"
        )


def _describe(name: str, layouts: Mapping[str, str]) -> str:
    return f"`{name}` as {layouts[name] or 'the source has it'}" if name in layouts else f"no column `{name}`"


def _describe_columns(block: TrackedBlock) -> dict[str, str]:
    """What rows of each column have, as far as the operation has computed it. "": the column is as before."""
    read = block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns
    return {name: _describe_type(read[name]) if name in block.computed else "" for name in block.columns}


def _describe_type(values: Any) -> str:
    if isinstance(values, Ragged):
        return f"lists of depth {len(split_levels(values)[1])}"  # an empty list doesn't show its values
    dtype = getattr(values, "dtype", None)
    return describe_values(values) if dtype is None else f"{describe_values(values)} ({dtype})"


def name_operation(operation: RowOperation) -> str:
    """The name of an operation: `derive` of the class Derive."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(operation).__name__).lower()


def describe_operation(name: str, operation: RowOperation) -> str:
    """A text that changes with the parameters of an operation, and with the functions and files that it uses.

    Raises:
        DataError: a parameter is an object whose content isn't known, or a file can't be read.
    """
    try:
        files = operation.fingerprint() if isinstance(operation, ReadsFiles) else ""
        return f"{describe_content(operation)} {files}"
    except DataError as error:
        error.replace_remedies(error.remedies, f"{name}: {error.fault}")
        raise
    except UnknownContentError as error:
        raise DataError(
            f"{name} has an object of the type {type(error.value).__name__}, whose content isn't compared. Make the "
            "class of the operation a dataclass whose fields are plain values, arrays or functions"
        ) from None


def check_left_out(names: Sequence[str], after: Collection[str], before: Collection[str]) -> None:
    """Raises DataError if `drop` lists a column that is there neither before nor after the operations.

    Args:
        names: the columns that it lists.
        after: the columns after the operations.
        before: those of the source.
    """
    known = {*after, *before}
    if unknown := [name for name in names if name not in known]:
        hint = suggest_name(unknown[0], known, title="Columns after the operations")
        raise DataError(f"`drop` lists `{unknown[0]}`, which is no column. {hint}")
