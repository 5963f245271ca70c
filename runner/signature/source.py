"""Python's names, found by reading source files: nothing is imported, so that checking takes an instant."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple, TypeAlias

from components.closest import suggest_name
from components.types import UserError
from runner.signature.allow import find_refusal, public_name
from runner.user_code import is_user_code

_PARSING = threading.Lock()  # Python 3.11 can't parse in two threads at once (its issue 106905)


class TargetError(UserError):
    """A dotted path leads nowhere, or out of the allowed packages; the message tells the user."""


class Imported(NamedTuple):
    """What an import binds a name to: an attribute of a module or, with None, the module."""

    module: str
    attribute: str | None


Symbol: TypeAlias = Imported | ast.ClassDef | ast.FunctionDef | ast.expr


@dataclass
class Module:
    """A module and what its names stand for."""

    name: str
    path: Path
    symbols: dict[str, Symbol] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)  # the modules of `from … import *`


class Definition(NamedTuple):
    """A class, a function or an expression, with the module that it stands in."""

    module: Module
    node: ast.ClassDef | ast.FunctionDef | ast.expr


def find_definition(target: str) -> Definition | None:
    """Follows `module.name` through imports to its definition; None where source doesn't tell.

    Raises TargetError where there is none, or where it is outside the allowed packages.
    """
    if not isinstance(target, str):  # YAML may say anything
        raise TargetError(f"{target!r} is no dotted name")
    module, _, name = target.rpartition(".")
    if reason := find_refusal(target):
        raise TargetError(reason)
    check_module(module)
    return _follow(module, name, frozenset())


def full_name(module: Module, node: ast.expr) -> str | None:
    """The full dotted name of `nn.Module` or `Scalar`, by the module's imports; None for other things."""
    if isinstance(node, ast.Attribute):
        owner = full_name(module, node.value)
        return owner and f"{owner}.{node.attr}"
    if not isinstance(node, ast.Name):
        return None
    symbol = module.symbols.get(node.id)
    if isinstance(symbol, Imported):
        return f"{symbol.module}.{symbol.attribute}" if symbol.attribute else symbol.module
    return node.id if symbol is None else f"{module.name}.{node.id}"


def public_names(module: Module) -> list[str]:
    """The public names of what may be a part: what the module defines itself, or imports from its own package."""
    return [name for name, symbol in module.symbols.items() if name[0] != "_" and _is_offered(module, symbol)]


def _is_offered(module: Module, symbol: Symbol) -> bool:
    if isinstance(symbol, Imported):
        source = f"{public_name(symbol.module)}."
        own = source.startswith(f"{module.name}.") or is_user_code(source)
        return own and symbol.attribute is not None and find_module(f"{symbol.module}.{symbol.attribute}") is None
    return isinstance(symbol, ast.ClassDef | ast.FunctionDef | ast.Call | ast.Name | ast.Attribute)


def find_module(name: str) -> Module | None:
    """The module of a dotted name, its source read once; None where there is no source."""
    package, *rest = name.split(".")
    spec = _spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        base = os.path.join(folder, *rest)  # strings: this is asked a thousand times, and `Path` takes its time
        for path in (os.path.join(base, "__init__.py"), f"{base}.py"):
            if os.path.isfile(path):
                return _read(name, path, os.stat(path).st_mtime_ns)
        if os.path.isdir(base):
            return Module(name, Path(base, "__init__.py"))
    if spec and spec.origin and spec.origin.endswith(".py") and not rest:
        return _read(name, spec.origin, os.stat(spec.origin).st_mtime_ns)
    return None


def _spec(package: str) -> ModuleSpec | None:
    """Where a package is; of one at the top, this imports nothing and knows editable ones."""
    try:
        return importlib.util.find_spec(package)
    except ValueError:  # `__main__`, of a script or a notebook
        return None


def check_module(name: str) -> None:
    """Raises TargetError where there is no such module, in Python or not."""
    package, _, last = name.rpartition(".")
    if package and find_module(name) is None:
        names = _submodules(parent) if (parent := find_module(package)) else []
        raise TargetError(f"there is no module {name}; {suggest_name(last, names)}")
    if not package and _spec(name) is None and name not in sys.modules:
        raise TargetError(f"there is no package {name}")


def _follow(source: str, name: str, seen: frozenset[Imported]) -> Definition | None:
    module, path = find_module(source), Imported(source, name)
    if reason := find_refusal(f"{source}.{name}"):
        raise TargetError(reason)
    if module is None or path in seen:
        return None
    symbol = module.symbols.get(name)
    if isinstance(symbol, Imported) and symbol.attribute and symbol != path:  # but for `from . import name`
        return _follow(symbol.module, symbol.attribute, seen | {path})
    if isinstance(symbol, ast.AST):
        return Definition(module, symbol)
    if symbol or find_module(f"{source}.{name}"):
        raise TargetError(f"{source}.{name} is a module")
    return _unbound(module, name, seen | {path})


def _unbound(module: Module, name: str, seen: frozenset[Imported]) -> Definition | None:
    """A name that the module doesn't bind itself."""
    for star in module.stars:
        with contextlib.suppress(TargetError):
            return _follow(star, name, seen)
    if "__getattr__" in module.symbols and name in module.path.read_text(encoding="utf-8"):  # made on demand
        return None
    raise TargetError(f"{module.name} has no {name}; {suggest_name(name, public_names(module))}")


def _submodules(module: Module) -> list[str]:
    if module.path.name != "__init__.py":
        return []
    beside = module.path.parent.iterdir()
    return sorted(path.stem for path in beside if path.suffix in ("", ".py") and path.name[0] not in "_.")


@functools.cache
def _read(name: str, path: str, changed: int) -> Module:
    module = Module(name, Path(path))
    try:
        with _PARSING:
            tree = ast.parse(module.path.read_bytes())
    except SyntaxError as error:
        raise TargetError(f"{module.path.name}, line {error.lineno}: {error.msg}") from error
    for statement in _statements(tree.body):
        _bind(module, statement)
    return module


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those at the top and in blocks there; of alternatives the first, which counts, comes last."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for handler in getattr(statement, "handlers", ()):
                yield from _statements(handler.body)
            yield from _statements(getattr(statement, "orelse", []))
            yield from _statements(statement.body)
        else:
            yield statement


def _bind(module: Module, statement: ast.stmt) -> None:
    symbols = module.symbols
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        symbols[statement.name] = statement
    elif isinstance(statement, ast.Assign):
        symbols.update({name.id: statement.value for name in statement.targets if isinstance(name, ast.Name)})
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        symbols[statement.target.id] = statement.value
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            top = alias.name.partition(".")[0]
            symbols[alias.asname or top] = Imported(alias.name if alias.asname else top, None)
    elif isinstance(statement, ast.ImportFrom):
        source = _absolute(module, statement)
        for alias in statement.names:
            if alias.name == "*":
                module.stars.append(source)
            else:
                symbols[alias.asname or alias.name] = Imported(source, alias.name)


def _absolute(module: Module, statement: ast.ImportFrom) -> str:
    """The module that an import names; dots in front count from the package that the module is or is in."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    up = statement.level - (module.path.name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *filter(None, [statement.module])])
