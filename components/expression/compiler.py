"""Makes a function of operands from the tree of an expression, and checks the kinds of all parts."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from components.closest import suggest_name
from components.expression import operators, texts
from components.expression.functions import FUNCTIONS, Function, Parameter, Show, to_time
from components.expression.operands import (
    ANY,
    BOOLEAN,
    KINDS,
    MAX_INTEGER,
    NUMERIC,
    TEXT,
    TIME,
    Kind,
    Operand,
    describe_kinds,
    make_constant,
)
from components.expression.parser import WORDS, Parsed, list_names, make_error, parse
from components.types import UserError

Evaluate: TypeAlias = Callable[[Mapping[str, Operand]], Operand]

BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
OPERATORS: Mapping[type, str] = {
    **{kind: f"`{symbol}`" for kind, symbol in BINARY.items()},
    ast.Not: "`not`",
    ast.And: "`and`",
    ast.Or: "`or`",
    ast.USub: "`-`",
    ast.UAdd: "`+`",
}
COMPARE = "a comparison"
SURROGATE = re.compile("[\ud800-\udfff]")  # a half of a character, which isn't UTF-8
ACCEPTED: Mapping[Parameter, Collection[Kind]] = {
    "number": NUMERIC,
    "numeric": NUMERIC,
    "text": TEXT,
    "time": TIME,
    "any": ANY,
}
ALLOWED = (
    "columns, numbers, texts in quotes, true, false, null, parentheses, +, -, *, /, //, %, **, ==, !=, <, <=, >, >=, "
    "in, not in, and, or, not, `x if condition else y`, and functions"
)


class Part(NamedTuple):
    """A part of an expression.

    Attributes:
        node: its tree.
        kind: the kind of its values.
        evaluate: computes its values from those of the columns.
        may_overflow: whether its numbers may be infinite or NaN by a computation.
    """

    node: ast.expr
    kind: Kind
    evaluate: Evaluate
    may_overflow: bool = False


@functools.lru_cache(maxsize=256)
def compile_expression(text: str, kinds: tuple[Kind, ...], *, exact: bool) -> Part:
    """Compiles an expression.

    Args:
        text: the expression.
        kinds: the kinds of its columns, in the order of `Parsed.columns`.
        exact: whether arithmetic with whole numbers is exact, in int64; otherwise it is in float64.

    Raises:
        UserError: the expression has something that isn't allowed, or values of the wrong kind.
    """
    parsed = parse(text)
    return _Compiler(text, parsed, dict(zip(parsed.columns, kinds, strict=True)), exact).build(parsed.tree)


@dataclass(frozen=True)
class _Compiler:
    text: str
    parsed: Parsed
    kinds: Mapping[str, Kind]
    exact: bool

    def build(self, node: ast.expr) -> Part:
        match node:
            case ast.Constant(value=value):
                return self.build_constant(node, value)
            case ast.Name(id=name) if name in WORDS:
                return self.build_constant(node, WORDS[name])
            case ast.Name(id=identifier):
                name = self.parsed.names.get(identifier, identifier)
                return Part(node, self.kinds[name], lambda operands: operands[name])
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
                return self.build_unary(node, self.build(operand))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in BINARY:
                return self.build_binary(node, BINARY[type(operator)], self.build(left), self.build(right))
            case ast.BoolOp(values=values):
                return self.build_logical(node, [self.build(value) for value in values])
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.build_comparisons(node, [left, *comparators], ops)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.build_choice(node, self.build(test), self.build(body), self.build(orelse))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.build_call(node, self.find_function(name), name, arguments)
        raise make_error(self.text, f"contains {self.parsed.show(node)}; allowed: {ALLOWED}")

    def build_constant(self, node: ast.expr, value: object) -> Part:
        kind: Kind
        values: Any
        if value is None:
            missing = Operand(np.float64(np.nan), np.asarray(np.False_))
            return Part(node, "missing", lambda operands: missing)
        if isinstance(value, str) and not SURROGATE.search(value):
            kind, values = "text", make_constant(value.encode())
        elif isinstance(value, bool):
            kind, values = "boolean", np.bool_(value)
        elif isinstance(value, int) and value <= MAX_INTEGER:
            kind, values = "integer", np.int64(value)
        elif isinstance(value, int | float) and math.isfinite(number := _to_float(value)):
            kind, values = "number", np.float64(number)
        else:
            raise make_error(self.text, f"contains {self.parsed.show(node)}; allowed: {ALLOWED}")
        constant = Operand(values)
        return Part(node, kind, lambda operands: constant)

    def build_unary(self, node: ast.UnaryOp, operand: Part) -> Part:
        if isinstance(node.op, ast.Not):
            evaluate = self.take(node, operand, BOOLEAN, "boolean")
            return Part(node, "boolean", lambda operands: operators.invert(evaluate(operands)))
        kind = self.find_number_kind([operand])
        evaluate = self.take(node, operand, NUMERIC, kind)
        if isinstance(node.op, ast.UAdd):
            return Part(node, kind, evaluate, operand.may_overflow)
        show = self.show(node)
        return Part(node, kind, lambda operands: operators.negate(evaluate(operands), kind, show), operand.may_overflow)

    def build_binary(self, node: ast.BinOp, symbol: str, left: Part, right: Part) -> Part:
        kinds = {left.kind, right.kind}
        if symbol == "+" and "text" in kinds:
            return self.build_concatenation(node, left, right)
        if not kinds <= NUMERIC | {"unknown"}:
            self.fail(node, f"`{symbol}`", (left, right), _suggest_arithmetic(symbol, kinds))
        kind = self.find_number_kind([left, right]) if symbol in operators.EXACT else "number"
        first, second = (self.take(node, part, NUMERIC, kind) for part in (left, right))
        if kind == "integer":
            show = self.show(node)
            return Part(
                node, kind, lambda operands: operators.compute_exactly(symbol, first(operands), second(operands), show)
            )
        result: Kind = "unknown" if symbol == "+" and "unknown" in kinds and not kinds & NUMERIC else kind
        compute = functools.partial(operators.compute, symbol)
        return Part(node, result, lambda operands: compute(first(operands), second(operands)), may_overflow=True)

    def build_concatenation(self, node: ast.BinOp, left: Part, right: Part) -> Part:
        if not {left.kind, right.kind} <= {"text", "unknown"}:
            self.fail(node, "`+`", (left, right), "Texts are joined with texts")
        return self.call(node, "`+`", FUNCTIONS["concat"], [left, right])

    def build_logical(self, node: ast.BoolOp, parts: Sequence[Part]) -> Part:
        combine = operators.conjoin if isinstance(node.op, ast.And) else operators.disjoin
        evaluates = [self.take(node, part, BOOLEAN, "boolean") for part in parts]
        return Part(node, "boolean", lambda operands: functools.reduce(combine, (each(operands) for each in evaluates)))

    def build_comparisons(self, node: ast.Compare, nodes: Sequence[ast.expr], ops: Sequence[ast.cmpop]) -> Part:
        """Comparisons of neighbors, all of which must be true. Each operand is computed once."""
        if isinstance(ops[-1], ast.In | ast.NotIn) and len(ops) == 1:
            return self.build_membership(node, nodes[0], nodes[1], is_negated=isinstance(ops[-1], ast.NotIn))
        unknown = next((op for op in ops if type(op) not in COMPARISONS), None)
        if unknown is not None:
            remedy = "write is_null(x) for a missing value" if isinstance(unknown, ast.Is | ast.IsNot) else ALLOWED
            raise make_error(self.text, f"contains {self.parsed.show(node)}; {remedy}")
        parts = [self.build(each) for each in nodes]
        for left, right in itertools.pairwise(parts):
            self.check_comparable(node, left, right)
        symbols = [COMPARISONS[type(op)] for op in ops]
        evaluates = [self.check(part) for part in parts]

        def evaluate(operands: Mapping[str, Operand]) -> Operand:
            values = [each(operands) for each in evaluates]
            pairs = zip(symbols, itertools.pairwise(values), strict=True)
            return functools.reduce(operators.conjoin, (operators.compare(symbol, *pair) for symbol, pair in pairs))

        return Part(node, "boolean", evaluate)

    def build_membership(self, node: ast.Compare, left: ast.expr, right: ast.expr, *, is_negated: bool) -> Part:
        if not isinstance(right, ast.List | ast.Tuple):
            raise make_error(
                self.text, f"needs a list of constants after `in`, such as [1, 2], got {self.parsed.show(right)}"
            )
        part, values = self.build(left), [self.build(each) for each in right.elts]
        for value in values:
            self.check_comparable(node, part, value)
            if set(list_names(value.node)) - WORDS.keys():
                raise make_error(
                    self.text, f"needs constants in the list after `in`, got {self.parsed.show(value.node)}"
                )
        constants = [value.evaluate({}).values for value in values]
        evaluate = self.check(part)

        def contains(operands: Mapping[str, Operand]) -> Operand:
            found = operators.is_in(evaluate(operands), constants)
            return operators.invert(found) if is_negated else found

        return Part(node, "boolean", contains)

    def build_choice(self, node: ast.IfExp, test: Part, body: Part, other: Part) -> Part:
        kind = self.unify(node, "`if`", (body, other))
        condition = self.take(node, test, BOOLEAN, "boolean")
        first, second = self.convert(body, kind), self.convert(other, kind)
        may_overflow = body.may_overflow or other.may_overflow
        return Part(
            node,
            kind,
            lambda operands: operators.choose(condition(operands), first(operands), second(operands)),
            may_overflow,
        )

    def find_function(self, name: str) -> Function:
        if name not in FUNCTIONS:
            raise make_error(self.text, f"calls the unknown function {name!r}. {suggest_name(name, FUNCTIONS)}")
        return FUNCTIONS[name]

    def build_call(self, node: ast.expr, function: Function, name: str, arguments: Sequence[ast.expr]) -> Part:
        if not function.takes(len(arguments)):
            fault = f"calls {name} with {len(arguments)} values instead of {function.needed}"
            raise make_error(self.text, fault)
        last = function.parameters[-1:]
        parameters = [*function.parameters, *last * len(arguments)][: len(arguments)]
        pairs = list(zip(parameters, arguments, strict=True))
        literals = [self.read_literal(name, parameter, each) for parameter, each in pairs if parameter not in ACCEPTED]
        self.check_literals(name, literals)
        parts = [self.build(each) for parameter, each in pairs if parameter in ACCEPTED]
        return self.call(node, f"`{name}`", function, parts, literals)

    def call(
        self, node: ast.expr, name: str, function: Function, parts: Sequence[Part], literals: Sequence[Any] = ()
    ) -> Part:
        """The call of a function. All of its parameters that aren't literals take the same."""
        parameter = function.parameters[0] if function.parameters else "any"
        for part in parts:
            if part.kind not in ACCEPTED[parameter] and part.kind != "unknown":
                self.fail(node, name, (part,), f"It needs {describe_kinds(ACCEPTED[parameter])}")
        kind, evaluates = self.take_arguments(node, name, parameter, parts)
        kind, apply, show = function.result or kind, function.apply, self.show(node)
        return Part(
            node,
            kind,
            lambda operands: apply([each(operands) for each in evaluates], literals, show),
            function.may_overflow and kind == "number",
        )

    def take_arguments(
        self, node: ast.expr, name: str, parameter: Parameter, parts: Sequence[Part]
    ) -> tuple[Kind, list[Evaluate]]:
        """The common kind of arguments, and the functions that compute them in it."""
        match parameter:
            case "time":
                return "time", [self.take_time(part) for part in parts]
            case "any":  # the functions of numbers pass on what isn't finite
                kind = self.unify(node, name, parts)
                return kind, [self.convert(part, kind, checks=True) for part in parts]
            case "numeric":
                kind = self.find_number_kind(parts)
            case _:
                kind = "number" if parameter == "number" else "text"
        return kind, [self.convert(part, kind) for part in parts]

    def take_time(self, part: Part) -> Evaluate:
        """A function that computes a part as times. A constant is read only once."""
        show, evaluate = self.show(part.node), part.evaluate
        if not isinstance(part.node, ast.Constant) or part.kind != "text":
            return lambda operands: to_time(evaluate(operands), show)
        constant = to_time(evaluate({}), show)
        for fault in constant.faults:
            raise make_error(self.text, f"has no time: {fault.describe(0)}")
        return lambda operands: constant

    def read_literal(self, name: str, parameter: Parameter, node: ast.expr) -> Any:
        """The value of a literal argument: a text or a whole number."""
        is_negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        constant = node.operand if isinstance(node, ast.UnaryOp) and is_negative else node
        value = constant.value if isinstance(constant, ast.Constant) else None
        if parameter == "literal text" and isinstance(value, str) and not is_negative:
            return value
        if parameter == "literal number" and isinstance(value, int) and not isinstance(value, bool):
            return -value if is_negative else value
        needed = "a text in quotes" if parameter == "literal text" else "a whole number"
        raise make_error(self.text, f"calls {name} with {self.parsed.show(node)} instead of {needed}")

    def check_literals(self, name: str, literals: Sequence[Any]) -> None:
        if name == "matches" and (fault := texts.find_pattern_fault(literals[0])):
            raise make_error(self.text, f"has the regular expression {literals[0]!r}, which isn't valid: {fault}")
        if name in ("split_part", "replace") and not literals[0]:
            raise make_error(self.text, f"calls {name} with an empty text, which is everywhere")
        if any(isinstance(each, int) and abs(each) > np.iinfo(np.int32).max for each in literals):
            raise make_error(self.text, f"calls {name} with a number beyond 32 bits")

    def find_number_kind(self, parts: Iterable[Part]) -> Kind:
        """The kind in which numbers are computed."""
        is_whole = all(part.kind in ("integer", "boolean") for part in parts)
        return "integer" if self.exact and is_whole else "number"

    def take(self, node: ast.expr, part: Part, accepted: Collection[Kind], kind: Kind) -> Evaluate:
        """A function that computes a part in a kind. Raises UserError if it is of a kind that isn't accepted."""
        if part.kind not in accepted and part.kind != "unknown":
            hint = ". Compare it, as in `x != 0`" if kind == "boolean" and part.kind in NUMERIC else ""
            name = OPERATORS.get(type(getattr(node, "op", None)), "`if`")
            self.fail(node, name, (part,), f"It needs {describe_kinds(accepted)}{hint}")
        return self.convert(part, kind)

    def convert(self, part: Part, kind: Kind, *, checks: bool = False) -> Evaluate:
        evaluate, own = (self.check(part) if checks else part.evaluate), part.kind
        if own == kind or "unknown" in (own, kind):
            return evaluate
        return lambda operands: operators.convert(evaluate(operands), own, kind)

    def check(self, part: Part) -> Evaluate:
        """A function that computes a part where what isn't finite would be lost, as in comparisons."""
        if not part.may_overflow or part.kind != "number":
            return part.evaluate
        show = self.show(part.node)
        return lambda operands: operators.check_finite(part.evaluate(operands), show)

    def check_comparable(self, node: ast.expr, left: Part, right: Part) -> None:
        if "missing" in (left.kind, right.kind):
            raise make_error(
                self.text, f"compares with null in {self.parsed.show(node)}, which is always missing; write is_null(x)"
            )
        self.unify(node, COMPARE, (left, right))

    def unify(self, node: ast.expr, name: str, parts: Sequence[Part]) -> Kind:
        """The common kind of parts. Raises UserError if they have none."""
        kinds = {part.kind for part in parts} - {"unknown", "missing"}
        if len(kinds) > 1 and not kinds <= NUMERIC:
            self.fail(node, name, parts, _suggest_conversion(parts, self.parsed))
        if not kinds:
            return "unknown" if any(part.kind == "unknown" for part in parts) else "missing"
        if len(kinds) == 1:
            return next(iter(kinds))
        return "number" if "number" in kinds else "integer"

    def fail(self, node: ast.expr, name: str, parts: Sequence[Part], hint: str) -> NoReturn:
        """Raises the error about the kinds of the parts to which an operator or a function, `name`, is applied."""
        listed = [f"{KINDS.get(part.kind, 'values')} ({self.parsed.show(part.node)})" for part in parts]
        fault = f"compares {' with '.join(listed)}" if name == COMPARE else f"applies {name} to {' and '.join(listed)}"
        place = "" if node is self.parsed.tree else f", in {self.parsed.show(node)}"
        raise UserError(f"{make_error(self.text, fault)}{place}. {hint}.")

    def show(self, node: ast.expr) -> Show:
        return functools.partial(self.parsed.show, node)


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _suggest_arithmetic(symbol: str, kinds: Collection[Kind]) -> str:
    if "time" in kinds and symbol == "-":
        return "days_between(start, stop) and seconds_between(start, stop) are the distances of times"
    if "text" in kinds:
        return "to_number(x) is the number in a text"
    return "It needs numbers"


def _suggest_conversion(parts: Sequence[Part], parsed: Parsed) -> str:
    text = next((part for part in parts if part.kind == "text"), None)
    if text is None:
        return "They must be of one type"
    if any(part.kind == "time" for part in parts):
        return f"to_time({parsed.read(text.node)}) is the time in a text"
    return f"to_number({parsed.read(text.node)}) is the number in a text"
