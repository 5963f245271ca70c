"""Arithmetic over columns, as text: parsed into a tree of which only what stands here is known, never run as code."""

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
from components.layer.table import choose
from components.types import Block, DataError, UserError

Operands: TypeAlias = Mapping[str, np.ndarray]
Evaluate: TypeAlias = Callable[[Operands], Any]  # a number, or an array of one a row

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
LONGEST = 600  # nodes of the tree; Python bounds how deep one may be nested
KNOWN = f"+, -, *, /, **, parentheses, numbers, columns, and the functions {', '.join(FUNCTIONS)}"


class Parsed(NamedTuple):
    """An expression as a function of its operands."""

    columns: tuple[str, ...]  # that it names, in order
    evaluate: Evaluate


@dataclass(frozen=True)
class Expression:
    """Arithmetic over columns of single numbers, `(total_rooms - 1) / households`; in float64.

    It knows +, -, *, /, **, and abs, exp, log, log1p, max, min and sqrt. A name that is no word of letters, digits
    and underscores stands in backticks. Raises UserError for anything else.
    """

    text: str

    def __post_init__(self) -> None:
        _parsed(self.text)

    @property
    def columns(self) -> tuple[str, ...]:
        return _parsed(self.text).columns

    def __call__(self, block: Block, *, gaps: bool = False) -> np.ndarray:
        """Its value for each row, (rows, 1); with `gaps` NaN where an operand is missing.

        Raises DataError where the value isn't finite, with the operands.
        """
        columns, evaluate = _parsed(self.text)
        operands = {name: _operand(block, name, gaps=gaps) for name in columns}
        with np.errstate(all="ignore"):
            values = evaluate(operands)
        gap = functools.reduce(np.logical_or, map(np.isnan, operands.values()))
        bad = ~gap & ~(np.abs(values) <= raw.LARGEST)
        if bad.any():
            row = int(np.argmax(bad))
            given = " and ".join(f"{name} is {raw.format_value(operand[row])}" for name, operand in operands.items())
            raise DataError(
                f"{block.where(row)}: `{self.text}` is {raw.format_value(values[row])}, where {given}; {raw.FINITE}, "
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
def _parsed(text: str) -> Parsed:
    names: dict[str, str] = {}  # what stands in backticks, by the identifier that takes its place in the parser
    prefix = "_"
    while prefix in text:
        prefix += "_"
    plain = re.sub(r"`([^`]+)`", lambda found: _place(names, f"{prefix}{len(names)}", found[1]), text)
    try:
        tree = ast.parse(" ".join(plain.split()), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _refusal(f"is no arithmetic: {getattr(error, 'msg', error)}", text) from error
    except (MemoryError, RecursionError) as error:
        raise _refusal(TOO_LONG, text) from error
    if "#" in plain:
        raise _refusal("holds #", text)
    if sum(1 for _ in ast.walk(tree)) > LONGEST:
        raise _refusal(TOO_LONG, text)
    columns: dict[str, None] = {}
    evaluate = _compiled(tree, text, names, columns)
    if not columns:
        raise _refusal("names no column", text)
    return Parsed(tuple(columns), evaluate)


def _place(names: dict[str, str], identifier: str, name: str) -> str:
    names[identifier] = name
    return identifier


def _compiled(node: ast.expr, text: str, names: Mapping[str, str], columns: dict[str, None]) -> Evaluate:
    """A part of the tree as a function; the columns that it names are added."""
    part = functools.partial(_compiled, text=text, names=names, columns=columns)
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and math.isfinite(value):
            number = np.float64(value)
            return lambda operands: number
        case ast.Name(id=identifier):
            name = names.get(identifier, identifier)
            columns[name] = None
            return lambda operands: operands[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _applied(np.negative, part(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return part(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
            return _applied(OPERATORS[type(operator)], part(left), part(right))
        case ast.Call(func=ast.Name(id=identifier), args=arguments, keywords=[]):
            return _called(identifier, [part(argument) for argument in arguments], text)
    raise _refusal(f"holds {ast.unparse(node)}", text)


def _called(name: str, arguments: list[Evaluate], text: str) -> Evaluate:
    function = choose("function", FUNCTIONS, name)
    if function.nin == 1 and len(arguments) != 1:
        raise _refusal(f"calls {name} with {len(arguments)} values instead of one", text)
    if function.nin == 2 and len(arguments) < 2:
        raise _refusal(f"calls {name} with {len(arguments)} values instead of two or more", text)
    if function.nin == 1:
        return _applied(function, *arguments)
    return functools.reduce(functools.partial(_applied, function), arguments)


def _applied(function: np.ufunc, *arguments: Evaluate) -> Evaluate:
    return lambda operands: function(*(argument(operands) for argument in arguments))


def _refusal(fault: str, text: str) -> UserError:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return UserError(f"`expression` ({shown!r}) {fault}; allowed: {KNOWN}")
