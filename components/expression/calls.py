"""Calls of functions in expressions: their arguments, of which some are literals."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from components.closest import suggest_name
from components.expression import texts
from components.expression.functions import FUNCTIONS, Function, Parameter, to_time
from components.expression.operands import ANY, NUMERIC, TEXT, TIME, Kind, describe_kinds
from components.expression.parser import make_error
from components.expression.parts import Context, Evaluate, Part

SURROGATE = re.compile("[\ud800-\udfff]")  # a half of a character, which isn't UTF-8
ACCEPTED: Mapping[Parameter, Collection[Kind]] = {
    "number": NUMERIC,
    "numeric": NUMERIC,
    "text": TEXT,
    "time": TIME,
    "any": ANY,
}


def build_call(
    context: Context, build: Callable[[ast.expr], Part], node: ast.expr, name: str, arguments: Sequence[ast.expr]
) -> Part:
    """Compiles a call of a function by its name. `build`: compiles an argument."""
    if name not in FUNCTIONS:
        raise make_error(context.text, f"calls the unknown function {name!r}. {suggest_name(name, FUNCTIONS)}")
    function = FUNCTIONS[name]
    if not function.takes(len(arguments)):
        fault = f"calls {name} with {len(arguments)} values instead of {function.needed}"
        raise make_error(context.text, fault)
    last = function.parameters[-1:]
    parameters = [*function.parameters, *last * len(arguments)][: len(arguments)]
    pairs = list(zip(parameters, arguments, strict=True))
    literals = [_read_literal(context, name, parameter, each) for parameter, each in pairs if parameter not in ACCEPTED]
    _check_literals(context, name, literals)
    parts = [build(each) for parameter, each in pairs if parameter in ACCEPTED]
    return call(context, node, f"`{name}`", function, parts, literals)


def call(
    context: Context, node: ast.expr, name: str, function: Function, parts: Sequence[Part], literals: Sequence[Any] = ()
) -> Part:
    """The call of a function. All of its parameters that aren't literals take the same."""
    parameter = function.parameters[0] if function.parameters else "any"
    for part in parts:
        if part.kind not in ACCEPTED[parameter] and part.kind != "unknown":
            context.fail(node, name, (part,), f"It needs {describe_kinds(ACCEPTED[parameter])}")
    kind, evaluates = _take_arguments(context, node, name, parameter, parts)
    kind, apply, show = function.result or kind, function.apply, context.show(node)
    return Part(
        node,
        kind,
        lambda operands: apply([each(operands) for each in evaluates], literals, show),
        function.may_overflow and kind == "number",
    )


def _take_arguments(
    context: Context, node: ast.expr, name: str, parameter: Parameter, parts: Sequence[Part]
) -> tuple[Kind, list[Evaluate]]:
    """The common kind of arguments, and the functions that compute them in it."""
    match parameter:
        case "time":
            return "time", [_take_time(context, part) for part in parts]
        case "any":  # the functions of numbers pass on what isn't finite
            kind = context.unify(node, name, parts)
            return kind, [context.convert(part, kind, checks=True) for part in parts]
        case "numeric":
            kind = context.find_number_kind(parts)
        case _:
            kind = "number" if parameter == "number" else "text"
    return kind, [context.convert(part, kind) for part in parts]


def _take_time(context: Context, part: Part) -> Evaluate:
    """A function that computes a part as times. A constant is read only once."""
    show, evaluate = context.show(part.node), part.evaluate
    if not isinstance(part.node, ast.Constant) or part.kind != "text":
        return lambda operands: to_time(evaluate(operands), show)
    constant = to_time(evaluate({}), show)
    for fault in constant.faults:
        raise make_error(context.text, f"has no time: {fault.describe(0)}")
    return lambda operands: constant


def _read_literal(context: Context, name: str, parameter: Parameter, node: ast.expr) -> Any:
    """The value of a literal argument: a text or a whole number."""
    is_negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    constant = node.operand if isinstance(node, ast.UnaryOp) and is_negative else node
    value = constant.value if isinstance(constant, ast.Constant) else None
    if parameter == "literal text" and isinstance(value, str) and not (is_negative or SURROGATE.search(value)):
        return value
    if parameter == "literal number" and isinstance(value, int) and not isinstance(value, bool):
        return -value if is_negative else value
    needed = "a text in quotes" if parameter == "literal text" else "a whole number"
    raise make_error(context.text, f"calls {name} with {context.parsed.show(node)} instead of {needed}")


def _check_literals(context: Context, name: str, literals: Sequence[Any]) -> None:
    if name == "matches" and (fault := texts.find_pattern_fault(literals[0])):
        raise make_error(context.text, f"has the regular expression {literals[0]!r}, which isn't valid: {fault}")
    if name in ("split_part", "replace") and not literals[0]:
        raise make_error(context.text, f"calls {name} with an empty text, which is everywhere")
    if any(isinstance(each, int) and abs(each) > np.iinfo(np.int32).max for each in literals):
        raise make_error(context.text, f"calls {name} with a number beyond 32 bits")
