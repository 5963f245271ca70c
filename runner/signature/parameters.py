"""The parameters of a function or class, read from its source with their type hints."""

from __future__ import annotations

import ast
import contextlib
import functools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

from components.types import Duration
from runner.signature.allowed_parts import find_part_definition
from runner.signature.annotation import read_hint
from runner.signature.classes import BASES_WITHOUT_PARAMETERS, Class, base_names, find_class, find_method, is_subclass
from runner.signature.optax_hints import hint_of_optax
from runner.signature.source import (
    INSTALLED_PACKAGES,
    Definition,
    Imported,
    Module,
    PartNotFoundError,
    find_definition,
    find_module,
    resolve_name,
)

UNKNOWN = object()
"""The default of a parameter without a default, or with a default that is not a literal."""


class Parameter(NamedTuple):
    """A parameter that can be passed by keyword.

    Attributes:
        hint: its type hint; Any: unknown.
        required: whether it has no default.
        default: its default as a plain value, or `UNKNOWN`.
    """

    hint: Any
    required: bool
    default: Any = UNKNOWN


Parameters: TypeAlias = dict[str, Parameter]

REST = "**"
"""The name of the entry of `Parameters` that stands for any other keyword, as `**groups: Group` takes it."""

DATACLASS_DECORATORS = ("dataclasses.dataclass", "flax.struct.dataclass")
FIELD_FUNCTIONS = ("dataclasses.field", "flax.struct.field")
NOT_FIELDS = ("typing.ClassVar", "dataclasses.KW_ONLY")


def read_signature(target: str) -> Parameters | None:
    """The parameters of a `_target_`.

    Returns:
        The parameters by name; None if there is no source, or the `_target_` accepts any keyword.

    Raises:
        PartNotFoundError: the `_target_` does not exist, or is not defined in an allowed package.
    """
    # A table of thousands of columns names the same class as often.
    is_installed = isinstance(target, str) and target.partition(".")[0] in INSTALLED_PACKAGES
    parameters = _read_installed_parameters(target) if is_installed else _read_parameters(target)
    if parameters and target.startswith("optax."):
        hints = {name: hint_of_optax(target, name, one.hint, one.default) for name, one in parameters.items()}
        return {name: parameter._replace(hint=hints[name]) for name, parameter in parameters.items()}
    return parameters and dict(parameters)


def _read_parameters(target: str) -> Parameters | None:
    definition = find_part_definition(target)
    return _definition_parameters(definition) if definition else None


_read_installed_parameters = functools.cache(_read_parameters)  # files of Titrate and of libraries don't change


def find_parameter(parameters: Parameters, name: str) -> Parameter | None:
    """The parameter that takes a keyword; None if there is none."""
    return parameters.get(name, parameters.get(REST))


def hint_of_argument(hints: Mapping[str, Any], name: str) -> Any:
    """The type hint of a keyword, from the hints of all parameters; Any if it is unknown."""
    return hints.get(name, hints.get(REST, Any))


def read_parameter_hints(target: str) -> dict[str, Any]:
    """The type hints of a `_target_`'s parameters; empty if they are unknown."""
    return {name: parameter.hint for name, parameter in (read_signature(target) or {}).items()}


def needs_more_arguments(target: str, given: Collection[str]) -> bool:
    """Whether a function needs more arguments than the given ones, such as the array `x` of an activation.

    Where a function may stand, it is then not called: the function itself stands there, with the given arguments. A
    generator function is never called, because its caller calls it again for each pass.
    """
    definition = find_part_definition(target)
    if definition is None or isinstance(definition.node, ast.ClassDef):
        return False
    if _has_yield(definition.node):  # a call would return an iterator, which can be read once only
        return True
    parameters = _definition_parameters(definition)
    if parameters is None:  # it has positional-only parameters, or takes any keyword
        return True
    return any(parameter.required and name not in given for name, parameter in parameters.items())


def _has_yield(node: ast.AST) -> bool:
    """Whether a function is a generator function."""
    inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.FunctionDef | ast.Lambda)]
    return any(isinstance(child, ast.Yield | ast.YieldFrom) or _has_yield(child) for child in inner)


def read_call_signature(target: str) -> Parameters | None:
    """The parameters of `__call__` of a class; None if they are unknown. Raises as `read_signature`."""
    definition = find_definition(target)
    if definition is None or not isinstance(definition.node, ast.ClassDef):
        return None
    return _call_parameters(definition.module, definition.node)


@functools.cache
def read_settings_fields(name: str) -> Parameters:
    """The fields of one of the dataclasses in `runner.config.settings`. The caller must not change them."""
    module = find_module("runner.config.settings")
    assert module is not None
    node = module.symbols[name]
    assert isinstance(node, ast.ClassDef)
    return _field_parameters(module, node, {})


def _definition_parameters(definition: Definition) -> Parameters | None:
    module, node = definition
    if isinstance(node, ast.FunctionDef):
        return _function_parameters(module, node)
    return _class_parameters(module, node) if isinstance(node, ast.ClassDef) else _expression_parameters(module, node)


