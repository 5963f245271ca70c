"""Keeps the rows that meet a condition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

from components.expression.expression import Expression
from components.expression.operands import describe_kinds
from components.operation.expressions import find_type
from components.tracked_block import TrackedBlock
from components.types import DataError, FieldError

NO_VALUE = "the condition has no value, because one is missing in it"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Keeps the rows that meet a condition. The others are left out of all splits.

    A row whose condition has no value, because a column has none, is left out too.

    Attributes:
        where: the condition, an expression over the columns such as `price < 500000 and not is_null(city)`.
    """

    where: str

    applies_to_new_rows: ClassVar[bool] = False
    columns_computed: ClassVar[Collection[str]] = ()

    def __post_init__(self) -> None:
        kind = find_type("where", self.where)
        if kind not in ("boolean", "unknown"):
            raise FieldError("where", self._describe_kind(describe_kinds([kind])))

    @property
    def columns_read(self) -> Collection[str]:
        return self._condition.columns

    @property
    def _condition(self) -> Expression:
        return Expression(self.where)

    def _describe_kind(self, kinds: str) -> str:
        return f"`{self.where}` gives {kinds}, not true or false. Write a condition, such as `price < 5`"

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        condition = self._condition
        for block in blocks:
            kind, result = condition.evaluate(block)
            if kind != "boolean":
                raise DataError(self._describe_kind(describe_kinds([kind])))
            is_kept = result.values
            if result.valid_mask is not None:
                is_kept = is_kept & result.valid_mask
                counts[NO_VALUE] += int((~result.valid_mask).sum())
            if (kept := block.keep(is_kept)) is not None:
                yield kept
