"""Rows after operations that were computed to infer columns, and that a run with these columns uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from components.data.operated.summary import OperatedRows
from components.data.typed_table import KINDS
from components.tracked_block import TrackedBlock
from components.types import ColumnType, LazyColumns, Source, Strings


class KeptRows(NamedTuple):
    """Rows after operations, with all columns.

    Attributes:
        rows: the rows.
        sizes: the number of rows of each part of the source.
    """

    rows: OperatedRows
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, rows: OperatedRows, source: Source) -> KeptRows:
        """The rows of a source, which isn't kept itself."""
        for blocks in rows.parts.values():
            blocks.forget_source()
        for report in rows.reports:
            report.locate_first = str
        return cls(rows, dict(source.sizes()))

    def select(
        self,
        source: Source,
        select: Callable[[TrackedBlock], TrackedBlock],
        locate: Callable[[int], str],
    ) -> OperatedRows | None:
        """The rows as a source has them that declares the types of its columns. None: it has other rows or types.

        Args:
            source: the source.
            select: selects the columns that are used.
            locate: describes the location of a row of the source.
        """
        if dict(source.sizes()) != dict(self.sizes):
            return None
        computed = {name for report in self.rows.reports for name in (*report.added, *report.replaced)}
        declared: Mapping[str, ColumnType] = getattr(source, "types", None) or {}
        types = {name: kind for name, kind in declared.items() if name not in computed}
        first = next((block for blocks in self.rows.parts.values() for block in blocks), None)
        casts = {} if first is None else _find_casts(first, types)
        if casts is None:
            return None

        def change(block: TrackedBlock) -> TrackedBlock:
            return replace(_cast_columns(select(block), casts), locate_source_row=locate)

        return self.rows._replace(parts={part: blocks.view(change) for part, blocks in self.rows.parts.items()})


def _find_casts(block: TrackedBlock, types: Mapping[str, ColumnType]) -> dict[str, ColumnType] | None:
    """The columns of whole numbers that are declared as floats, and the other way. None: another type is declared."""
    read, casts = _read_columns(block), dict[str, ColumnType]()
    for name, kind in types.items():
        values: Any = read.get(name)
        found = "string" if isinstance(values, Strings) else KINDS.get(getattr(values, "dtype", np.dtype("V")).kind)
        if found is None or found == kind:
            continue
        if {kind, found} != {"float", "int"}:
            return None
        casts[name] = kind
    return casts


def _cast_columns(block: TrackedBlock, kinds: Mapping[str, ColumnType]) -> TrackedBlock:
    read = _read_columns(block)
    for name, kind in kinds.items():
        if name in read:
            valid = block.valid.get(name)
            present = np.ones(block.rows, bool) if valid is None else valid
            gap, dtype = (np.nan, np.float64) if kind == "float" else (0, np.int64)
            block = block.with_columns({name: np.where(present, read[name], gap).astype(dtype)}, {name: valid})
    return block


def _read_columns(block: TrackedBlock) -> Mapping[str, Any]:
    return block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns
