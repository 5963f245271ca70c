"""Sorts rows by columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from components.arrow import strings_to_arrow
from components.operation.columns import check_columns, find_valid
from components.ragged import describe_values
from components.tracked_block import TrackedBlock, concatenate_blocks
from components.types import DataError, FieldError, Strings

BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Sort:
    """Sorts the rows of each part, such as `train`. Rows that are equal in the columns keep their order.

    Numbers are in ascending order, times too, False is before True, and texts are in the order of their characters in
    Unicode. Missing values are last, in either direction. All rows of a part are in memory at once.

    Attributes:
        by: the names of the columns, the first one decides first. A minus before a name sorts in descending order:
            `[price, -rooms]`.
    """

    by: tuple[str, ...]

    applies_to_new_rows: ClassVar[bool] = False
    columns_computed: ClassVar[Collection[str]] = ()

    def __post_init__(self) -> None:
        if not self.by:
            raise FieldError("by", "is empty. Name a column, such as [price]")
        if repeated := [name for name, count in Counter(self.columns_read).items() if count > 1]:
            raise FieldError("by", f"has the column {repeated[0]} twice. Leave one out")

    @property
    def columns_read(self) -> Collection[str]:
        return [name.removeprefix("-") for name in self.by]

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        block = concatenate_blocks(blocks)
        if block is None:
            return
        check_columns(self.columns_read, block)
        keys = list[np.ndarray]()
        for text, name in reversed([*zip(self.by, self.columns_read, strict=True)]):  # the last key decides first
            keys += _make_keys(block, name, descending=text != name)
        order = np.lexsort(keys)
        for start in range(0, len(order), BLOCK_ROWS):
            yield block.take(order[start : start + BLOCK_ROWS])


def _make_keys(block: TrackedBlock, name: str, *, descending: bool) -> list[np.ndarray]:
    """The numbers by which rows are sorted. The last ones decide first."""
    values: Any = block.columns[name]
    valid = find_valid(values, block.valid.get(name))
    if isinstance(values, np.ndarray) and values.dtype.kind == "U":
        values = np.unique(values.reshape(len(values), -1)[:, 0], return_inverse=True)[1]
    if isinstance(values, Strings) and name not in block.files:
        values = _rank_texts(values)
    if not isinstance(values, np.ndarray) or values.ndim > 1 or values.dtype.kind not in "biufMm":
        content = "the bytes of files" if name in block.files else describe_values(values)
        raise DataError(f"column `{name}` has {content}. Rows are sorted by single numbers, texts, times or booleans")
    values = values.view(np.int64) if values.dtype.kind in "Mm" else values
    if descending:
        values = -values if values.dtype.kind == "f" else ~values
    return [values] if valid is None else [np.where(valid, values, np.zeros(1, values.dtype)), ~valid]


def _rank_texts(strings: Strings) -> np.ndarray:
    """The rank of each text, from 1. Equal texts have equal ranks."""
    import pyarrow.compute as compute

    ranks = compute.rank(strings_to_arrow(strings._replace(indices=None)), tiebreaker="dense")
    ranked = np.frombuffer(ranks.buffers()[1], np.uint64)[ranks.offset : ranks.offset + len(ranks)]
    return ranked if strings.indices is None else ranked[strings.indices]
