"""The operators of expressions, on operands of the same kind. A missing operand makes the result missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from components.expression import texts
from components.expression.operands import (
    MAX_INTEGER,
    Fault,
    Kind,
    Operand,
    format_value,
    join_faults,
    join_masks,
    make_constant,
)
from components.types import Strings

ARITHMETIC: Mapping[str, np.ufunc] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "//": np.floor_divide,
    "%": np.remainder,
    "**": np.power,
}
EXACT = ("+", "-", "*", "//", "%")  # the operators of which whole numbers have whole numbers
COMPARISONS: Mapping[str, tuple[np.ufunc, str]] = {  # with Arrow's function for texts
    "==": (np.equal, "equal"),
    "!=": (np.not_equal, "not_equal"),
    "<": (np.less, "less"),
    "<=": (np.less_equal, "less_equal"),
    ">": (np.greater, "greater"),
    ">=": (np.greater_equal, "greater_equal"),
}
PLACEHOLDERS: Mapping[Kind, Any] = {
    "integer": np.int64(0),
    "number": np.float64(0),
    "boolean": np.False_,
    "time": np.datetime64(0, "us"),
}
"""The values of `null`."""


def convert(operand: Operand, kind: Kind, to: Kind) -> Operand:
    """Converts booleans to numbers, whole numbers to float64, and null to any kind."""
    if kind == to or "unknown" in (kind, to):
        return operand
    if kind == "missing":
        return operand._replace(values=make_constant(b"") if to == "text" else PLACEHOLDERS[to])
    return operand._replace(values=operand.values.astype(np.int64 if to == "integer" else np.float64))


def compute(symbol: str, left: Operand, right: Operand) -> Operand:
    """Arithmetic in float64. A result may be infinite or NaN."""
    return combine((left, right), ARITHMETIC[symbol](left.values, right.values))


def compute_exactly(symbol: str, left: Operand, right: Operand, show: Callable[[], str]) -> Operand:
    """Arithmetic in int64. A number that exceeds 64 bits, or is divided by 0, is a fault."""
    first, second = left.values, right.values
    faults = []
    if symbol in ("//", "%") and (by_zero := np.asarray(second == 0)).any():
        faults.append(Fault(by_zero, lambda row: f"{show()} divides by 0"))
    with np.errstate(all="ignore"):
        values = ARITHMETIC[symbol](first, second)
        if not _must_fit(symbol, first, second):
            faults.append(_make_overflow(_find_overflow(symbol, first, second, values), show))
    return combine((left, right), values, faults)


def negate(operand: Operand, kind: Kind, show: Callable[[], str]) -> Operand:
    """The negative of numbers, of which int64 lacks one."""
    values = np.negative(operand.values)
    too_large = np.asarray(operand.values == -MAX_INTEGER - 1) if kind == "integer" else np.asarray(np.False_)
    return combine((operand,), values, [_make_overflow(too_large, show)] if too_large.any() else [])


def check_finite(operand: Operand, show: Callable[[], str]) -> Operand:
    """Makes computed numbers that aren't finite faults."""
    values, valid_mask = operand.values, operand.valid_mask
    is_finite = np.isfinite(values)
    if is_finite.all() or (valid_mask is not None and (is_finite | ~valid_mask).all()):
        return operand
    fault = Fault(np.asarray(~is_finite), lambda row: f"{show()} is {format_value(values, row)}")
    return combine((operand,), values, [fault])


def compare(symbol: str, left: Operand, right: Operand) -> Operand:
    """Compares values of one kind. Texts are compared by their characters, times of different units in microseconds."""
    function, arrow_function = COMPARISONS[symbol]
    first, second = left.values, right.values
    if isinstance(first, Strings) or isinstance(second, Strings):
        return combine((left, right), texts.compare(arrow_function, first, second))
    if first.dtype.kind == "M" and first.dtype != second.dtype:
        first, second = _unify_units(first, second)
    return combine((left, right), function(first, second))


def _unify_units(first: Any, second: Any) -> tuple[Any, Any]:
    """Converts times to one unit. It is that of a column, if this represents a constant: such as days in seconds."""
    if np.ndim(second) == 0 and (same := second.astype(first.dtype)).astype(second.dtype) == second:
        return first, same
    return first.astype("M8[us]"), second.astype("M8[us]")  # NumPy's common unit may overflow


def is_in(operand: Operand, values: Sequence[Any]) -> Operand:
    """Whether a value is one of some constants of its kind."""
    if isinstance(operand.values, Strings):
        return combine((operand,), texts.is_in(operand.values, values))
    others = np.array([value.astype("M8[us]") if value.dtype.kind == "M" else value for value in values])
    own = operand.values.astype("M8[us]") if operand.values.dtype.kind == "M" else operand.values
    return combine((operand,), np.isin(own, others) if len(others) else np.zeros(np.shape(own), bool))


def invert(operand: Operand) -> Operand:
    """Kleene's `not`: that of a missing value is missing."""
    return combine((operand,), np.logical_not(operand.values))


