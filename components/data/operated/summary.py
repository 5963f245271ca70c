"""What operations on rows did, as plain values for tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.data.block_store import BlockStore
from components.data.operated.running import OperationReport
from components.ragged import take_rows
from components.tracked_block import TrackedBlock
from components.types import (
    FirstRows,
    LazyColumns,
    OperationsSummary,
    OperationSummary,
    Ragged,
    RowOperation,
    Strings,
)

MAX_ROWS = 5
MAX_COLUMNS = 6
MAX_ELEMENTS = 3  # of a list
MAX_TEXT = 100  # characters


class FirstRowsRecorder:
    """Keeps the first rows of blocks that pass. Files and columns that aren't read yet are left out."""

    def __init__(self) -> None:
        self.source_rows: list[int] = []
        self.columns: dict[str, list[Any]] = {}

    def record(self, blocks: Iterator[TrackedBlock]) -> Iterator[TrackedBlock]:
        """Yields the same blocks."""
        for block in blocks:
            if (missing := MAX_ROWS - len(self.source_rows)) > 0:
                self._add(block, min(missing, block.rows))
            yield block

    def _add(self, block: TrackedBlock, count: int) -> None:
        rows = np.arange(count)
        read = block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns
        self.source_rows += block.source_rows[rows].tolist()
        for name, values in read.items():
            if name not in block.files:
                valid = block.valid[name][rows] if name in block.valid else np.ones(count, bool)
                self.columns.setdefault(name, []).extend(_list_values(take_rows(values, rows), valid))

    def select(self, names: Sequence[str], number_rows: Callable[[np.ndarray], np.ndarray]) -> FirstRows:
        """The rows with some columns, as far as they are there, in the order of the table.

        Args:
            names: the columns.
            number_rows: returns the numbers in the data of rows of the source.
        """
        numbers = number_rows(np.array(self.source_rows, np.int64)).tolist()
        kept = tuple((name, tuple(values)) for name, values in self.columns.items() if name in names)
        return FirstRows(tuple(numbers), kept)


def _list_values(values: Any, valid: np.ndarray) -> list[Any]:
    """Values as plain ones: numbers, booleans and texts. A missing one is None."""
    listed: list[Any]
    if isinstance(values, Ragged):
        listed = [
            _describe_list(take_rows(values.values, np.arange(start, stop)))
            for start, stop in itertools.pairwise(values.offsets.tolist())
        ]
    elif isinstance(values, Strings):
        listed = [text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…" for text in values.tolist()]
    elif values.ndim > 1:
        listed = [" x ".join(map(str, values.shape[1:]))] * len(values)
    elif values.dtype.kind in "mM":
        listed = [None if np.isnat(value) else str(value) for value in values]
    else:
        listed = [value if isinstance(value, bool | int | float | str) else str(value) for value in values.tolist()]
    # NaN is a missing number
    return [value if known and value == value else None for value, known in zip(listed, valid.tolist(), strict=True)]


def _describe_list(values: Any) -> str:
    """The first elements of a list, or the number of lists in it."""
    if isinstance(values, Ragged):
        count = len(values.offsets) - 1
        return f"{count} list{'' if count == 1 else 's'}"
    elements = [*map(str, values.tolist()[:MAX_ELEMENTS])]
    count = values.rows if isinstance(values, Strings) else len(values)
    return f"[{', '.join([*elements, *(['…'] if count > MAX_ELEMENTS else [])])}]"


class OperatedRows(NamedTuple):
    """The rows after all operations.

    Attributes:
        parts: the blocks of each part.
        source_rows: the number of the row of the source of each row, counted over all parts: int64.
        reports: what each operation did.
        before: the first rows of the source.
        after: the first rows after the operations.
    """

    parts: Mapping[str, BlockStore]
    source_rows: Mapping[str, np.ndarray]
    reports: Sequence[OperationReport]
    before: FirstRowsRecorder
    after: FirstRowsRecorder


def summarize(
    operations: Sequence[RowOperation], result: OperatedRows, number_rows: Callable[[np.ndarray], np.ndarray]
) -> OperationsSummary:
    """What operations did, as plain values.

    Args:
        operations: the operations.
        result: the rows after them.
        number_rows: returns the numbers in the data of rows of the source.
    """
    before, after, stores = result.before, result.after, result.parts.values()
    names = _choose_columns(operations, result.reports, {**before.columns, **after.columns})
    return OperationsSummary(
        tuple(map(_summarize_report, result.reports)),
        sum(store.memory_bytes for store in stores),
        sum(store.disk_bytes for store in stores),
        before.select(names, number_rows),
        after.select(names, number_rows),
    )


def _summarize_report(report: OperationReport) -> OperationSummary:
    return OperationSummary(
        report.name,
        report.rows_before,
        report.rows_after,
        dict(report.by_split),
        report.reads_all,
        report.makes_rows,
        report.added,
        report.replaced,
        report.dropped,
        {reason: count for reason, count in report.counts.items() if count},
        report.seconds,
    )


def _choose_columns(
    operations: Sequence[RowOperation], reports: Sequence[OperationReport], columns: Mapping[str, Any]
) -> list[str]:
    """The columns that show what operations do: those that they change, then those that they read, or else others."""
    changed = [name for report in reports for name in (*report.added, *report.replaced, *report.dropped)]
    read = [name for operation in operations for name in operation.columns_read or ()]
    concerned = [name for name in dict.fromkeys([*changed, *read]) if name in columns]
    return (concerned or [*columns])[:MAX_COLUMNS]
