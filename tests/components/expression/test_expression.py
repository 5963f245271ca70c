"""Expressions over columns: values as Python has them in each row, missing values as SQL has them, and errors."""

import ast
import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.expression.expression import Expression
from components.expression.operands import Kind
from components.types import Block, DataError, Strings, UserError

ROWS: Mapping[str, list[Any]] = {
    "i": [3, -7, 0, 2**40, None, 1],
    "j": [2, 0, -3, 5, 4, None],
    "x": [0.5, -2.5, None, 1e6, 3.0, -0.0],
    "flag": [True, False, None, True, False, None],
    "s": ["Ab ", "é,x", "", None, " b,a,b", "zz"],
    "kind": ["a", "b", "a", "b", "a", None],
}


def pack(texts: list[Any]) -> Strings:
    return Strings.from_bytes([(text or "").encode() for text in texts])


def make_block() -> Block:
    columns = {
        "i": np.array([each or 0 for each in ROWS["i"]]),
        "j": np.array([each or 0 for each in ROWS["j"]], np.int8),
        "x": np.array([math.nan if each is None else each for each in ROWS["x"]], np.float32),
        "flag": np.array([bool(each) for each in ROWS["flag"]]),
        "s": pack(ROWS["s"]),
        "kind": pack(["a", "b", ""])._replace(indices=np.array([0, 1, 0, 1, 0, 2], np.int32)),
    }
    valid = {name: np.array([each is not None for each in values]) for name, values in ROWS.items() if name != "x"}
    return Block(columns, valid, origin="x.csv", first_row=5)


BLOCK = make_block()


def evaluate(text: str, block: Block = BLOCK) -> list[Any]:
    """The values in each row, None where a value is missing."""
    _, result = Expression(text).evaluate(block)
    assert not result.faults
    values = result.values.tolist()
    valid = [True] * len(values) if result.valid_mask is None else result.valid_mask.tolist()
    return [value if is_valid else None for value, is_valid in zip(values, valid, strict=True)]


TYPES: Mapping[str, Kind] = {
    "i": "integer",
    "j": "integer",
    "x": "number",
    "flag": "boolean",
    "s": "text",
    "kind": "text",
}
OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: float(base) ** float(exponent),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "min": min,
    "max": max,
    **{each.__name__: lambda x, each=each: type(x)(each(x)) for each in (math.floor, math.ceil, round)},
    "sqrt": math.sqrt,
    "lower": str.lower,
    "upper": str.upper,
    "strip": str.strip,
    "length": len,
    "concat": lambda *texts: "".join(texts),
    "contains": lambda text, part: part in text,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "replace": str.replace,
    "substring": lambda text, start, stop=None: text[start:stop],
    "split_part": lambda text, separator, at: dict(enumerate(text.split(separator))).get(at),
}


def run(node: ast.expr, row: Mapping[str, Any]) -> Any:
    """An expression in one row, by Python's operators: None is a missing value."""
    value = run_node(node, row)
    return float(value) if type(value) is int and is_number(ast.unparse(node)) else value


@functools.cache
def is_number(text: str) -> bool:
    """Whether whole numbers are floats in an expression, as in `i if flag else x`."""
    try:
        return Expression(text).find_type(TYPES) == "number"
    except UserError:  # it has no column
        return False


def run_node(node: ast.expr, row: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id="null"):
            return None
        case ast.Name(id=name):
            return row[name]
        case ast.List(elts=elements):
            return [run(each, row) for each in elements]
        case ast.UnaryOp(op=op, operand=operand):
            value = run(operand, row)
            return call(operator.not_ if isinstance(op, ast.Not) else operator.neg, value)
        case ast.BinOp(left=left, op=op, right=right):
            return call(OPERATORS[type(op)], run(left, row), run(right, row))
        case ast.BoolOp(op=op, values=values):
            return decide((run(each, row) for each in values), isinstance(op, ast.Or))
        case ast.Compare(left=left, ops=ops, comparators=others):
            nodes = [left, *others]
            pairs = zip(ops, nodes[:-1], nodes[1:], strict=True)
            return decide((call(OPERATORS[type(op)], run(a, row), run(b, row)) for op, a, b in pairs), False)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            condition = run(test, row)
            return None if condition is None else run(body if condition else orelse, row)
        case ast.Call(func=ast.Name(id="is_null"), args=[argument]):
            return run(argument, row) is None
        case ast.Call(func=ast.Name(id="coalesce"), args=arguments):
            return next((value for each in arguments if (value := run(each, row)) is not None), None)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return call(FUNCTIONS[name], *(run(each, row) for each in arguments))
    raise AssertionError(ast.dump(node))


