"""The functions of expressions: their parameters, the kind of their result, and how they are computed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from components import times
from components.arrow import read_strings
from components.expression import operators, texts
from components.expression.operands import Fault, Kind, Operand, format_value
from components.types import Strings

Parameter: TypeAlias = Literal["number", "numeric", "text", "time", "any", "literal text", "literal number"]
"""What a parameter takes. `number`: numbers, as float64. `numeric`: numbers, of which whole ones stay whole. `time`:
times, or texts of ISO 8601. `any`: values of any kind, but of one kind if there are several. `literal`: a constant."""

Show: TypeAlias = Callable[[], str]  # returns the text of the call, for messages
Apply: TypeAlias = Callable[[Sequence[Operand], Sequence[Any], Show], Operand]


NO_TIME = "which is no time of ISO 8601, such as 2026-10-25 or 2026-10-25T13:45:00"


class Function(NamedTuple):
    """A function of expressions.

    Attributes:
        parameters: what each parameter takes.
        result: the kind of the result. None: that of the parameters.
        apply: computes the result from operands, the values of the literal parameters, and the text of the call.
        optional: the number of parameters at the end that may be left out.
        repeats: whether the last parameter may be repeated.
        may_overflow: whether a number that it computes may be infinite or NaN.
    """

    parameters: tuple[Parameter, ...]
    result: Kind | None
    apply: Apply
    optional: int = 0
    repeats: bool = False
    may_overflow: bool = False

    @property
    def needed(self) -> str:
        """How many values a call needs, for messages."""
        words = ("no", "one", "two", "three")
        least, most = len(self.parameters) - self.optional, len(self.parameters)
        if self.repeats:
            return f"{words[least]} or more"
        return words[least] if least == most else f"{words[least]} or {words[most]}"

    def takes(self, count: int) -> bool:
        """Whether a call may have some number of values."""
        least, most = len(self.parameters) - self.optional, len(self.parameters)
        return least <= count and (self.repeats or count <= most)


def _of_values(function: Callable[..., Any]) -> Apply:
    """A function of values, and of literals after them, which needs all operands."""

    def apply(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
        return operators.combine(operands, function(*(operand.values for operand in operands), *literals))

    return apply


def _of_texts(name: str, *options: str) -> Apply:
    """Arrow's function of a text with some options, which are literals."""

    def apply(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
        strings = operands[0].values
        given = dict(zip(options, literals, strict=False))
        return operators.combine(operands, texts.map_texts(strings, name, **given))

    return apply


def _numeric(function: Callable[[Any], Any]) -> Function:
    return Function(("number",), "number", _of_values(function), may_overflow=True)


def _rounding(function: np.ufunc) -> Function:
    keep_integers = _of_values(lambda values: function(values) if values.dtype.kind == "f" else values)
    return Function(("numeric",), None, keep_integers, may_overflow=True)


def _extremum(function: np.ufunc) -> Function:
    apply = _of_values(lambda *values: functools.reduce(function, values))
    return Function(("numeric", "numeric"), None, apply, repeats=True, may_overflow=True)


def _part(part: str) -> Function:
    return Function(("time",), "integer", _of_values(lambda values: times.extract_part(values, part)))


def _absolute(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    values: Any = operands[0].values
    faults = operators.negate(operands[0], "integer", show).faults if values.dtype.kind == "i" else operands[0].faults
    return Operand(np.absolute(values), operands[0].valid_mask, faults)


def _is_null(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    (operand,) = operands
    return Operand(np.False_ if operand.valid_mask is None else ~operand.valid_mask, None, operand.faults)


def _coalesce(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    return functools.reduce(operators.fill, operands)


def _split_part(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    parts, has_part = texts.split_part(operands[0].values, *literals)
    return operators.combine((operands[0], Operand(parts, None if np.all(has_part) else has_part)), parts)


def _try_number(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    numbers, is_number = texts.parse_numbers(operands[0].values)
    return operators.combine((operands[0], Operand(numbers, None if np.all(is_number) else is_number)), numbers)


def _to_number(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    strings = operands[0].values
    numbers, is_number = texts.parse_numbers(strings)
    fault = Fault(
        np.asarray(~is_number),
        lambda row: f"{show()} reads {format_value(strings, row)}, which is no finite number",
        "use try_number(…), which makes such texts missing values",
    )
    return operators.combine(operands, numbers, () if np.all(is_number) else (fault,))


def to_time(operand: Operand, show: Show) -> Operand:
    """Converts texts to times. An empty text is missing, and one that is no time is a fault."""
    strings = operand.values
    if not isinstance(strings, Strings):
        return operand
    array, positions = texts.split_dictionary(strings)
    dictionary = read_strings(array)
    parsed, is_empty = times.parse_texts(dictionary), np.diff(dictionary.offsets) == 0
    if positions is not None:
        parsed, is_empty = parsed[positions], is_empty[positions]
    invalid = np.isnat(parsed) & ~is_empty
    fault = Fault(np.asarray(invalid), lambda row: f"{show()} reads {format_value(strings, row)}, {NO_TIME}", "")
    given = Operand(parsed, ~is_empty if np.any(is_empty) else None)
    return operators.combine((operand, given), parsed, (fault,) if np.any(invalid) else ())


def _get_first(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    return operands[0]


def _round_to_day(values: Any) -> Any:
    return values.astype("M8[D]").astype(values.dtype)


def _count_days_between(start: Any, stop: Any) -> Any:
    return times.count_seconds_between(start, stop) / 86400


def _pi(operands: Sequence[Operand], literals: Sequence[Any], show: Show) -> Operand:
    return Operand(np.float64(math.pi))


FUNCTIONS: Mapping[str, Function] = {
    # numbers
    "abs": Function(("numeric",), None, _absolute, may_overflow=True),
    "exp": _numeric(np.exp),
    "log": _numeric(np.log),
    "log1p": _numeric(np.log1p),
    "sqrt": _numeric(np.sqrt),
    "sin": _numeric(np.sin),
    "cos": _numeric(np.cos),
    "pi": Function((), "number", _pi),
    "max": _extremum(np.maximum),
    "min": _extremum(np.minimum),
    "floor": _rounding(np.floor),
    "ceil": _rounding(np.ceil),
    "round": _rounding(np.rint),
    "is_finite": Function(("number",), "boolean", _of_values(np.isfinite)),
    # missing values
    "is_null": Function(("any",), "boolean", _is_null),
    "coalesce": Function(("any", "any"), None, _coalesce, repeats=True),
    # texts
    "lower": Function(("text",), "text", _of_texts("utf8_lower")),
    "upper": Function(("text",), "text", _of_texts("utf8_upper")),
    "strip": Function(("text",), "text", _of_texts("utf8_trim_whitespace")),
    "length": Function(("text",), "integer", _of_texts("utf8_length")),
    "contains": Function(("text", "literal text"), "boolean", _of_texts("match_substring", "pattern")),
    "starts_with": Function(("text", "literal text"), "boolean", _of_texts("starts_with", "pattern")),
    "ends_with": Function(("text", "literal text"), "boolean", _of_texts("ends_with", "pattern")),
    "matches": Function(("text", "literal text"), "boolean", _of_texts("match_substring_regex", "pattern")),
    "replace": Function(
        ("text", "literal text", "literal text"), "text", _of_texts("replace_substring", "pattern", "replacement")
    ),
    "substring": Function(
        ("text", "literal number", "literal number"), "text", _of_texts("utf8_slice_codeunits", "start", "stop"), 1
    ),
    "split_part": Function(("text", "literal text", "literal number"), "text", _split_part),
    "concat": Function(("text", "text"), "text", _of_values(texts.concatenate), repeats=True),
    "to_number": Function(("text",), "number", _to_number),
    "try_number": Function(("text",), "number", _try_number),
    # times
    "year": _part("year"),
    "month": _part("month"),
    "day": _part("day"),
    "day_of_year": _part("day_of_year"),
    "weekday": _part("weekday"),
    "hour": _part("hour"),
    "minute": _part("minute"),
    "second": _part("second"),
    "to_time": Function(("time",), "time", _get_first),
    "date": Function(("time",), "time", _of_values(_round_to_day)),
    "days_between": Function(("time", "time"), "number", _of_values(_count_days_between)),
    "seconds_between": Function(("time", "time"), "number", _of_values(times.count_seconds_between)),
}