def conjoin(left: Operand, right: Operand) -> Operand:
    """Kleene's `and`: False if one value is False, else missing if one is missing.

    Where the left value is False, faults of the right one don't matter.
    """
    return _decide(left, right, decisive=False)


def disjoin(left: Operand, right: Operand) -> Operand:
    """Kleene's `or`: True if one value is True, else missing if one is missing.

    Where the left value is True, faults of the right one don't matter.
    """
    return _decide(left, right, decisive=True)


def _decide(left: Operand, right: Operand, *, decisive: bool) -> Operand:
    values = (np.logical_or if decisive else np.logical_and)(left.values, right.values)
    faults = (*left.faults, *(right.select(~_equals(left, decisive)) if right.faults else ()))
    valid_mask = join_masks((left, right))
    if valid_mask is None:
        return Operand(values, None, faults)
    is_decided = _equals(left, decisive) | _equals(right, decisive)
    return Operand(is_decided if decisive else ~is_decided, is_decided | valid_mask, faults)


def _equals(operand: Operand, value: bool) -> Any:
    """Where an operand has a boolean, and isn't missing."""
    equal = operand.values if value else ~operand.values
    return equal if operand.valid_mask is None else equal & operand.valid_mask


def choose(condition: Operand, first: Operand, second: Operand) -> Operand:
    """`first if condition else second`, missing where the condition is missing."""
    faults = condition.faults
    if first.faults or second.faults:
        faults = (*faults, *first.select(_equals(condition, True)), *second.select(_equals(condition, False)))
    valid_mask = condition.valid_mask
    if first.valid_mask is not None or second.valid_mask is not None:
        masks = (np.True_ if each.valid_mask is None else each.valid_mask for each in (first, second))
        chosen = np.where(condition.values, *masks)
        valid_mask = chosen if valid_mask is None else chosen & valid_mask
    return Operand(select_values(condition.values, first.values, second.values), valid_mask, faults)


def fill(operand: Operand, other: Operand) -> Operand:
    """The values of an operand, and those of another one where it is missing."""
    valid_mask = operand.valid_mask
    if valid_mask is None:
        return operand
    faults = (*operand.faults, *(other.select(~valid_mask) if other.faults else ()))
    values = select_values(valid_mask, operand.values, other.values)
    return Operand(values, None if other.valid_mask is None else valid_mask | other.valid_mask, faults)


def select_values(condition: Any, first: Any, second: Any) -> Any:
    """The values of `first` where a condition is True, else those of `second`."""
    if isinstance(first, Strings):
        return texts.select(condition, first, second)
    if first.dtype.kind == "M" and first.dtype != second.dtype:
        first, second = first.astype("M8[us]"), second.astype("M8[us]")
    return np.where(condition, first, second)


def clear(values: Any, valid_mask: np.ndarray, kind: Kind) -> Any:
    """Replaces missing values by those that stand for them in blocks."""
    if kind == "text":
        return select_values(valid_mask, values, make_constant(b""))
    if kind == "time":
        return np.where(valid_mask, values, np.array("NaT", values.dtype))
    missing = {"integer": np.int64(0), "boolean": np.False_}
    return np.where(valid_mask, values, missing.get(kind, np.float64(np.nan)))


def combine(operands: Sequence[Operand], values: Any, faults: Sequence[Fault] = ()) -> Operand:
    """The result of a function that needs all operands. It has no fault where one of them is missing."""
    valid_mask = join_masks(operands)
    own = Operand(values, valid_mask, tuple(faults)).select(valid_mask)
    return Operand(values, valid_mask, (*join_faults(operands), *own))


def _must_fit(symbol: str, first: Any, second: Any) -> bool:
    """Whether the largest operands show that no result exceeds 64 bits."""
    largest, other = _find_largest(first), _find_largest(second)
    if symbol == "*":
        return largest * other <= MAX_INTEGER
    return largest + (other if symbol in ("+", "-") else 0) <= MAX_INTEGER


def _find_largest(values: Any) -> int:
    """The largest absolute value."""
    return max(-int(np.min(values, initial=0)), int(np.max(values, initial=0)))


def _find_overflow(symbol: str, first: Any, second: Any, values: Any) -> np.ndarray:
    """Where the result of whole numbers doesn't fit into 64 bits, by what it wrapped to."""
    if symbol == "+":
        overflow = ((first ^ values) & (second ^ values)) < 0
    elif symbol == "-":
        overflow = ((first ^ second) & (first ^ values)) < 0
    elif symbol == "*":
        wraps = (first == -1) & (second == -MAX_INTEGER - 1)
        overflow = (first != 0) & ((values // np.where(first == 0, 1, first) != second) | wraps)
    else:
        overflow = (symbol == "//") & (first == -MAX_INTEGER - 1) & (second == -1)
    return np.asarray(overflow)


def _make_overflow(rows: np.ndarray, show: Callable[[], str]) -> Fault:
    remedy = "multiply a number by 1.0 to compute in float64"
    return Fault(rows, lambda row: f"{show()} exceeds 64 bits", remedy)
