"""The option with which a source skips rows that can't be read. Sources whose rows can be bad one by one inherit it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from components.data.bad_rows import BadRows
from components.data.key_column import format_key
from components.data.splitting import SplitOptions


@dataclass(frozen=True, kw_only=True)
class SkipOptions(SplitOptions):
    """What happens to rows that can't be read.

    Attributes:
        on_bad_row: `error`: a row that can't be read, such as a text among numbers or a damaged file, is an error.
            `skip`: it is left out as if it weren't in the data, counted and reported. If more than half of the rows or
            all of a class can't be read, that is an error.
    """

    on_bad_row: Literal["error", "skip"] = "error"

    @cached_property
    def bad_rows(self) -> BadRows:
        """The rows that are skipped because they can't be read, numbered over all parts."""
        return BadRows()

    @cached_property
    def used_columns(self) -> Collection[str] | None:
        """The columns whose values matter. None: all."""
        return None

    @cached_property
    def class_separators(self) -> Mapping[str, str | None]:
        """The columns whose classes must remain when rows are skipped, and the text between several classes of a row.

        None: a row has one class.
        """
        return {} if self.stratify is None else {self.stratify: None}

    @cached_property
    def target_columns(self) -> Collection[str]:
        """The columns that targets read."""
        return ()

    def with_used_columns(
        self,
        names: Collection[str],
        targets: Collection[str] = (),
        class_separators: Mapping[str, str | None] | None = None,
    ) -> Self:
        """The same source, in which a value that can't be read in a column that isn't used makes no row bad.

        Args:
            names: the columns that are read. Those that decide about splits are used in addition.
            targets: as `target_columns`.
            class_separators: as the property; `stratify` is added.
        """
        options = (self.stratify, self.split_column, self.split_hash, self.split_by, self.group)
        by_class = () if self.classes is None else (self.class_column,)
        source = self.renew()
        source.__dict__.update({name: self.__dict__[name] for name in self.kept_attributes if name in self.__dict__})
        source.__dict__.update(
            used_columns=frozenset(names).union(filter(None, options), by_class),
            target_columns=frozenset(targets),
            class_separators={**self.class_separators, **(class_separators or {})},
        )
        return source

    @property
    def passed_attributes(self) -> tuple[str, ...]:
        """The attributes that methods such as `with_used_columns` set, beside the fields."""
        return ("used_columns", "target_columns", "class_separators")

    @property
    def kept_attributes(self) -> tuple[str, ...]:
        """The computed attributes that don't depend on the columns that are used, so that nothing is read twice."""
        return ()

    @property
    def reads_used_columns(self) -> bool:
        """Whether only the columns that are used are read."""
        return False

    @property
    def offers_skipping(self) -> bool:
        """The `offers_skipping` of the blocks of files."""
        return self.on_bad_row == "error"

    def renew(self) -> Self:
        """The same source, which hasn't read any rows."""
        source = replace(self)
        source.__dict__.update({name: getattr(self, name) for name in self.passed_attributes})
        return source

    def find_classes(self, name: str, values: Iterable[object]) -> set[str]:
        """The classes in some values of a column of `class_separators`, without those that `classes` leaves out."""
        separator = self.class_separators[name]
        found = {format_key(value) for value in values}
        if separator is not None:
            found = {part.strip() for value in found for part in value.split(separator)} - {""}
        if self.classes is not None and name == self.class_column:
            found &= {format_key(value) for value in self.classes}
        return found

    def skipped_rows(self) -> int | None:
        """The number of rows that are skipped because they can't be read. None: such a row is an error."""
        return None if self.on_bad_row == "error" else len(self.bad_rows)

    def left_out(self) -> tuple[str, ...]:
        """Sentences about rows that are left out, if there are such rows."""
        bad_rows = self.bad_rows
        return (bad_rows.describe(sum(self.sizes().values()) + len(bad_rows)),) if len(bad_rows) else ()

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data, from 0, of each row that isn't left out. None: no row is left out."""
        bad_rows = self.bad_rows
        return bad_rows.keep(sum(self.sizes().values()) + len(bad_rows)) if len(bad_rows) else None

    def describe_splits(self) -> str:
        text = super().describe_splits()
        return text if self.on_bad_row == "error" else f"{text}, {self.on_bad_row=}"


@dataclass(frozen=True, kw_only=True)
class SearchesBadRows(SkipOptions):
    """A source whose `bad_rows` takes a pass over all rows. The cache keeps the result."""

    def find_bad_rows(self) -> Mapping[str, Any]:
        """The rows that are skipped, as an array and plain values."""
        return {"rows": self.bad_rows.rows, "messages": self.bad_rows.messages}

    def with_bad_rows(self, found: Mapping[str, Any]) -> Self:
        """The same source, with rows that were found before."""
        source = copy.copy(self)
        source.__dict__["bad_rows"] = BadRows(found["rows"], tuple(map(tuple, found["messages"])))
        return source
