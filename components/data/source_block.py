"""Blocks of one of several sources, whose columns must be alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.data.same_types import check_names
from components.types import Block, DataError, LazyColumns, Ragged, Strings, Values

KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "M": "timestamp", "U": "string", "O": "string"}  # of dtypes


@dataclass(frozen=True, kw_only=True)
class SourceBlock(Block):
    """A block of one of several sources, whose rows are named with their source in messages.

    Attributes:
        name: the name of the source.
        block: its block.
    """

    name: str
    block: Block

    def locate(self, row: int) -> str:
        return f"{self.name}: {self.block.locate(row)}"


def check_columns(first: SourceBlock, block: SourceBlock) -> None:
    """Raises DataError if a block has other columns than that of another source, or one of another type."""
    check_names(first.name, first.columns, block.name, block.columns)
    own, others = read_values(block), read_values(first)
    for name in own.keys() & others.keys():
        kind, needed = _find_kind(own[name]), _find_kind(others[name])
        if kind != needed:
            raise DataError(
                f"column `{name}` is {kind} in the source {block.name}, but {needed} in the source {first.name}. Write "
                "it with one type in both; of a table, `types` declares it."
            )


def read_values(block: Block) -> Mapping[str, Values]:
    """The columns of a block that were read."""
    return block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns


def _find_kind(values: Any) -> str:
    """The type of a column, such as `int`, `string`, `lists of string` or `arrays (28, 28) of int`."""
    if isinstance(values, Ragged):
        return f"lists of {_find_kind(values.values)}"
    if isinstance(values, Strings):
        return "string"
    kind = KINDS.get(values.dtype.kind, str(values.dtype))
    return kind if values.ndim == 1 else f"arrays {values.shape[1:]} of {kind}"
