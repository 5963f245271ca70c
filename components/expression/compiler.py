"""Makes a function of operands from the tree of an expression, and checks the kinds of all parts."""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.expression import operators
from components.expression.calls import SURROGATE, build_call, call
from components.expression.functions import FUNCTIONS
from components.expression.operands import (
    BOOLEAN,
    MAX_INTEGER,
    NUMERIC,
    Kind,
    Operand,
    make_constant,
)
from components.expression.parser import WORDS, list_names, make_error, parse
from components.expression.parts import BINARY, COMPARE, Context, Part

COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
ALLOWED = (
    "columns, numbers, texts in quotes, true, false, null, parentheses, +, -, *, /, //, %, **, ==, !=, <, <=, >, >=, "
    "in, not in, and, or, not, `x if condition else y`, and functions"
)


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
    part = _Compiler(Context(text, parsed, exact), dict(zip(parsed.columns, kinds, strict=True))).build(parsed.tree)
    if not parsed.columns:
        raise make_error(text, "has no column")
    return part


@dataclass(frozen=True)
class _Compiler:
    context: Context
    kinds: Mapping[str, Kind]

    def build(self, node: ast.expr) -> Part:
        match node:
            case ast.Constant(value=value):
                return self.build_constant(node, value)
            case ast.Name(id=name) if name in WORDS:
                return self.build_constant(node, WORDS[name])
            case ast.Name(id=identifier):
                name = self.context.parsed.names.get(identifier, identifier)
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
                return build_call(self.context, self.build, node, name, arguments)
        raise make_error(self.context.text, f"contains {self.context.parsed.show(node)}; allowed: {ALLOWED}")

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
            raise make_error(self.context.text, f"contains {self.context.parsed.show(node)}; allowed: {ALLOWED}")
        constant = Operand(values)
        return Part(node, kind, lambda operands: constant)

    def build_unary(self, node: ast.UnaryOp, operand: Part) -> Part:
        if isinstance(node.op, ast.Not):
            evaluate = self.context.take(node, operand, BOOLEAN, "boolean")
            return Part(node, "boolean", lambda operands: operators.invert(evaluate(operands)))
        kind = self.context.find_number_kind([operand])
        evaluate = self.context.take(node, operand, NUMERIC, kind)
        if isinstance(node.op, ast.UAdd):
            return Part(node, kind, evaluate, operand.may_overflow)
        show = self.context.show(node)
        return Part(node, kind, lambda operands: operators.negate(evaluate(operands), kind, show), operand.may_overflow)

    def build_binary(self, node: ast.BinOp, symbol: str, left: Part, right: Part) -> Part:
        kinds = {left.kind, right.kind}
        if symbol == "+" and "text" in kinds:
            return self.build_concatenation(node, left, right)
        if not kinds <= NUMERIC | {"unknown"}:
            self.context.fail(node, f"`{symbol}`", (left, right), _suggest_arithmetic(symbol, kinds))
        kind = self.context.find_number_kind([left, right]) if symbol in operators.EXACT else "number"
        first, second = (self.context.take(node, part, NUMERIC, kind) for part in (left, right))
        if kind == "integer":
            show = self.context.show(node)
            return Part(
                node, kind, lambda operands: operators.compute_exactly(symbol, first(operands), second(operands), show)
            )
        result: Kind = "unknown" if symbol == "+" and "unknown" in kinds and not kinds & NUMERIC else kind
        compute = functools.partial(operators.compute, symbol)
        return Part(node, result, lambda operands: compute(first(operands), second(operands)), may_overflow=True)

    def build_concatenation(self, node: ast.BinOp, left: Part, right: Part) -> Part:
        if not {left.kind, right.kind} <= {"text", "unknown"}:
            self.context.fail(node, "`+`", (left, right), "Texts are joined with texts")
        return call(self.context, node, "`+`", FUNCTIONS["concat"], [left, right])

    def build_logical(self, node: ast.BoolOp, parts: Sequence[Part]) -> Part:
        combine = operators.conjoin if isinstance(node.op, ast.And) else operators.disjoin
        evaluates = [self.context.take(node, part, BOOLEAN, "boolean") for part in parts]
        return Part(node, "boolean", lambda operands: functools.reduce(combine, (each(operands) for each in evaluates)))

    def build_comparisons(self, node: ast.Compare, nodes: Sequence[ast.expr], ops: Sequence[ast.cmpop]) -> Part:
        """Comparisons of neighbors, all of which must be true. Each operand is computed once."""
        if isinstance(ops[-1], ast.In | ast.NotIn) and len(ops) == 1:
            return self.build_membership(node, nodes[0], nodes[1], is_negated=isinstance(ops[-1], ast.NotIn))
        unknown = next((op for op in ops if type(op) not in COMPARISONS), None)
        if unknown is not None:
            remedy = "write is_null(x) for a missing value" if isinstance(unknown, ast.Is | ast.IsNot) else ALLOWED
            raise make_error(self.context.text, f"contains {self.context.parsed.show(node)}; {remedy}")
        parts = [self.build(each) for each in nodes]
        for pair in itertools.pairwise(parts):
            self.context.check_null(node, pair[0])
            self.context.check_null(node, pair[1])
            self.context.unify(node, COMPARE, pair)
        symbols = [COMPARISONS[type(op)] for op in ops]
        evaluates = [self.context.check(part) for part in parts]

        def evaluate(operands: Mapping[str, Operand]) -> Operand:
            values = [each(operands) for each in evaluates]
            pairs = zip(symbols, itertools.pairwise(values), strict=True)
            return functools.reduce(operators.conjoin, (operators.compare(symbol, *pair) for symbol, pair in pairs))

        return Part(node, "boolean", evaluate)

    def build_membership(self, node: ast.Compare, left: ast.expr, right: ast.expr, *, is_negated: bool) -> Part:
        if not isinstance(right, ast.List | ast.Tuple):
            raise make_error(
                self.context.text,
                f"needs a list of constants after `in`, such as [1, 2], got {self.context.parsed.show(right)}",
            )
        part, values = self.build(left), [self.build(each) for each in right.elts]
        for value in values:
            self.context.check_null(node, value)
            if set(list_names(value.node)) - WORDS.keys():
                raise make_error(
                    self.context.text,
                    f"needs constants in the list after `in`, got {self.context.parsed.show(value.node)}",
                )
        self.context.unify(node, "`in`", [part, *values])
        constants = [self.compute_constant(value) for value in values]
        evaluate = self.context.check(part)

        def contains(operands: Mapping[str, Operand]) -> Operand:
            found = operators.is_in(evaluate(operands), constants)
            return operators.invert(found) if is_negated else found

        return Part(node, "boolean", contains)

    def compute_constant(self, part: Part) -> Any:
        """The value of a part without columns."""
        with np.errstate(all="ignore"):
            operand = self.context.check(part)({})
        reasons = [fault.describe(0) for fault in operand.faults if np.any(fault.rows)]
        if operand.valid_mask is not None and not operand.valid_mask:
            reasons.append(f"{self.context.parsed.show(part.node)} is missing")
        if reasons:
            raise make_error(self.context.text, f"needs constants in the list after `in`, but {reasons[0]}")
        return operand.values

    def build_choice(self, node: ast.IfExp, test: Part, body: Part, other: Part) -> Part:
        kind = self.context.unify(node, "`if`", (body, other))
        condition = self.context.take(node, test, BOOLEAN, "boolean")
        first, second = self.context.convert(body, kind), self.context.convert(other, kind)
        may_overflow = body.may_overflow or other.may_overflow
        return Part(
            node,
            kind,
            lambda operands: operators.choose(condition(operands), first(operands), second(operands)),
            may_overflow,
        )


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
