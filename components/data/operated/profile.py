"""The profile of a table after operations on its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast

import numpy as np

from components.arrow import convert_column, to_arrow
from components.closest import join_names
from components.data.key_column import KeyColumn, join_parts
from components.data.operated.running import OperationReport
from components.data.profile import Profile
from components.data.typed_table import KINDS, describe_unread
from components.tracked_block import TrackedBlock
from components.types import (
    ColumnProfile,
    ColumnType,
    DataError,
    LazyColumns,
    Profiled,
    RowOperation,
    Sentinel,
    Source,
    Strings,
    TableProfile,
)

NUMBERS = ("float", "int", "bool")


@dataclass(frozen=True, eq=False)
class OperatedProfile(Profile):
    """The profile of a column after operations.

    Attributes:
        before: the profile of the column before them. None: one of them computes it.
    """

    before: ColumnProfile | None = None

    @property
    def counts_rows(self) -> bool:
        return super().counts_rows if self.before is None else self.before.counts_rows

    @property
    def missing_spellings(self) -> Mapping[str, int]:
        """Those before the operations, if all of them are left. Otherwise they aren't counted."""
        is_same = self.before is not None and self.before.missing_count == self.missing_count
        return self.before.missing_spellings if self.before is not None and is_same else {}

    @property
    def likely_dates(self) -> str | None:
        """Those of a column of the source: no option reads a computed one in another way."""
        return None if self.before is None else super().likely_dates

    @property
    def sentinels(self) -> tuple[Sentinel, ...]:
        """Those of a column of the source, as above."""
        return () if self.before is None else super().sentinels


