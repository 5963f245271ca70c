"""Expressions over columns whose values are numbers, or booleans, which are 1 and 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from components.expression.expression import Expression, describe_values
from components.expression.operands import KINDS, NUMERIC, Kind, Operand, read_operand
from components.expression.parser import quote, shorten
from components.feature.base import raw
from components.types import Block, DataError, Remedy, Strings, UserError, Values


@dataclass(frozen=True)
class NumericExpression:
    """An expression whose values are single numbers, such as `(total_rooms - 1) / households`, in float64.

    The syntax is that of `Expression`. All arithmetic is in float64, also of whole numbers.

    Attributes:
        text: the expression.
    """

    text: str

    def __post_init__(self) -> None:
        self._check_kind(self._expression.find_type({}))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order of first occurrence."""
        return self._expression.columns

    @cached_property
    def _expression(self) -> Expression:
        return Expression(self.text, exact=False)

    def __call__(self, block: Block, *, allow_missing: bool = False) -> np.ndarray:
        """Computes the value in each row, float64 (rows, 1).

        Args:
            block: the rows.
            allow_missing: whether a value may be missing. It is then NaN.

        Raises:
            DataError: a value isn't finite, or is too large. The message has the operands.
        """
        read = {name: _read_operand(block, name) for name in self.columns}
        operands = {name: operand for name, (_, operand) in read.items()}
        kinds: dict[str, Kind] = {name: kind for name, (kind, _) in read.items()}
        kind, result = self._expression.compute(kinds, operands, block, checks=False)
        self._check_kind(kind)
        self._expression.check(result, operands, block)
        valid_mask, values = result.valid_mask, np.asarray(result.values, np.float64)
        is_allowed = np.abs(values) <= raw.LARGEST
        is_allowed = is_allowed if valid_mask is None else is_allowed | ~valid_mask
        if not is_allowed.all():
            self._raise_range_error(block, operands, values, int(np.argmin(is_allowed)))
        if valid_mask is None:
            return values[:, None]
        if not allow_missing and not valid_mask.all():
            self._raise_missing_error(block, operands, valid_mask)
        return np.where(valid_mask, values, np.nan)[:, None]

    def _check_kind(self, kind: Kind) -> None:
        if kind not in NUMERIC | {"unknown"}:
            fault = f"the expression {shorten(self.text)!r} gives {KINDS[kind]}; numbers or booleans are needed"
            raise UserError(fault)

    def _raise_range_error(
        self, block: Block, operands: Mapping[str, Operand], values: np.ndarray, row: int
    ) -> NoReturn:
        reason = describe_values(operands, row)
        raise DataError(
            f"{block.locate(row)}: {quote(self.text)} is {raw.format_value(values[row])}, where {reason}; "
            f"{raw.describe_range(raw.LARGEST)}",
            raw.CORRECT,
            raw.REMOVE_ROW,
            Remedy("limit an operand, as in `rooms / max(households, 1)`", "columns"),
        )

    def _raise_missing_error(self, block: Block, operands: Mapping[str, Operand], valid: np.ndarray) -> NoReturn:
        """Raises the error about the first missing value, which names a column that has no value in its row."""
        row = int(np.argmin(valid))
        for name, operand in operands.items():
            if operand.valid_mask is None or operand.valid_mask[row]:
                continue
            is_masked = name in block.valid and not block.valid[name][row]
            if not is_masked and getattr(block.columns[name], "dtype", np.dtype(object)).kind == "f":
                raw.read_numbers(block, name)  # raises the error about NaN
            missing = operand.valid_mask | valid
            raise raw.make_missing_error(block, name, missing)
        reason = describe_values(operands, row)
        remedy = Remedy("set `missing` to replace missing values of a feature", "gaps")
        raise DataError(f"{block.locate(row)}: {quote(self.text)} has no value, where {reason}", remedy)


def _read_operand(block: Block, name: str) -> tuple[Kind, Operand]:
    """Reads a column. Numbers and booleans must be finite; missing ones have a mask."""
    if name in block.columns and name not in block.ids and not _has_numbers(block.columns[name]):
        return read_operand(block, name)
    numbers = raw.read_numbers(block, name, allow_missing=True)
    if numbers.size != len(numbers):
        shape = numbers.shape[1:]
        raise DataError(f"column `{name}` of {block.origin} has rows of shape {shape}; expressions need single numbers")
    numbers = numbers.reshape(-1)
    numbers = numbers.astype(np.float64) if numbers.dtype.kind == "u" else numbers
    return read_operand(Block({name: numbers}, origin=block.origin, first_row=block.first_row), name)


def _has_numbers(values: Values) -> bool:
    """Whether a column has numbers, or objects of which the first that isn't missing is no text."""
    if not isinstance(values, np.ndarray):
        return not isinstance(values, Strings)
    if values.dtype.hasobject:
        return not isinstance(next((value for value in values.flat if value is not None), None), str)
    return values.dtype.kind not in "bUMm" or values.ndim > 1
