"""Arithmetic expressions over columns, as text.

Python's parser makes a tree of the text. Only the operators and functions of this file are evaluated; the text is never
run as code.
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
from components.types import Block, DataError, Remedy, UserError

Operands: TypeAlias = Mapping[str, np.ndarray]
Evaluate: TypeAlias = Callable[[Operands], Any]  # returns a number or an array (rows,)

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
TOO_LONG = "is too long; split it into several columns that are expressions"
MAX_NODES = 600  # nodes of an expression's tree, the depth of which Python's parser limits
ALLOWED = f"+, -, *, /, **, parentheses, numbers, columns, and the functions {', '.join(FUNCTIONS)}"


class Parsed(NamedTuple):
    """A parsed expression.

    Attributes:
        columns: the names of its columns, in order of first occurrence.
        evaluate: computes the value of the expression from its columns.
    """

    columns: tuple[str, ...]
    evaluate: Evaluate


@dataclass(frozen=True)
class Expression:
    """Arithmetic over columns of single numbers, such as `(total_rooms - 1) / households`. It is computed in float64.

    The operators are +, -, *, / and **; the functions are abs, exp, log, log1p, max, min and sqrt. Column names with
    other characters than letters, digits and underscores need backticks. Anything else raises UserError.

    Attributes:
        text: the expression.
    """

    text: str

    def __post_init__(self) -> None:
        _parse(self.text)

    @property
    def columns(self) -> tuple[str, ...]:
        return _parse(self.text).columns

    def __call__(self, block: Block, *, allow_missing: bool = False) -> np.ndarray:
        """Computes the value in each row, float64 (rows, 1).

        Args:
            block: the rows.
            allow_missing: whether operands may be missing. The value is then NaN.

        Raises:
            DataError: a value isn't finite, or is too large. The message has the operands.
        """
        columns, evaluate = _parse(self.text)
        operands = {name: _operand(block, name, allow_missing=allow_missing) for name in columns}
        with np.errstate(all="ignore"):
            values = evaluate(operands)
        is_missing = functools.reduce(np.logical_or, map(np.isnan, operands.values()))
        invalid = ~is_missing & ~(np.abs(values) <= raw.LARGEST)
        if invalid.any():
            row = int(np.argmax(invalid))
            reason = " and ".join(f"{name} is {raw.format_value(operand[row])}" for name, operand in operands.items())
            raise DataError(
                f"{block.locate(row)}: `{self.text}` is {raw.format_value(values[row])}, where {reason}; "
                f"{raw.describe_range(raw.LARGEST)}",
                raw.CORRECT,
                raw.REMOVE_ROW,
                Remedy("limit an operand, as in `rooms / max(households, 1)`", "columns"),
            )
        return np.where(is_missing, np.nan, values)[:, None]


def _operand(block: Block, name: str, *, allow_missing: bool) -> np.ndarray:
    values = raw.read_numbers(block, name, allow_missing=allow_missing)
    if values.size != len(values):
        shape = values.shape[1:]
        raise DataError(f"column `{name}` of {block.origin} has rows of shape {shape}; expressions need single numbers")
    return values.reshape(-1).astype(np.float64)


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> Parsed:
    # For the parser, identifiers replace the names in backticks. Their prefix doesn't occur in the text.
    names: dict[str, str] = {}  # by identifier
    prefix = "_"
    while prefix in text:
        prefix += "_"
    identifiers = re.sub(r"`([^`]+)`", lambda match: _add_name(names, f"{prefix}{len(names)}", match[1]), text)
    try:
        tree = ast.parse(" ".join(identifiers.split()), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _error(f"is no valid expression: {getattr(error, 'msg', error)}", text) from error
    except (MemoryError, RecursionError) as error:
        raise _error(TOO_LONG, text) from error
    if "#" in identifiers:
        raise _error("contains #", text)
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise _error(TOO_LONG, text)
    columns: dict[str, None] = {}
    evaluate = _compile(tree, text, names, columns)
    if not columns:
        raise _error("has no column", text)
    return Parsed(tuple(columns), evaluate)


def _add_name(names: dict[str, str], identifier: str, name: str) -> str:
    names[identifier] = name
    return identifier


def _compile(node: ast.expr, text: str, names: Mapping[str, str], columns: dict[str, None]) -> Evaluate:
    """Converts a node of the tree to a function, and adds its columns to `columns`."""
    compile_child = functools.partial(_compile, text=text, names=names, columns=columns)
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and math.isfinite(value):
            number = np.float64(value)
            return lambda operands: number
        case ast.Name(id=identifier):
            name = names.get(identifier, identifier)
            columns[name] = None
            return lambda operands: operands[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _apply(np.negative, compile_child(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return compile_child(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
            return _apply(OPERATORS[type(operator)], compile_child(left), compile_child(right))
        case ast.Call(func=ast.Name(id=identifier), args=arguments, keywords=[]):
            return _call(identifier, [compile_child(argument) for argument in arguments], text)
    raise _error(f"contains {ast.unparse(node)}", text)


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
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return UserError(f"`expression` ({shown!r}) {fault}; allowed: {ALLOWED}")
