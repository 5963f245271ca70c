"""Renames columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

from components.closest import join_names
from components.operation.columns import check_columns
from components.tracked_block import TrackedBlock
from components.types import DataError, FieldError


@dataclass(frozen=True, kw_only=True)
class Rename:
    """Renames columns.

    Attributes:
        columns: the new names by the old ones, such as `{median_house_value: price}`. Names may be swapped.
    """

    columns: dict[str, str]

    applies_to_new_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise FieldError("columns", "is empty. Name a column and its new name: {OLD: NEW}")
        if repeated := [name for name, count in Counter(self.columns.values()).items() if count > 1]:
            olds = join_names(old for old, new in self.columns.items() if new == repeated[0])
            raise FieldError("columns", f"renames {olds} to {repeated[0]}. Columns have different names")

    @property
    def columns_read(self) -> Collection[str]:
        return self.columns.keys()

    @property
    def columns_computed(self) -> Collection[str]:
        return self.columns.values()

    def narrow(self, names: Collection[str]) -> Rename:
        """The operation that gives only some of the new names. Columns that have one of them are renamed, too."""
        news = {*names} & {*self.columns.values()}
        while others := {self.columns[new] for new in news if new in self.columns} - news:
            news |= others
        return Rename(columns={old: new for old, new in self.columns.items() if new in news})

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        for block in blocks:
            check_columns(self.columns, block)
            for old, new in self.columns.items():
                if block.has_column(new) and new not in self.columns:
                    raise DataError(f"`{old}` can't be renamed to `{new}`, which is there. Choose another name")
            yield block.rename(self.columns)