class LazyProfile:
    """A profile that is made when a fact is read that isn't known yet, so that few columns are in memory.

    Args:
        make: makes the profile.
    """

    def __init__(self, make: Callable[[], ColumnProfile]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        """A fact about the column, which is kept."""
        self.__dict__[name] = value = getattr(self._make(), name)
        return value


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatedTable:
    """The first part of a source after its operations.

    Attributes:
        source_size: the number of rows before them.
        source_rows: the number of the row of the source of each row.
        blocks: the rows.
        release: lets the rows leave the memory, as far as they are in temporary files.
        row_numbers: the number in the data of each row. None: row i is row i.
        locate_row: describes the location of a row, for messages.
        declared_types: the types of some columns that operations compute.
    """

    source_size: int
    source_rows: np.ndarray
    blocks: Sequence[TrackedBlock]
    release: Callable[[], None]
    row_numbers: np.ndarray | None
    locate_row: Callable[[int], str]
    declared_types: Mapping[str, ColumnType]

    @cached_property
    def has_all_rows(self) -> bool:
        """Whether the rows are those before the operations, in their order."""
        rows = self.source_rows
        return len(rows) == self.source_size and bool((rows == np.arange(len(rows))).all())

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [*_read_columns(self.blocks[0])] if self.blocks else []

    def describe_unread(self, name: str) -> str | None:
        """Why nothing is inferred for a column: it has lists, arrays or bytes. None: it is one of a table."""
        block = self.blocks[0]
        values: Any = _read_columns(block)[name]
        is_plain = isinstance(values, Strings) or (
            isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in (*KINDS, "U")
        )
        return None if is_plain and name not in block.files else describe_unread(values)

    def profile(self, name: str, before: ColumnProfile | None) -> ColumnProfile:
        """The profile of a column. `before`: the one before the operations. None: one of them computes it."""
        if before is not None and self.has_all_rows:
            return before
        return cast(ColumnProfile, LazyProfile(partial(self._profile_once, name, before)))

    def _profile_once(self, name: str, before: ColumnProfile | None) -> ColumnProfile:
        """The profile of a column. Only the last one is kept."""
        if name not in self._last:
            self._last.clear()
            self._last[name] = self._profile_computed(name) if before is None else self._profile_kept(before)
        return self._last[name]

    @cached_property
    def _last(self) -> dict[str, ColumnProfile]:
        """The profile of the column of which a fact was read last."""
        return {}

    def _profile_kept(self, before: ColumnProfile) -> ColumnProfile:
        """The profile of a column that no operation computes."""
        column = self._join(before.name)
        values = column.as_texts() if before.kind == "string" else column.values
        spell = getattr(before, "list_spellings", None) if before.rows == self.source_size else None
        return self._make_profile(
            column._replace(values=values),
            before.kind,
            is_declared=before.is_type_declared,
            reading=before.reading,
            problem=before.problem,
            list_spellings=spell and (lambda rows: spell(self.source_rows[rows])),
            before=before,
        )

    def _profile_computed(self, name: str) -> ColumnProfile:
        """The profile of a column that an operation computes."""
        column = self._join(name)
        is_text = isinstance(column.values, Strings)
        found: ColumnType = "string" if is_text else KINDS[np.asarray(column.values).dtype.kind]
        kind = self.declared_types.get(name, found)
        if kind not in (found, "string") and not (kind == "float" and found in NUMBERS):
            raise DataError(
                f"`types` (={kind}): the operations compute `{name}` as {found}. Declare string, or float for numbers, "
                "or change the operation"
            )
        values = column.as_texts() if kind == "string" else column.values
        return self._make_profile(column._replace(values=values), kind, is_declared=name in self.declared_types)

    def _make_profile(self, column: KeyColumn, kind: ColumnType, *, is_declared: bool, **facts: Any) -> OperatedProfile:
        return OperatedProfile(
            column.name,
            kind,
            is_declared,
            column.values,
            None if column.valid.all() else column.valid,
            self.locate_row,
            dict,
            row_numbers=self.row_numbers,
            **facts,
        )

    def _join(self, name: str) -> KeyColumn:
        """A column of all blocks."""
        parts = [
            (_read_columns(block)[name], block.valid.get(name, np.ones(block.rows, bool))) for block in self.blocks
        ]
        key = join_parts("types", name, parts)
        self.release()
        if len(parts) > 1 or not isinstance(key.values, Strings):
            return key
        import pyarrow

        # The dictionary of a block may have strings of other rows, or one twice.
        values, _ = convert_column(name, to_arrow(name, key.values).cast(pyarrow.large_string()))
        assert isinstance(values, Strings)
        return key._replace(values=values)


def profile_operated(
    source: Source,
    operations: Sequence[RowOperation],
    reports: Sequence[OperationReport],
    table: OperatedTable,
    left_out: Sequence[str],
) -> TableProfile:
    """The facts about the columns of the first part of a source, after operations.

    Args:
        source: the source.
        operations: the operations.
        reports: what they did.
        table: the rows after them.
        left_out: the columns that `drop` leaves out after them.

    Raises:
        DataError: the source has no profile, or a column that is computed has another type than the declared one.
    """
    if not isinstance(source, Profiled):
        name = type(source).__name__
        raise DataError(f"nothing is inferred for {name}. Write a feature file, and choose it by feature=…")
    before = source.profile()
    known = {column.name: column for column in before.columns}
    targets = before.target if isinstance(before.target, tuple) else (before.target,)
    computed = frozenset(name for report in reports for name in (*report.added, *report.replaced))
    # The notes of columns that aren't there anymore, or that have other values, aren't true anymore.
    dropped = {name for report in reports for name in report.dropped}
    stale = tuple(f"{name} is left out: " for name in computed | dropped)
    columns, notes = list[ColumnProfile](), [note for note in before.notes if not note.startswith(stale)]
    for name in table.names:
        if name in computed and (unread := table.describe_unread(name)) is not None:
            if name in targets:
                raise DataError(f"`target` (={name}): {unread}.")
            notes.append(f"{name} is left out: {unread}")
        elif name in computed:
            columns.append(table.profile(name, None))
        elif name in known:
            columns.append(table.profile(name, known[name]))
    if left_out:
        notes.append(f"left out by `drop`: {join_names(left_out)}")
    read = [each.columns_read for each in operations]
    return replace(
        before,
        origin=f"{before.origin} after the operations",
        columns=tuple(columns),
        notes=tuple(notes),
        computed=computed,
        operands=frozenset(known) if None in read else frozenset(name for names in read for name in names or ()),
    )


def _read_columns(block: TrackedBlock) -> Mapping[str, Any]:
    return block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns
