"""Expressions over the columns of a block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.expression import operators
from components.expression.compiler import Part, compile_expression
from components.expression.operands import Fault, Kind, Operand, broadcast, format_value, read_operand
from components.expression.parser import parse, quote, shorten
from components.types import Block, DataError, Remedy, UserError, row_count


@dataclass(frozen=True)
class Expression:
    """An expression over the columns of a block, such as `price < 500000 and not is_null(city)`.

    The operators and functions are those of `compiler` and `functions`. Column names with other characters than
    letters, digits and underscores need backticks. Anything else raises UserError.

    A missing operand makes the result missing, as in SQL. But `false and null` is False, `true or null` is True, and
    is_null, coalesce and `x if condition else y` need only some of their operands. NaN in a column is a missing number,
    and an empty text isn't missing. What isn't needed in a row, such as the right operand of `and` where the left one
    is False, is no error there.

    Attributes:
        text: the expression.
        exact: whether +, -, *, // and % of whole numbers are exact, in int64. Otherwise all arithmetic is in float64.
    """

    text: str
    exact: bool = True

    def __post_init__(self) -> None:
        self.find_type({})

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order of first occurrence."""
        return parse(self.text).columns

    def find_type(self, kinds: Mapping[str, Kind]) -> Kind:
        """The type of its values.

        Args:
            kinds: the types of columns by name. Those that are not there are unknown.

        Raises:
            UserError: types can't be combined, as a text and a number in a comparison.
        """
        return self._compile(kinds).kind

    def evaluate(self, block: Block) -> tuple[Kind, Operand]:
        """Computes its value in each row.

        Returns:
            Its type, and the values with the mask of what is missing. There is no fault. Missing values are 0, NaN,
            False, NaT or "", as in a block.

        Raises:
            DataError: there is no such column, types can't be combined, or a row has no value because of a division by
                0, a number that is infinite or too large, or a text that is no number or time.
        """
        read = {name: read_operand(block, name) for name in self.columns}
        kinds = {name: kind for name, (kind, _) in read.items()}
        operands = {name: operand for name, (_, operand) in read.items()}
        kind, result = self.compute(kinds, operands, block)
        self.check(result, operands, block)
        if result.valid_mask is not None:
            result = Operand(operators.clear(result.values, result.valid_mask, kind), result.valid_mask)
        return kind, result._replace(faults=())

    def compute(
        self, kinds: Mapping[str, Kind], operands: Mapping[str, Operand], block: Block, *, checks: bool = True
    ) -> tuple[Kind, Operand]:
        """Computes its values and faults from those of the columns.

        Args:
            kinds: the types of the columns.
            operands: their values.
            block: the rows.
            checks: whether numbers must be finite. Otherwise the caller checks them.
        """
        try:
            part = self._compile(kinds)
        except UserError as error:
            raise DataError(f"{block.origin}: {error}", Remedy("correct the expression", "columns")) from error
        with np.errstate(all="ignore"):
            result = part.evaluate(operands)
        if checks and part.kind == "number" and part.may_overflow:
            result = operators.check_finite(result, lambda: quote(shorten(self.text)))
        rows = row_count(block.columns[self.columns[0]])
        return part.kind, broadcast(result, rows)

    def check(self, result: Operand, operands: Mapping[str, Operand], block: Block) -> None:
        """Raises DataError for the first row with a fault. The message has the values of the columns."""
        rows = row_count(block.columns[self.columns[0]])
        faults = [(fault, np.flatnonzero(np.broadcast_to(fault.rows, (rows,)))) for fault in result.faults]
        first = min(((int(found[0]), fault) for fault, found in faults if len(found)), key=_get_row, default=None)
        if first is not None:
            row, fault = first
            described = fault.describe(row)
            place = "" if shorten(self.text) in described else f"in {quote(shorten(self.text))}, "
            remedies = [Remedy(fault.remedy, "columns")] if fault.remedy else []
            raise DataError(
                f"{block.locate(row)}: {place}{described}, where {describe_values(operands, row)}",
                "correct it",
                "remove the row",
                *remedies,
            )

    def _compile(self, kinds: Mapping[str, Kind]) -> Part:
        return compile_expression(
            self.text, tuple(kinds.get(name, "unknown") for name in self.columns), exact=self.exact
        )


def _get_row(item: tuple[int, Fault]) -> int:
    return item[0]


def describe_values(operands: Mapping[str, Operand], row: int) -> str:
    """The values of columns in a row, for messages: `a is 1 and b is missing`."""
    described = []
    for name, operand in operands.items():
        is_missing = operand.valid_mask is not None and not operand.valid_mask[row]
        described.append(f"{name} is {'missing' if is_missing else format_value(operand.values, row)}")
    return " and ".join(described)
