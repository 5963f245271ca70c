"""Adds columns of another table, whose rows are found by their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, NoReturn

import numpy as np

from components.closest import suggest_name
from components.expression.operands import NUMERIC, Kind, describe_kinds, format_value
from components.operation.keys import KeyIndex, Keys, read_keys
from components.operation.other_source import (
    AddsColumns,
    OtherBlock,
    add_columns,
    check_distinct,
    read_all_rows,
    read_names,
)
from components.ragged import compact_texts, take_rows
from components.tracked_block import TrackedBlock
from components.types import DataError, Remedy, Strings

TYPES: dict[Kind, str] = {"integer": "int", "number": "float", "boolean": "bool", "text": "string", "time": "timestamp"}
MAX_COMPARED = 10_000  # keys among which the nearest one is found
NO_ROW = "no row of the other table has their key"


@dataclass(frozen=True, kw_only=True)
class Join(AddsColumns):
    """Adds columns of another table. Each row gets the values of the row that has the same key.

    The other table has at most one row of each key, so the number of rows stays. A missing key is equal to none.

    Attributes:
        other: the other table: an option of `data` with its fields. All its rows are read, of all parts.
        by: the column of the key, or several, in both tables; or those of the rows, each with the name that it has in
            the other table, as {store: id}.
        columns: the columns of the other table to add; or each with the name that it gets, as {size: store_size}.
        on_unmatched: what a row does without a row of its key: `error`; `gaps`: the columns are missing there, as in a
            left join; `drop`: the row is left out, as in an inner join.
    """

    by: str | tuple[str, ...] | dict[str, str]
    on_unmatched: Literal["error", "gaps", "drop"] = "error"

    applies_to_new_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_distinct([*self._by, *self._columns.values()])

    @property
    def _by(self) -> dict[str, str]:
        return read_names("by", self.by, "[store] or {store: id}")

    @property
    def columns_read(self) -> Collection[str]:
        return self._by.keys()

    @cached_property
    def _table(self) -> OtherBlock:
        return read_all_rows(self.opened, [*dict.fromkeys([*self._by.values(), *self._columns])])

    @cached_property
    def _index(self) -> KeyIndex:
        """Finds the rows of the other table. Raises DataError if two of them have the same key."""
        keys = read_keys(self._table, [*self._by.values()])
        groups = keys.group_rows()
        is_repeated = groups.find_repeated()
        if keys.valid_mask is not None:
            is_repeated &= keys.valid_mask
        if is_repeated.any():
            row = int(is_repeated.argmax())
            first_row = int(groups.first_rows[groups.group_of[row]])
            raise DataError(
                f"two rows of the other table have the key {keys.describe(row)}: "
                f"{self._table.locate(first_row)} and {self._table.locate(row)}. A key has at most one row",
                "remove one of them",
                Remedy("add a column to `by`", "columns"),
            )
        return KeyIndex(keys)

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        for block in blocks:
            keys = read_keys(block, [*self._by])
            self._check_kinds(block, keys)
            rows = self._index.find(keys)
            is_unmatched = rows < 0
            if is_unmatched.any():
                if self.on_unmatched == "error":
                    self._fail(block, keys, int(is_unmatched.argmax()))
                counts[NO_ROW] += int(is_unmatched.sum())
            joined = add_columns(block, self._table, rows, self._columns)
            kept = joined.keep(~is_unmatched) if self.on_unmatched == "drop" else joined
            if kept is not None:
                yield kept

    def _check_kinds(self, block: TrackedBlock, keys: Keys) -> None:
        """Raises DataError if the keys are of other types than those of the other table."""
        other_keys = self._index.keys
        for name, kind, other_name, other_kind in zip(
            keys.names, keys.kinds, other_keys.names, other_keys.kinds, strict=True
        ):
            if kind != other_kind and not {kind, other_kind} <= NUMERIC - {"boolean"}:
                raise DataError(
                    f"column `{name}` of {block.origin} has {describe_kinds([kind])}, and `{other_name}` of "
                    f"{self._table.origin} has {describe_kinds([other_kind])}, so no keys are equal",
                    Remedy(f"set `types.{name}={TYPES[other_kind]}`", "reading"),
                    Remedy(f"set types: {{{other_name}: {TYPES[kind]}}} in `other`", "columns"),
                )

    def _fail(self, block: TrackedBlock, keys: Keys, row: int) -> NoReturn:
        """Raises the error about a row whose key the other table hasn't."""
        remedies = [
            Remedy("set on_unmatched: gaps", "columns", "for missing values"),
            Remedy("set on_unmatched: drop", "columns", "to leave out such rows"),
        ]
        if keys.valid_mask is not None and not keys.valid_mask[row]:
            fault = f"{block.locate(row)}: a part of the key is missing ({keys.describe(row)}), which no row can have"
            raise DataError(fault, "correct it", *remedies)
        fault = f"{block.locate(row)}: no row of {self._table.origin} has the key {keys.describe(row)}"
        raise DataError(f"{fault}. {self._describe_keys(keys, row)}", "Correct it", "add the row", *remedies)

    def _describe_keys(self, keys: Keys, row: int) -> str:
        """The nearest key of the other table, or the range of its keys, for messages."""
        if len(keys.names) > 1:
            return f"{self._table.origin} has {len(self._index.keys.hashes):,} rows."
        (name,), (operand,) = self._index.keys.names, self._index.keys.operands
        values = operand.values
        if not isinstance(values, Strings):
            known = values if operand.valid_mask is None else values[operand.valid_mask]
            ends = [format_value(np.sort(known), end) for end in (0, -1)] if len(known) else ["none", "none"]
            return f"`{name}` is from {ends[0]} to {ends[1]} there."
        (text,) = take_rows(keys.operands[0].values, np.array([row])).tolist()
        compared = compact_texts(take_rows(values, np.arange(min(values.rows, MAX_COMPARED))))
        return suggest_name(text, compared.tolist(), title=f"`{name}`")
