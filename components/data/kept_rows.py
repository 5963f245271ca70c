"""Rows after operations that were computed to infer columns, and that a run with these columns uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from components.data.block_store import BlockStore
from components.data.operation_summary import OperatedRows
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

    def select(self, source: Source, select: Callable[[TrackedBlock], TrackedBlock]) -> OperatedRows | None:
        """The rows as a source has them that declares the types of its columns. None: it has other rows or types.

        Args:
            source: the source.
            select: selects the columns that are used.
        """
        if dict(source.sizes()) != dict(self.sizes):
            return None
        computed = {name for report in self.rows.reports for name in (*report.added, *report.replaced)}
        declared: Mapping[str, ColumnType] = getattr(source, "types", None) or {}
        types = {name: kind for name, kind in declared.items() if name not in computed}
        parts = dict[str, BlockStore]()
        for part, blocks in self.rows.parts.items():
            parts[part] = store = BlockStore()
            for block in blocks:
                if (cast := _cast_columns(select(block), types)) is None:
                    return None
                store.add(cast)
            store.finish()
        return self.rows._replace(parts=parts)


def _cast_columns(block: TrackedBlock, types: Mapping[str, ColumnType]) -> TrackedBlock | None:
    """The block with whole numbers as floats, and the other way, as declared. None: another type is declared."""
    read = block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns
    for name, kind in types.items():
        values: Any = read.get(name)
        found = "string" if isinstance(values, Strings) else KINDS.get(getattr(values, "dtype", np.dtype("V")).kind)
        if found is None or found == kind:
            continue
        if {kind, found} != {"float", "int"}:
            return None
        valid = block.valid.get(name)
        present = np.ones(block.rows, bool) if valid is None else valid
        gap = np.nan if kind == "float" else 0
        numbers = np.where(present, values, gap).astype(np.float64 if kind == "float" else np.int64)
        block = block.with_columns({name: numbers}, {name: valid})
    return block
