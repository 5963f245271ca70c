"""What a target takes: the parameters of a function or class, read from its source with their type hints."""

from __future__ import annotations

import ast
from typing import Annotated, Any, NamedTuple, TypeAlias

from components.types import Range
from runner.signature.annotation import hint
from runner.signature.classes import BARE, Class, bases, derives, find_class, method
from runner.signature.source import Definition, Module, find_definition, find_module, full_name
from runner.signature.type_hints import Scalar

UNKNOWN = object()
"""Stands for a default that is no literal."""


class Parameter(NamedTuple):
    """A parameter that can be given by its name.

    Attributes:
        hint: its type hint. Any: the source has none that is understood.
        required: whether it has no default.
        default: its default, as plain values; `UNKNOWN` where it has none, or one that is no literal.
    """

    hint: Any
    required: bool
    default: Any = UNKNOWN


Parameters: TypeAlias = dict[str, Parameter]

_SHARE = Annotated[Scalar, Range(0, 1, "[)")]
_POSITIVE = Annotated[Scalar, Range(0)]
OPTAX: dict[str, Any] = {
    "b1": _SHARE,
    "b2": _SHARE,
    "decay": _SHARE,
    "momentum": _SHARE | None,
    "eps": _POSITIVE,
    "eps_root": _POSITIVE,
    "initial_scale": _POSITIVE,
    "weight_decay": _POSITIVE,
}
"""Hints by parameter, for Optax has no ranges in its own: each gives the same updates as a traced array."""


DATACLASS = ("dataclasses.dataclass", "flax.struct.dataclass")
FIELD = ("dataclasses.field", "flax.struct.field")
NO_FIELD = ("typing.ClassVar", "dataclasses.KW_ONLY")


def signature(target: str) -> Parameters | None:
    """The parameters of a target; None where its source doesn't tell.

    Raises TargetError where there is no such target, or where it is defined outside the allowed packages.
    """
    found = find_definition(target)
    parameters = _parameters(found) if found else None
    if parameters and target.startswith("optax."):
        return {name: one._replace(hint=OPTAX.get(name, one.hint)) for name, one in parameters.items()}
    return parameters


def call_parameters(target: str) -> Parameters | None:
    """The parameters of calling what a class makes; None where its source doesn't tell.

    Raises TargetError as `signature` does.
    """
    found = find_definition(target)
    return _of_call(found.module, found.node) if found and isinstance(found.node, ast.ClassDef) else None


def settings(name: str) -> Parameters:
    """The fields of one of the dataclasses in `runner.config.settings`."""
    module = find_module("runner.config.settings")
    assert module is not None
    node = module.symbols[name]
    assert isinstance(node, ast.ClassDef)
    return _fields(module, node, {})


def _parameters(found: Definition) -> Parameters | None:
    module, node = found
    if isinstance(node, ast.FunctionDef):
        return _of_function(module, node)
    return _of_class(module, node) if isinstance(node, ast.ClassDef) else _of_expression(module, node)


def _of_function(module: Module, node: ast.FunctionDef, *, skip: int = 0) -> Parameters | None:
    """All but the first `skip`; None where it takes any name at all, or takes some by their places only."""
    arguments = node.args
    if arguments.kwarg or arguments.posonlyargs:
        return None
    required = len(arguments.args) - len(arguments.defaults)
    defaults = [None] * required + arguments.defaults
    found = {
        one.arg: Parameter(hint(module, one.annotation), default is None, _literal(module, default))
        for one, default in zip(arguments.args[skip:], defaults[skip:], strict=True)
    }
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found[one.arg] = Parameter(hint(module, one.annotation), default is None, _literal(module, default))
    return found


def _of_class(module: Module, node: ast.ClassDef) -> Parameters | None:
    """Those of its own `__init__`; else what it inherits and, where it has fields, those."""
    if own := method(Class(module, node), "__init__"):
        return _of_function(module, own, skip=1)
    found: Parameters = {}
    for base in bases(Class(module, node)):
        inherited = {} if base in BARE else _of_base(base)
        if inherited is None:
            return None
        found |= inherited
    return found | _fields(module, node, found) if _has_fields(module, node) else found


def _of_base(name: str) -> Parameters | None:
    parent = find_class(name)
    return _of_class(*parent) if parent else None


def _of_call(module: Module, node: ast.ClassDef) -> Parameters | None:
    if own := method(Class(module, node), "__call__"):
        return _of_function(module, own, skip=1)
    parents = (find_class(base) for base in reversed(bases(Class(module, node))))
    return next((found for parent in parents if parent and (found := _of_call(*parent))), None)


def _of_expression(module: Module, node: ast.expr) -> Parameters | None:
    """Those of `functools.partial(function, …)`, or of what another name stands for."""
    if isinstance(node, ast.Call) and full_name(module, node.func) == "functools.partial":
        inner = _of_expression(module, node.args[0])
        if inner is None:
            return None
        preset = {word.arg: _literal(module, word.value) for word in node.keywords}
        free = list(inner.items())[len(node.args) - 1 :]
        return {
            name: parameter._replace(required=False, default=preset[name]) if name in preset else parameter
            for name, parameter in free
        }
    name = full_name(module, node)
    found = find_definition(name) if name else None
    return _parameters(found) if found else None


def _fields(module: Module, node: ast.ClassDef, inherited: Parameters) -> Parameters:
    """The fields that the body of a dataclass declares; one that a base has too keeps the default it has there."""
    found = {}
    for one in node.body:
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        outer = one.annotation.value if isinstance(one.annotation, ast.Subscript) else one.annotation
        options = _options(module, one.value)
        if full_name(module, outer) not in NO_FIELD and "init" not in options:  # nobody writes init=True
            name, before = one.target.id, inherited.get(one.target.id)
            required = not options & {"default", "default_factory"} and (before is None or before.required)
            default = _literal(module, one.value) if one.value or before is None else before.default
            found[name] = Parameter(hint(module, one.annotation), required, default)
    return found


def _literal(module: Module, node: ast.expr | None) -> Any:
    """The plain value of a default, a constant of the module included, as YAML has it; else `UNKNOWN`."""
    constant = module.symbols.get(node.id) if isinstance(node, ast.Name) else node
    try:
        value = ast.literal_eval(constant) if isinstance(constant, ast.expr) else UNKNOWN
    except ValueError:
        return UNKNOWN
    return list(value) if isinstance(value, tuple) else value


def _options(module: Module, value: ast.expr | None) -> set[str | None]:
    """What is said of a field: `default` for a plain value, the keywords of `field(…)`, or nothing."""
    if isinstance(value, ast.Call) and full_name(module, value.func) in FIELD:
        return {word.arg for word in value.keywords}
    return {"default"} if value else set()


def _has_fields(module: Module, node: ast.ClassDef) -> bool:
    """Whether annotations in the body are parameters: in dataclasses, named tuples and Flax modules."""
    marks = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    found = Class(module, node)
    named = "typing.NamedTuple" in bases(found)
    return named or any(full_name(module, mark) in DATACLASS for mark in marks) or derives(found, "flax.linen.Module")