def call(function: Callable[..., Any], *values: Any) -> Any:
    result = None if any(value is None for value in values) else function(*values)
    if isinstance(result, int) and not -(2**63) <= result < 2**63:
        raise OverflowError
    return result


def decide(values: Any, decisive: bool) -> bool | None:
    """`or` if True is decisive, else `and`. Values after a decisive one aren't computed."""
    result: bool | None = not decisive
    for value in values:
        if value is decisive:
            return decisive
        result = None if value is None else result
    return result


def apply(template: str, *arguments: Any) -> Any:
    """Expressions of a template."""
    return st.builds(template.format, *arguments)


def integers(depth: int) -> Any:
    leaves = st.sampled_from(["i", "j", "2", "0", "(-3)"])
    if not depth:
        return leaves
    inner = integers(depth - 1)
    return st.one_of(
        leaves,
        apply("({} {} {})", inner, st.sampled_from(["+", "-", "//", "%"]), inner),
        apply("({} * {})", inner, st.sampled_from(["j", "7"])),
        apply("(-{})", inner),
        apply("{}({}, {})", st.sampled_from(["min", "max", "coalesce"]), inner, inner),
        apply("{}({})", st.sampled_from(["abs", "floor", "round"]), inner),
        apply("length({})", texts(depth - 1)),
        apply("({} if {} else {})", inner, booleans(depth - 1), inner),
    )


def numbers(depth: int) -> Any:
    leaves = st.sampled_from(["x", "i", "0.25", "1e3"])
    if not depth:
        return leaves
    inner = numbers(depth - 1)
    return st.one_of(
        leaves,
        apply("({} {} {})", inner, st.sampled_from(["+", "-", "*"]), inner),
        apply("({} {} {})", inner, st.sampled_from(["/", "//", "%"]), st.sampled_from(["4", "(-0.5)"])),
        apply("({} ** 2)", inner),
        apply("{}({}, {})", st.sampled_from(["min", "max", "coalesce"]), inner, inner),
        apply("{}({})", st.sampled_from(["abs", "floor", "ceil", "round"]), inner),
        apply("sqrt(abs({}))", inner),
        apply("({} if {} else {})", inner, booleans(depth - 1), st.just("null") | inner),
    )


def booleans(depth: int) -> Any:
    leaves = st.sampled_from(["flag", "is_null(x)", "kind == 'a'", "i in [3, 1]", "s not in ['zz', '']"])
    if not depth:
        return leaves
    inner, number = booleans(depth - 1), st.one_of(numbers(depth - 1), integers(depth - 1))
    symbols = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    return st.one_of(
        leaves,
        apply("({} {} {})", inner, st.sampled_from(["and", "or"]), inner),
        apply("(not {})", inner),
        apply("({} {} {} {} {})", number, symbols, number, symbols, number),
        apply("({} {} {})", texts(depth - 1), symbols, texts(depth - 1)),
        apply("is_null({})", st.one_of(inner, number, texts(depth - 1))),
        apply("{}({}, ',')", st.sampled_from(["contains", "starts_with", "ends_with"]), texts(depth - 1)),
    )


def texts(depth: int) -> Any:
    leaves = st.sampled_from(["s", "kind", "'b'", "''"])
    if not depth:
        return leaves
    inner = texts(depth - 1)
    return st.one_of(
        leaves,
        apply("({} + {})", inner, inner),
        apply("{}({})", st.sampled_from(["lower", "upper", "strip"]), inner),
        apply("coalesce({}, {})", inner, inner),
        apply("replace({}, 'b', 'éé')", inner),
        apply("substring({}, {}, {})", inner, st.integers(-3, 3), st.integers(-3, 3)),
        apply("split_part({}, ',', {})", inner, st.integers(0, 2)),
        apply("({} if {} else {})", inner, booleans(depth - 1), st.just("null") | inner),
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])  # a busy machine has slow moments
@example("(i * (i if flag else x))")
@example("max(i, x) * i")
@given(st.one_of(integers(3), numbers(3), booleans(3), texts(3)))
def test_an_expression_equals_python_in_each_row(text: str) -> None:
    text = f"{text} if not is_null(flag) else {text}"
    rows = [dict(zip(ROWS, values, strict=True)) for values in zip(*ROWS.values(), strict=True)]
    tree = ast.parse(text, mode="eval").body
    try:
        expected = [run(tree, row) for row in rows]
    except ArithmeticError:
        with pytest.raises(DataError, match=r"divides by 0, where |exceeds 64 bits, where "):
            evaluate(text)
    else:
        assert evaluate(text) == expected
