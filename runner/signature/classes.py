"""Classes as their source files declare them: what they inherit, and their members. Nothing is imported."""

from __future__ import annotations

import ast
from typing import NamedTuple

from runner.signature.source import Definition, Module, TargetError, find_definition, full_name

FLAX = ("flax.linen.Module", "flax.linen.module.Module")
PROTOCOL = "typing.Protocol"
BARE = (*FLAX, "object", "typing.NamedTuple", PROTOCOL, "typing.Generic", "abc.ABC")  # these declare no parameters


class Class(NamedTuple):
    """A class, with the module that it stands in."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return f"{self.module.name}.{self.node.name}"


def find_class(name: str) -> Class | None:
    """The class of a dotted name; None where it is none, or stands outside the allowed packages."""
    found = _located(name)
    return Class(found.module, found.node) if found and isinstance(found.node, ast.ClassDef) else None


def bases(found: Class) -> list[str]:
    """The full names of the bases, the last first, so that the first wins."""
    plain = (one.value if isinstance(one, ast.Subscript) else one for one in reversed(found.node.bases))
    return [_unaliased(full_name(found.module, one) or "") for one in plain]


def is_protocol(found: Class) -> bool:
    """Whether a class is a protocol: others conform to it by their members alone."""
    return PROTOCOL in bases(found)


def derives(found: Class, name: str) -> bool:
    """Whether a class is the one of that dotted name, or inherits from it."""
    if name in FLAX:
        return _is_flax(found)
    wanted = find_class(name)
    return wanted is not None and _is_or_inherits(found, wanted)


def members(found: Class) -> set[str] | None:
    """The public names that a class and its bases declare, and `__call__`; None where a base can't be read."""
    names = {name for statement in found.node.body for name in _declared(statement)}
    for base in bases(found):
        parent = find_class(base)
        inherited = set() if base in BARE else parent and members(parent)
        if inherited is None:
            return None
        names |= inherited
    return {name for name in names if name[0] != "_" or name == "__call__"}


def method(found: Class, name: str) -> ast.FunctionDef | None:
    """A method that the class itself defines."""
    return next((one for one in found.node.body if isinstance(one, ast.FunctionDef) and one.name == name), None)


def _declared(statement: ast.stmt) -> list[str]:
    """The names that a statement of a class gives; an abstract method is none that the class has."""
    if isinstance(statement, ast.FunctionDef):
        abstract = any(ast.unparse(mark).endswith("abstractmethod") for mark in statement.decorator_list)
        return [] if abstract else [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name)]


def _is_flax(found: Class) -> bool:
    parents = bases(found)
    return any(base in FLAX for base in parents) or any(_is_flax(one) for one in map(find_class, parents) if one)


def _is_or_inherits(found: Class, wanted: Class) -> bool:
    parents = (find_class(base) for base in bases(found) if base not in BARE)
    return found.node is wanted.node or any(_is_or_inherits(one, wanted) for one in parents if one)


def _unaliased(name: str) -> str:
    """The name of what `Module = module.Module` stands for."""
    found = None if name in BARE else _located(name)
    if found is None or not isinstance(found.node, ast.expr):
        return name
    return full_name(found.module, found.node) or name


def _located(name: str) -> Definition | None:
    """A base class may stand where no target may; then it isn't read."""
    try:
        return find_definition(name)
    except TargetError:
        return None
