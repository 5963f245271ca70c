"""Computes columns by expressions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from components.expression.expression import Expression
from components.operation.expressions import find_type
from components.tracked_block import TrackedBlock
from components.types import DataError, FieldError, Values


@dataclass(frozen=True, kw_only=True)
class Derive:
    """Computes columns by expressions. A column of a name that exists is replaced.

    Attributes:
        columns: the expressions by the name of their column, such as `{rooms_each: rooms / households}`. They are
            computed in their order, so one can read those before it. Whole numbers stay whole: `7 // 2` is 3.
    """

    columns: dict[str, str]

    applies_to_new_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise FieldError("columns", "is empty. Name a column and its expression: {NAME: EXPRESSION}")
        for name, text in self.columns.items():
            if find_type(f"columns.{name}", text) == "missing":
                raise FieldError(f"columns.{name}", f"`{text}` is always missing. Write an expression with a value")

    @property
    def columns_read(self) -> Collection[str]:
        read = dict[str, None]()
        for number, text in enumerate(self.columns.values()):
            earlier = {*list(self.columns)[:number]}
            read |= dict.fromkeys(name for name in Expression(text).columns if name not in earlier)
        return read.keys()

    @property
    def columns_computed(self) -> Collection[str]:
        return self.columns.keys()

    def narrow(self, names: Collection[str]) -> Derive:
        """The operation that computes only what some of its columns need."""
        needed, kept = {*names}, dict[str, str]()
        for name, text in reversed(self.columns.items()):
            if name in needed:
                kept[name] = text
                needed |= {*Expression(text).columns}
        return Derive(columns=dict(reversed(kept.items())))

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        expressions = {name: Expression(text) for name, text in self.columns.items()}
        for block in blocks:
            for name, expression in expressions.items():
                kind, result = expression.evaluate(block)
                if kind == "missing":
                    raise DataError(f"`{expression.text}` is always missing. Write an expression with a value")
                block = block.with_columns({name: _copy_broadcast(result.values)}, {name: result.valid_mask})
            yield block


def _copy_broadcast(values: Values) -> Values:
    """An array with memory of its own for each row; one that repeats a value has none."""
    return values.copy() if isinstance(values, np.ndarray) and 0 in values.strides else values