def _function_parameters(module: Module, node: ast.FunctionDef, *, skip: int = 0) -> Parameters | None:
    """All parameters but the first `skip`; None if there are positional-only parameters, or `**` without a hint."""
    arguments = node.args
    rest = read_hint(module, arguments.kwarg.annotation) if arguments.kwarg else None
    if rest is Any or arguments.posonlyargs:
        return None
    required = len(arguments.args) - len(arguments.defaults)
    defaults = [None] * required + arguments.defaults
    pairs = [*zip(arguments.args[skip:], defaults[skip:], strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = {
        argument.arg: Parameter(read_hint(module, argument.annotation), default is None, _read_literal(module, default))
        for argument, default in pairs
    }
    return parameters if arguments.kwarg is None else parameters | {REST: Parameter(rest, required=False)}


def _class_parameters(module: Module, node: ast.ClassDef) -> Parameters | None:
    """The parameters of the class's own `__init__`; without one, the inherited parameters and the class's fields."""
    if method := find_method(Class(module, node), "__init__"):
        return _function_parameters(module, method, skip=1)
    parameters: Parameters = {}
    for base in base_names(Class(module, node)):
        inherited = {} if base in BASES_WITHOUT_PARAMETERS else _base_parameters(base)
        if inherited is None:
            return None
        parameters |= inherited
    if _declares_fields(module, node):
        parameters |= _field_parameters(module, node, parameters)
    return parameters


def _base_parameters(name: str) -> Parameters | None:
    base = find_class(name)
    return _class_parameters(*base) if base else None


def _call_parameters(module: Module, node: ast.ClassDef) -> Parameters | None:
    if method := find_method(Class(module, node), "__call__"):
        return _function_parameters(module, method, skip=1)
    for name in reversed(base_names(Class(module, node))):
        base = find_class(name)
        if base and (parameters := _call_parameters(*base)):
            return parameters
    return None


def _expression_parameters(module: Module, node: ast.expr) -> Parameters | None:
    """The free parameters of `functools.partial(function, …)`, or those of the definition that a name refers to."""
    if isinstance(node, ast.Call) and resolve_name(module, node.func) == "functools.partial":
        inner = _expression_parameters(module, node.args[0])
        if inner is None:
            return None
        bound = {keyword.arg: _read_literal(module, keyword.value) for keyword in node.keywords}
        free = list(inner.items())[len(node.args) - 1 :]
        return {
            name: parameter._replace(required=False, default=bound[name]) if name in bound else parameter
            for name, parameter in free
        }
    name = resolve_name(module, node)
    definition = find_definition(name) if name else None
    return _definition_parameters(definition) if definition else None


def _field_parameters(module: Module, node: ast.ClassDef, inherited: Parameters) -> Parameters:
    """The fields that a dataclass declares. A field without a default keeps the default of the base class."""
    parameters = {}
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        annotation = statement.annotation
        outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        options = _field_options(module, statement.value)
        if resolve_name(module, outer) not in NOT_FIELDS and "init" not in options:  # nobody writes init=True
            name, base = statement.target.id, inherited.get(statement.target.id)
            required = not options & {"default", "default_factory"} and (base is None or base.required)
            default = _read_literal(module, statement.value) if statement.value or base is None else base.default
            parameters[name] = Parameter(read_hint(module, annotation), required, default)
    return parameters


def _read_literal(module: Module, node: ast.expr | None) -> Any:
    """A default as a plain value; `UNKNOWN` unless it is a literal, a duration, or the name of one in a module."""
    constant = module.symbols.get(node.id) if isinstance(node, ast.Name) else node
    if isinstance(constant, Imported) and node is not None:
        with contextlib.suppress(PartNotFoundError):
            definition = find_definition(resolve_name(module, node) or "")
            module, constant = definition or (module, None)
    if isinstance(constant, ast.Call) and resolve_name(module, constant.func) == "components.types.Duration":
        return Duration(*map(ast.literal_eval, constant.args)).written()
    try:
        value = ast.literal_eval(constant) if isinstance(constant, ast.expr) else UNKNOWN
    except ValueError:
        return UNKNOWN
    return list(value) if isinstance(value, tuple) else value


def _field_options(module: Module, value: ast.expr | None) -> set[str | None]:
    """The keywords of a field's `field(…)`; `default` for a plain value."""
    if isinstance(value, ast.Call) and resolve_name(module, value.func) in FIELD_FUNCTIONS:
        return {keyword.arg for keyword in value.keywords}
    return {"default"} if value else set()


def _declares_fields(module: Module, node: ast.ClassDef) -> bool:
    """Whether annotations in the body are parameters: in dataclasses, named tuples and Flax modules."""
    decorators = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    if any(resolve_name(module, decorator) in DATACLASS_DECORATORS for decorator in decorators):
        return True
    cls = Class(module, node)
    return "typing.NamedTuple" in base_names(cls) or is_subclass(cls, "flax.linen.Module")
