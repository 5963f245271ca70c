"""Base classes and members of classes, read from their source files. Nothing is imported."""

from __future__ import annotations

import ast
from typing import NamedTuple

from runner.signature.source import Definition, Module, PartNotFoundError, find_definition, resolve_name

FLAX = ("flax.linen.Module", "flax.linen.module.Module")
PROTOCOL = "typing.Protocol"
BASES_WITHOUT_PARAMETERS = (*FLAX, "object", "typing.NamedTuple", PROTOCOL, "typing.Generic", "abc.ABC")


class Class(NamedTuple):
    """A class, with the module that contains it."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return f"{self.module.name}.{self.node.name}"


def find_class(name: str) -> Class | None:
    """The class of a dotted name; None if it is not a class, or is not in an allowed package."""
    definition = _find_definition_or_none(name)
    if definition is None or not isinstance(definition.node, ast.ClassDef):
        return None
    return Class(definition.module, definition.node)


def find_returned_class(definition: Definition) -> Class | None:
    """The class that a call of a class, a function or a `functools.partial` returns.

    None: the source does not name the class, such as a function without a return annotation.
    """
    module, node = definition
    if isinstance(node, ast.ClassDef):
        return Class(module, node)
    if isinstance(node, ast.FunctionDef):
        returned = resolve_name(module, node.returns) if node.returns else None
        return find_class(returned) if returned else None
    if isinstance(node, ast.Call):
        if resolve_name(module, node.func) != "functools.partial":
            return None
        node = node.args[0]
    called = resolve_name(module, node)  # what the `partial` calls, or another name of it
    called_definition = _find_definition_or_none(called) if called else None
    return find_returned_class(called_definition) if called_definition else None


def base_names(cls: Class) -> list[str]:
    """The full names of the base classes, the last first, so that the first overrides the others in a merge."""
    expressions = (base.value if isinstance(base, ast.Subscript) else base for base in reversed(cls.node.bases))
    return [_resolve_alias(resolve_name(cls.module, expression) or "") for expression in expressions]


def is_protocol(cls: Class) -> bool:
    """Whether a class is a protocol. Other classes implement it by their members, without inheriting from it."""
    return PROTOCOL in base_names(cls)


def is_subclass(cls: Class, name: str) -> bool:
    """Whether a class has a dotted name, or inherits from the class that has it."""
    if name in FLAX:
        return _is_flax_module(cls)
    parent = find_class(name)
    return parent is not None and _is_same_or_inherits(cls, parent)


def member_names(cls: Class) -> set[str] | None:
    """The public names that a class and its bases declare, and `__call__`; None if a base can't be read."""
    names = {name for statement in cls.node.body for name in _declared_names(statement)}
    for base_name in base_names(cls):
        if base_name in BASES_WITHOUT_PARAMETERS:
            continue
        base = find_class(base_name)
        inherited = member_names(base) if base else None
        if inherited is None:
            return None
        names |= inherited
    return {name for name in names if name[0] != "_" or name == "__call__"}


def find_method(cls: Class, name: str) -> ast.FunctionDef | None:
    """A method that a class defines, without inherited methods."""
    methods = (statement for statement in cls.node.body if isinstance(statement, ast.FunctionDef))
    return next((method for method in methods if method.name == name), None)


def _declared_names(statement: ast.stmt) -> list[str]:
    """The names that a statement of a class body defines. An abstract method defines none."""
    if isinstance(statement, ast.FunctionDef):
        is_abstract = any(ast.unparse(item).endswith("abstractmethod") for item in statement.decorator_list)
        return [] if is_abstract else [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_flax_module(cls: Class) -> bool:
    names = base_names(cls)
    return any(name in FLAX for name in names) or any(_is_flax_module(base) for base in map(find_class, names) if base)


def _is_same_or_inherits(cls: Class, other: Class) -> bool:
    bases = (find_class(name) for name in base_names(cls) if name not in BASES_WITHOUT_PARAMETERS)
    return cls.node is other.node or any(_is_same_or_inherits(base, other) for base in bases if base)


def _resolve_alias(name: str) -> str:
    """The full name that an alias such as `Module = module.Module` refers to."""
    definition = None if name in BASES_WITHOUT_PARAMETERS else _find_definition_or_none(name)
    if definition is None or not isinstance(definition.node, ast.expr):
        return name
    return resolve_name(definition.module, definition.node) or name


def _find_definition_or_none(name: str) -> Definition | None:
    """The definition of a name; None also if it does not exist or is not in an allowed package."""
    try:
        return find_definition(name)
    except PartNotFoundError:
        return None
