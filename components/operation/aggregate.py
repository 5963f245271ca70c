"""Makes one row of all rows with the same key."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from components.expression.expression import Expression
from components.expression.operands import Kind, Operand, get_column
from components.operation.aggregates import (
    GroupedValues,
    ParsedAggregate,
    compute_aggregate,
    find_kind_fault,
    find_overflow,
    make_groups,
    parse_aggregate,
)
from components.operation.keys import read_keys
from components.operation.other_source import read_names
from components.ragged import concatenate
from components.tracked_block import Merged, TrackedBlock, concatenate_blocks
from components.types import DataError, FieldError, row_count

BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """Makes one row of all rows with the same key. It has the key, and aggregates of the rows, and no other column.

    The rows of a key must be in one split. The new rows are in the order in which their keys first occur. A missing key
    is equal to another missing one, as in `group by` of SQL.

    Attributes:
        by: the column of the key, or several.
        columns: the aggregates by the name of their column, such as `{orders: count(), spent: sum(price), last:
            max(time)}`. The functions are count, count_distinct, sum, mean, std, median, min, max, first and last, each
            of one expression. They ignore missing values, and are missing without any other; `count()` counts rows.
    """

    by: str | tuple[str, ...]
    columns: dict[str, str]

    applies_to_new_rows: ClassVar[bool] = True
    makes_rows: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise FieldError("columns", "is empty. Name a column and its aggregate: {orders: count()}")
        for name in self.columns:
            if name in self._by:
                raise FieldError(f"columns.{name}", "is a column of the key, too. Give the aggregate another name")
        assert self._aggregates

    @property
    def _by(self) -> tuple[str, ...]:
        return tuple(read_names("by", self.by, "[customer]"))

    @property
    def _aggregates(self) -> dict[str, ParsedAggregate]:
        return {name: parse_aggregate(f"columns.{name}", text) for name, text in self.columns.items()}

    @property
    def _expressions(self) -> dict[str, Expression]:
        texts = [each.expression for each in self._aggregates.values() if each.expression is not None]
        return {text: Expression(text) for text in dict.fromkeys(texts)}

    @property
    def columns_read(self) -> Collection[str]:
        return dict.fromkeys([*self._by, *(name for each in self._expressions.values() for name in each.columns)])

    @property
    def columns_computed(self) -> Collection[str]:
        return self.columns.keys()

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        evaluated = dict[str, list[tuple[Kind, Operand]]]()
        block = concatenate_blocks(self._evaluate(blocks, evaluated))
        if block is not None:
            yield from self._aggregate(block, {text: _join(evaluated.pop(text)) for text in [*evaluated]})

    def _evaluate(
        self, blocks: Iterator[TrackedBlock], evaluated: dict[str, list[tuple[Kind, Operand]]]
    ) -> Iterator[TrackedBlock]:
        """Yields the columns of the key of each block. `evaluated` gets the values of each expression."""
        expressions = self._expressions
        for block in blocks:
            for name in self._by:
                get_column(block, name)
            for text, expression in expressions.items():
                evaluated.setdefault(text, []).append(expression.evaluate(block))
            yield dataclasses.replace(block.select_columns({*self._by}), unread=frozenset())

    def _aggregate(self, block: TrackedBlock, values: Mapping[str, tuple[Kind, Operand]]) -> Iterator[TrackedBlock]:
        """Yields the new rows, of all rows of a part with the columns of the key and the values of expressions."""
        keys = read_keys(block, self._by)
        groups = keys.group_rows()
        first, group_of = groups
        result = block.take(first)

        def describe(group: int) -> str:
            return f"the rows with {keys.describe(int(first[group]))}, such as {result.locate(group)}"

        grouped = {text: make_groups(*pair, group_of, len(first)) for text, pair in values.items()}
        for name, aggregate in self._aggregates.items():
            computed = _compute(aggregate, grouped, group_of, len(first), describe)
            result = result.with_columns({name: computed.values}, {name: computed.valid_mask})
        others = np.flatnonzero(groups.find_repeated())
        rows, into = block.source_rows[others], block.source_rows[first[group_of[others]]]
        merged = Merged(rows, into, self._by, lambda index: keys.describe(int(others[index])))
        for start in range(0, result.rows, BLOCK_ROWS):
            piece = result.take(np.arange(start, min(start + BLOCK_ROWS, result.rows)))
            yield dataclasses.replace(piece, merged=None if start else merged)


def _compute(
    aggregate: ParsedAggregate,
    grouped: Mapping[str, GroupedValues],
    group_of: np.ndarray,
    count: int,
    describe: Callable[[int], str],
) -> Operand:
    """Computes an aggregate of each group. `describe`: names the rows of a group, for messages."""
    if aggregate.expression is None:
        return Operand(np.bincount(group_of, minlength=count))
    values = grouped[aggregate.expression]
    if fault := find_kind_fault(aggregate, values.kind):
        raise DataError(fault)
    if (group := find_overflow(aggregate.name, values)) is not None:
        raise DataError(f"`{aggregate.text}` is too large for {describe(group)}", "correct the values")
    return compute_aggregate(aggregate.name, values)


def _join(pieces: Sequence[tuple[Kind, Operand]]) -> tuple[Kind, Operand]:
    """The values of an expression in all blocks."""
    operands = [operand for _, operand in pieces]
    values = concatenate([operand.values for operand in operands])
    if all(operand.valid_mask is None for operand in operands):
        return pieces[0][0], Operand(values)
    masks = [
        np.ones(row_count(operand.values), bool) if operand.valid_mask is None else operand.valid_mask
        for operand in operands
    ]
    return pieces[0][0], Operand(values, np.concatenate(masks))
