"""Turns annotations in source files into type hints."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

from components.types import Range
from runner.signature.classes import Class, base_names
from runner.signature.source import Module, PartNotFoundError, find_definition, resolve_name
from runner.signature.type_hints import FUNCTION, DurationHint, Kind, PartHint, RecordHint, ScalarHint

Seen = frozenset[str]  # the aliases that were followed: an alias that contains itself is followed once

FUNCTION_HINT = Annotated[PartHint, Kind(FUNCTION)]
CALLABLE_TYPES = ("collections.abc.Callable", "typing.Callable")
SIMPLE_HINTS: dict[str, Any] = {
    **dict.fromkeys(CALLABLE_TYPES, FUNCTION_HINT),
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "components.types.Scalar": ScalarHint,
    "components.architecture.Architecture": Annotated[PartHint, Kind("architecture")],
    "components.architecture.siamese.Architecture": Annotated[PartHint, Kind("architecture")],
    "components.layer.Layer": Annotated[PartHint, Kind("layer")],
    "components.types.base.Scalar": ScalarHint,
    "components.types.Duration": DurationHint,
    "components.types.base.Duration": DurationHint,
    "components.types.Optimizer": Annotated[PartHint, Kind("optimizer")],
    "components.types.update.Optimizer": Annotated[PartHint, Kind("optimizer")],
    "components.layer.composite.Layer": Annotated[PartHint, Kind("layer")],
    "flax.linen.Module": Annotated[PartHint, Kind("flax.linen.Module")],  # listed here to avoid parsing its long file
    "tuple": tuple[Any, ...],
    "list": tuple[Any, ...],
    "dict": dict[Any, Any],
}
RANGES = ("components.types.Range", "components.types.base.Range")
LIST_TYPES = ("list", "collections.abc.Sequence", "typing.Sequence", "typing.List")
MAPPING_TYPES = ("dict", "collections.abc.Mapping", "typing.Mapping", "typing.Dict")
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def read_hint(module: Module, node: ast.expr | None) -> Any:
    """The type hint of an annotation; Any if it is unknown, or is not the type of a YAML value."""
    try:
        return _read_hint(module, node, frozenset())
    except (ArithmeticError, LookupError, PartNotFoundError, RecursionError, SyntaxError, TypeError, ValueError):
        return Any


def _read_hint(module: Module, node: ast.expr | None, seen: Seen) -> Any:
    if isinstance(node, ast.Constant) and node.value in (None, ...):
        return type(None) if node.value is None else ...
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _read_hint(module, ast.parse(node.value, mode="eval").body, seen)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _read_hint(module, node.left, seen) | _read_hint(module, node.right, seen)
    if isinstance(node, ast.Subscript):
        return _read_generic(module, node, seen)
    name = node and resolve_name(module, node)
    return SIMPLE_HINTS.get(name) or _read_alias(name, seen) if name else Any


def _read_generic(module: Module, node: ast.Subscript, seen: Seen) -> Any:
    name = resolve_name(module, node.value) or ""
    if name in CALLABLE_TYPES:
        return FUNCTION_HINT
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "typing.Literal":
        return cast(Any, Literal)[tuple(map(ast.literal_eval, arguments))]
    if name == "typing.Annotated":
        ranges = [found for argument in arguments[1:] if (found := _read_range(module, argument))]
        inner = _read_hint(module, arguments[0], seen)
        return cast(Any, Annotated)[inner, ranges[0]] if ranges else inner
    hints = [_read_hint(module, argument, seen) for argument in arguments]
    if name in ("typing.Union", "typing.Optional"):
        return functools.reduce(operator.or_, [*hints, type(None)] if name == "typing.Optional" else hints)
    if name in ("tuple", "typing.Tuple"):
        return cast(Any, tuple)[tuple(hints) or (Any, ...)]
    if name in LIST_TYPES:
        return cast(Any, tuple)[hints[0], ...]
    return cast(Any, dict)[hints[0], hints[1]] if name in MAPPING_TYPES else Any


def _read_alias(name: str, seen: Seen) -> Any:
    """The hint of a name in an allowed package: a part for a class, the aliased annotation for a type alias."""
    try:
        definition = None if name in seen else find_definition(name)
    except PartNotFoundError:
        return Any
    if definition is None or isinstance(definition.node, ast.FunctionDef):
        return Any
    if isinstance(definition.node, ast.ClassDef):
        if "typing.TypedDict" in base_names(Class(definition.module, definition.node)):
            return _read_record(definition.module, definition.node, seen | {name})
        return Annotated[PartHint, Kind(f"{definition.module.name}.{definition.node.name}")]
    return _read_hint(definition.module, definition.node, seen | {name})


def _read_record(module: Module, node: ast.ClassDef, seen: Seen) -> Any:
    """The hint of a TypedDict: a mapping with the fields that it declares."""
    is_total = not any(keyword.arg == "total" and _is_false(keyword.value) for keyword in node.keywords)
    hints, required = {}, set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, annotation, is_required = statement.target.id, statement.annotation, is_total
            if isinstance(annotation, ast.Subscript):
                qualifier = resolve_name(module, annotation.value)
                if qualifier in ("typing.Required", "typing.NotRequired"):
                    annotation, is_required = annotation.slice, qualifier == "typing.Required"
            hints[name] = _read_hint(module, annotation, seen)
            required |= {name} if is_required else set()
    return type(node.name, (RecordHint,), {"hints": hints, "required": frozenset(required)})


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _read_range(module: Module, node: ast.expr) -> Range | None:
    """The range in an argument of `Annotated`: `Range(…)`, or the name of a constant with that value."""
    if isinstance(node, ast.Call) and resolve_name(module, node.func) in RANGES:
        values = {str(keyword.arg): _read_constant(module, keyword.value) for keyword in node.keywords}
        return Range(*(_read_constant(module, argument) for argument in node.args), **values)
    name = resolve_name(module, node)
    try:
        definition = find_definition(name) if name else None
    except PartNotFoundError:
        return None
    if definition is None or not isinstance(definition.node, ast.Call):
        return None
    return _read_range(definition.module, definition.node)


def _read_constant(module: Module, node: ast.expr) -> Any:
    """The value of a constant expression: a literal, arithmetic such as `2**32 - 1`, `math.inf`, or the name of one."""
    name = resolve_name(module, node)
    if name == "math.inf":
        return math.inf
    if name and isinstance(node, ast.Name | ast.Attribute) and (definition := find_definition(name)):
        return _read_constant(definition.module, cast(ast.expr, definition.node))
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_read_constant(module, node.left), _read_constant(module, node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_read_constant(module, node.operand)
    return ast.literal_eval(node)
