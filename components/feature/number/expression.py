"""Arithmetic over columns, given as text.

The text is parsed into a tree. Only the operators and functions of this file are evaluated; nothing runs as code.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.feature.base import raw
from components.layer.table import get_entry
from components.types import Block, DataError, UserError

Operands: TypeAlias = Mapping[str, np.ndarray]
Evaluate: TypeAlias = Callable[[Operands], Any]  # returns a number, or an array (rows,)

OPERATORS: Mapping[type[ast.operator], np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
FUNCTIONS: Mapping[str, np.ufunc] = {
    "abs": np.absolute,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "max": np.maximum,
    "min": np.minimum,
    "sqrt": np.sqrt,
}
TOO_LONG = "is too long: let it read columns that are expressions themselves"
LONGEST = 600  # nodes of the tree; Python's parser limits its depth
KNOWN = f"+, -, *, /, **, parentheses, numbers, columns, and the functions {', '.join(FUNCTIONS)}"


class Parsed(NamedTuple):
    """An expression as a function of its operands.

    Attributes:
        columns: the columns that it names, in order.
        evaluate: the function.
    """

    columns: tuple[str, ...]
    evaluate: Evaluate


@dataclass(frozen=True)
class Expression:
    """Arithmetic over columns of single numbers in float64, as `(total_rooms - 1) / households`.

    Operators are +, -, *, / and **; functions are abs, exp, log, log1p, max, min and sqrt. A name with other
    characters than letters, digits and underscores stands in backticks. Raises UserError for anything else.

    Attributes:
        text: the expression.
    """

    text: str

    def __post_init__(self) -> None:
        _parse(self.text)

    @property
    def columns(self) -> tuple[str, ...]:
        return _parse(self.text).columns

    def __call__(self, block: Block, *, gaps: bool = False) -> np.ndarray:
        """The value in each row, (rows, 1).

        Args:
            block: the rows.
            gaps: whether operands may be missing; the value is NaN then.

        Raises:
            DataError: a value isn't finite; the message has its operands.
        """
        columns, evaluate = _parse(self.text)
        operands = {name: _operand(block, name, gaps=gaps) for name in columns}
        with np.errstate(all="ignore"):
            values = evaluate(operands)
        gap = functools.reduce(np.logical_or, map(np.isnan, operands.values()))
        bad = ~gap & ~(np.abs(values) <= raw.LARGEST)
        if bad.any():
            row = int(np.argmax(bad))
            given = " and ".join(f"{name} is {raw.format_value(operand[row])}" for name, operand in operands.items())
            raise DataError(
                f"{block.locate(row)}: `{self.text}` is {raw.format_value(values[row])}, where {given}; {raw.FINITE}, "
                "or guard the expression, as `max(households, 1)` does"
            )
        return np.where(gap, np.nan, values)[:, None]


def _operand(block: Block, name: str, *, gaps: bool) -> np.ndarray:
    values = raw.read_numbers(block, name, gaps=gaps)
    if values.size != len(values):
        shape = values.shape[1:]
        raise DataError(f"column `{name}` of {block.origin} has rows of shape {shape}; arithmetic takes single numbers")
    return values.reshape(-1).astype(np.float64)


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> Parsed:
    names: dict[str, str] = {}  # names in backticks, by the identifier that replaces them for the parser
    prefix = "_"
    while prefix in text:
        prefix += "_"
    identifiers = re.sub(r"`([^`]+)`", lambda found: _add_name(names, f"{prefix}{len(names)}", found[1]), text)
    try:
        tree = ast.parse(" ".join(identifiers.split()), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _error(f"is no arithmetic: {getattr(error, 'msg', error)}", text) from error
    except (MemoryError, RecursionError) as error:
        raise _error(TOO_LONG, text) from error
    if "#" in identifiers:
        raise _error("holds #", text)
    if sum(1 for _ in ast.walk(tree)) > LONGEST:
        raise _error(TOO_LONG, text)
    columns: dict[str, None] = {}
    evaluate = _compile(tree, text, names, columns)
    if not columns:
        raise _error("names no column", text)
    return Parsed(tuple(columns), evaluate)


def _add_name(names: dict[str, str], identifier: str, name: str) -> str:
    names[identifier] = name
    return identifier


def _compile(node: ast.expr, text: str, names: Mapping[str, str], columns: dict[str, None]) -> Evaluate:
    """A part of the tree as a function. It adds the columns that it names to `columns`."""
    part = functools.partial(_compile, text=text, names=names, columns=columns)
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and math.isfinite(value):
            number = np.float64(value)
            return lambda operands: number
        case ast.Name(id=identifier):
            name = names.get(identifier, identifier)
            columns[name] = None
            return lambda operands: operands[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _apply(np.negative, part(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return part(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
            return _apply(OPERATORS[type(operator)], part(left), part(right))
        case ast.Call(func=ast.Name(id=identifier), args=arguments, keywords=[]):
            return _call(identifier, [part(argument) for argument in arguments], text)
    raise _error(f"holds {ast.unparse(node)}", text)


def _call(name: str, arguments: list[Evaluate], text: str) -> Evaluate:
    function = get_entry("function", FUNCTIONS, name)
    if function.nin == 1 and len(arguments) != 1:
        raise _error(f"calls {name} with {len(arguments)} values instead of one", text)
    if function.nin == 2 and len(arguments) < 2:
        raise _error(f"calls {name} with {len(arguments)} values instead of two or more", text)
    if function.nin == 1:
        return _apply(function, *arguments)
    return functools.reduce(functools.partial(_apply, function), arguments)


def _apply(function: np.ufunc, *arguments: Evaluate) -> Evaluate:
    return lambda operands: function(*(argument(operands) for argument in arguments))


def _error(fault: str, text: str) -> UserError:
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return UserError(f"`expression` ({short!r}) {fault}; allowed: {KNOWN}")
