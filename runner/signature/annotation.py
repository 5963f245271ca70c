"""Annotations as they stand in source files, made into the hints that values are held against."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

from components.types import Range
from runner.signature.source import Module, TargetError, find_definition, full_name
from runner.signature.type_hints import Kind, Part, Scalar

Seen = frozenset[str]  # aliases on the way here: one that names itself is not followed again

PLAIN: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "components.types.Scalar": Scalar,
    "components.layer.composite.Layer": Annotated[Part, Kind("layer")],
    "flax.linen.Module": Annotated[Part, Kind("flax.linen.Module")],  # known without reading its long file
    "tuple": tuple[Any, ...],
    "list": tuple[Any, ...],
    "dict": dict[Any, Any],
}
LISTS = ("list", "collections.abc.Sequence", "typing.Sequence", "typing.List")
MAPPINGS = ("dict", "collections.abc.Mapping", "typing.Mapping", "typing.Dict")
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def hint(module: Module, node: ast.expr | None) -> Any:
    """The hint of an annotation; Any for one without a meaning to a value from YAML, or that isn't understood."""
    try:
        return _hint(module, node, frozenset())
    except (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError):
        return Any


def _hint(module: Module, node: ast.expr | None, seen: Seen) -> Any:
    if isinstance(node, ast.Constant) and node.value in (None, ...):
        return type(None) if node.value is None else ...
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _hint(module, ast.parse(node.value, mode="eval").body, seen)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _hint(module, node.left, seen) | _hint(module, node.right, seen)
    if isinstance(node, ast.Subscript):
        return _generic(module, node, seen)
    name = node and full_name(module, node)
    return PLAIN.get(name) or _alias(name, seen) if name else Any


def _generic(module: Module, node: ast.Subscript, seen: Seen) -> Any:
    name = full_name(module, node.value) or ""
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "typing.Literal":
        return cast(Any, Literal)[tuple(ast.literal_eval(one) for one in arguments)]
    if name == "typing.Annotated":
        notes = [note for note in (_range(module, one) for one in arguments[1:]) if note]
        inner = _hint(module, arguments[0], seen)
        return cast(Any, Annotated)[inner, notes[0]] if notes else inner
    kinds = [_hint(module, one, seen) for one in arguments]
    if name in ("typing.Union", "typing.Optional"):
        return functools.reduce(operator.or_, [*kinds, type(None)] if name == "typing.Optional" else kinds)
    if name in ("tuple", "typing.Tuple"):
        return cast(Any, tuple)[tuple(kinds) or (Any, ...)]
    if name in LISTS:
        return cast(Any, tuple)[kinds[0], ...]
    return cast(Any, dict)[kinds[0], kinds[1]] if name in MAPPINGS else Any


def _alias(name: str, seen: Seen) -> Any:
    """What a name in an allowed package stands for: a class wants such a part, an expression is another annotation."""
    try:
        found = None if name in seen else find_definition(name)
    except TargetError:
        return Any
    if found is None or isinstance(found.node, ast.FunctionDef):
        return Any
    if isinstance(found.node, ast.ClassDef):
        return Annotated[Part, Kind(f"{found.module.name}.{found.node.name}")]
    return _hint(found.module, found.node, seen | {name})


def _range(module: Module, node: ast.expr) -> Range | None:
    """The `Range(…)` among an annotation's notes, written there or as a constant of some module."""
    if isinstance(node, ast.Call) and full_name(module, node.func) == "components.types.Range":
        values = {str(word.arg): _constant(module, word.value) for word in node.keywords}
        return Range(*(_constant(module, one) for one in node.args), **values)
    name = full_name(module, node)
    try:
        found = find_definition(name) if name else None
    except TargetError:
        return None
    return _range(found.module, found.node) if found and isinstance(found.node, ast.Call) else None


def _constant(module: Module, node: ast.expr) -> Any:
    """A number or text that needs no more than arithmetic: `2**32 - 1`, `math.inf`."""
    if full_name(module, node) == "math.inf":
        return math.inf
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_constant(module, node.left), _constant(module, node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_constant(module, node.operand)
    return ast.literal_eval(node)
