"""Base classes and members of classes, read from their source files. Nothing is imported."""

from __future__ import annotations

import ast
from typing import NamedTuple

from runner.signature.source import Definition, Module, PartNotFoundError, find_definition, resolve_name

FLAX = ("flax.linen.Module", "flax.linen.module.Module")
PROTOCOL = "typing.Protocol"
BARE = (*FLAX, "object", "typing.NamedTuple", PROTOCOL, "typing.Generic", "abc.ABC")  # base classes without parameters


class Class(NamedTuple):
    """A class, with the module that contains it."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return f"{self.module.name}.{self.node.name}"


def find_class(name: str) -> Class | None:
    """The class of a dotted name; None where it is not a class, or is outside the allowed packages."""
    definition = _find_definition_or_none(name)
    if definition is None or not isinstance(definition.node, ast.ClassDef):
        return None
    return Class(definition.module, definition.node)


def base_names(cls: Class) -> list[str]:
    """The full names of the base classes, the last first, so that the first overrides the others in a merge."""
    expressions = (one.value if isinstance(one, ast.Subscript) else one for one in reversed(cls.node.bases))
    return [_resolve_alias(resolve_name(cls.module, one) or "") for one in expressions]


def is_protocol(cls: Class) -> bool:
    """Whether a class is a protocol, to which others conform by their members alone."""
    return PROTOCOL in base_names(cls)


def is_subclass(cls: Class, name: str) -> bool:
    """Whether a class is the one of that dotted name, or inherits from it."""
    if name in FLAX:
        return _is_flax_module(cls)
    parent = find_class(name)
    return parent is not None and _is_same_or_inherits(cls, parent)


def member_names(cls: Class) -> set[str] | None:
    """The public names that a class and its bases declare, and `__call__`; None where a base can't be read."""
    names = {name for statement in cls.node.body for name in _declared_names(statement)}
    for base in base_names(cls):
        parent = find_class(base)
        inherited = set() if base in BARE else parent and member_names(parent)
        if inherited is None:
            return None
        names |= inherited
    return {name for name in names if name[0] != "_" or name == "__call__"}


def find_method(cls: Class, name: str) -> ast.FunctionDef | None:
    """A method that the class itself defines."""
    return next((one for one in cls.node.body if isinstance(one, ast.FunctionDef) and one.name == name), None)


def _declared_names(statement: ast.stmt) -> list[str]:
    """The names that a statement of a class body defines. An abstract method defines none."""
    if isinstance(statement, ast.FunctionDef):
        is_abstract = any(ast.unparse(one).endswith("abstractmethod") for one in statement.decorator_list)
        return [] if is_abstract else [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name)]


def _is_flax_module(cls: Class) -> bool:
    parents = base_names(cls)
    return any(base in FLAX for base in parents) or any(_is_flax_module(one) for one in map(find_class, parents) if one)


def _is_same_or_inherits(cls: Class, other: Class) -> bool:
    parents = (find_class(base) for base in base_names(cls) if base not in BARE)
    return cls.node is other.node or any(_is_same_or_inherits(one, other) for one in parents if one)


def _resolve_alias(name: str) -> str:
    """The name on the right of an alias such as `Module = module.Module`."""
    definition = None if name in BARE else _find_definition_or_none(name)
    if definition is None or not isinstance(definition.node, ast.expr):
        return name
    return resolve_name(definition.module, definition.node) or name


def _find_definition_or_none(name: str) -> Definition | None:
    """The definition of a name; None also for a base class outside the allowed packages."""
    try:
        return find_definition(name)
    except PartNotFoundError:
        return None
