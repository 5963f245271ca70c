"""Computes columns, or chooses rows, by a function of the user."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from components.columns import columns_by_name, is_table
from components.operation.columns import check_columns
from components.operation.function_columns import (
    ReadColumn,
    describe_row_count,
    make_missing,
    make_python_column,
    read_column,
)
from components.tracked_block import TrackedBlock
from components.types import DataError, FieldError, LazyColumns, Values, row_count
from components.user_function import describe_exception, name_function


@dataclass(frozen=True, kw_only=True)
class Function:
    """Computes columns by a function of Python, which gets the rows in blocks of any size.

    The function gets a dictionary of columns by name, and returns one of those that it adds or replaces. It sees each
    row once, and must compute a row from this row alone, as blocks may have any number of rows. A column is a read-only
    array (rows, …), in which NaN and NaT are missing. Whole numbers and booleans are a masked array if some of them are
    missing. Texts and bytes are arrays of Python objects, with None for a missing one; lists are Python's. It returns
    such columns, or lists of values and None, or columns of pandas, Polars or Arrow.

    Attributes:
        function: the function, by its dotted name, or with more arguments, such as
            `{_target_: my_module.clean, lower: true}`.
        columns: the names of the columns that it gets. None: all.
        changes_rows: whether the function also chooses the rows. It then returns `columns, rows`: for each new row, the
            position in the block of the row that it is made of, so that `rows` may leave out rows, repeat and order
            them. Columns that it doesn't return are those of these rows. New rows to predict don't pass through it.
    """

    function: Callable[..., Any]
    columns: tuple[str, ...] | None = None
    changes_rows: bool = False

    columns_computed: ClassVar[Collection[str] | None] = None

    def __post_init__(self) -> None:
        if self.columns is not None and not self.columns:
            raise FieldError("columns", "is empty. Name a column, or set it to null: then the function gets all")

    @property
    def applies_to_new_rows(self) -> bool:
        return not self.changes_rows

    @property
    def columns_read(self) -> Collection[str] | None:
        return self.columns

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        known: dict[str, Values] = {}  # columns without rows, whose types are those of all blocks
        for block in blocks:
            given = self._read_block(block)
            returned, rows = self._call(given, block)
            if rows is None or len(rows):
                yield self._add_columns(block, given, returned, rows, known)

    def _read_block(self, block: TrackedBlock) -> dict[str, Any]:
        """The columns that the function gets."""
        check_columns(self.columns or (), block)
        columns = block.columns
        if isinstance(columns, LazyColumns):  # what is read isn't kept
            columns = columns.keep(columns.keys())
        names = block.columns if self.columns is None else self.columns
        return {
            name: make_python_column(columns[name], block.valid.get(name), has_bytes=name in block.files)
            for name in names
        }

    def _call(self, given: dict[str, Any], block: TrackedBlock) -> tuple[dict[str, Any], np.ndarray | None]:
        """The columns that the function returns, and the rows that they are made of. None: all."""
        try:
            returned = self.function(dict(given))
        except Exception as error:
            raised = describe_exception(error, self.function)
            raise DataError(f"{self._name} raised {raised}, for {_describe_rows(block)}") from error
        rows = None
        if self.changes_rows:
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise self._make_type_error(returned, "`columns, rows`, because `changes_rows` is true", block)
            returned, rows = returned[0], self._check_rows(returned[1], block)
        if not is_table(returned):
            raise self._make_type_error(returned, 'a mapping of columns, such as {"x": array}', block)
        return columns_by_name(returned, f"the columns of {self._name}"), rows

    def _make_type_error(self, returned: Any, needed: str, block: TrackedBlock) -> DataError:
        kind = "None" if returned is None else f"a value of the type {type(returned).__name__}"
        return DataError(f"{self._name} returned {kind} for {_describe_rows(block)}. It must return {needed}")

    def _check_rows(self, returned: Any, block: TrackedBlock) -> np.ndarray:
        """The positions of rows. Raises DataError for others than those of the block."""
        rows = np.asarray(returned)
        rows = rows.astype(np.int64) if rows.size == 0 else rows
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            remedy = "Positions of rows are whole numbers; those of a mask are np.flatnonzero(mask)"
            raise DataError(f"{self._name} returned rows of the type {rows.dtype} and shape {rows.shape}. {remedy}")
        wrong = rows[(rows < 0) | (rows >= block.rows)]
        if len(wrong):
            raise DataError(
                f"{self._name} returned the row {wrong[0]} for {_describe_rows(block)}. The rows that it got have the "
                f"positions 0 to {block.rows - 1}"
            )
        return rows.astype(np.int64)

    def _add_columns(
        self,
        block: TrackedBlock,
        given: Mapping[str, Any],
        returned: Mapping[str, Any],
        rows: np.ndarray | None,
        known: dict[str, Values],
    ) -> TrackedBlock:
        """The rows with the columns that the function returned."""
        found = {
            name: self._read_column(name, column, block, given, known)
            for name, column in returned.items()
            if rows is not None or column is not given.get(name)
        }
        result = block if rows is None else block.take(rows)
        if wrong := [describe_row_count(*item) for item in found.items() if row_count(item[1].values) != result.rows]:
            self._raise_wrong_count(wrong[0], block, rows)
        result = result.with_columns(
            {name: column.values for name, column in found.items()},
            {name: column.valid for name, column in found.items()},
        )
        files = {name for name, column in found.items() if column.has_bytes}
        return dataclasses.replace(result, files=result.files | files)

    def _raise_wrong_count(self, column: str, block: TrackedBlock, rows: np.ndarray | None) -> None:
        if rows is not None:
            needed = f"for {len(rows):,} positions of rows. A column has a row for each of them"
        else:
            needed = (
                f"for {_describe_rows(block)}, which are {block.rows:,}. Return a row for each, or set `changes_rows` "
                "to true and return also the positions of the rows"
            )
        raise DataError(f"{self._name} returned {column} {needed}")

    def _read_column(
        self, name: str, column: Any, block: TrackedBlock, given: Mapping[str, Any], known: dict[str, Values]
    ) -> ReadColumn:
        if column is given.get(name):
            return ReadColumn(block.columns[name], block.valid.get(name), name in block.files)
        try:
            found = read_column(name, column)
        except DataError as error:
            raise DataError(f"{self._name}, for {_describe_rows(block)}: {error}") from error
        if found.has_type:
            known.setdefault(name, make_missing(found.values, 0).values)
            return found
        if name not in known:
            raise DataError(
                f"{self._name} returned only missing values as `{name}` for {_describe_rows(block)}, so its type isn't "
                "known. Return an array, such as np.full(rows, np.nan)"
            )
        return make_missing(known[name], row_count(found.values))

    @property
    def _name(self) -> str:
        return name_function(self.function)


def _describe_rows(block: TrackedBlock) -> str:
    first, last = block.locate(0), block.locate(block.rows - 1)
    return first if block.rows == 1 else f"the rows from {first} to {last}"
