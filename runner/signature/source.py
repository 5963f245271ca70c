"""Finds the definition of a dotted name by reading source files. Nothing is imported, so a check is fast.

A target is the dotted name in `_target_`. It must be in an allowed package: one of Titrate's, of a library's, or one
that the user adds.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib.util
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple, TypeAlias

from components.closest import suggest_name
from components.types import UserError
from runner.user_code import ALLOW_VARIABLE, added_packages, describe_file_in_the_way, is_in_packages, is_user_code

PACKAGES = ("components", "optax", "flax.linen", "jax.nn")
RUNNER_PACKAGES = (
    "runner.tracking",
    "runner.execution.teacher",
    "runner.sweep",
)  # they export parts
NOT_ALLOWED = "is not in an allowed package"
INSTALLED_PACKAGES = {package.partition(".")[0] for package in (*PACKAGES, *RUNNER_PACKAGES)}

_PARSING = threading.Lock()  # Python 3.11 can't parse in two threads at once (python/cpython#106905)


class PartNotFoundError(UserError):
    """A `_target_` that does not exist, or that is not in an allowed package."""


class NameNotFoundError(PartNotFoundError):
    """A name that its module does not define.

    Attributes:
        module: the module.
        name: the name.
    """

    def __init__(self, module: Module, name: str) -> None:
        super().__init__(f"{module.name} has no {name}")
        self.module, self.name = module, name

    def suggest(self, names: Iterable[str]) -> PartNotFoundError:
        """The error with a suggestion from some names of the module."""
        in_the_way = describe_file_in_the_way(f"{self.module.name}.{self.name}")
        return PartNotFoundError(f"{self}. {suggest_name(self.name, names)}{in_the_way}")


class Imported(NamedTuple):
    """The object that an import statement binds to a name.

    Attributes:
        module: the dotted name of the module.
        attribute: the attribute of the module; None: the object is the module.
    """

    module: str
    attribute: str | None


Symbol: TypeAlias = Imported | ast.ClassDef | ast.FunctionDef | ast.expr


@dataclass
class Module:
    """A module as its source file defines it.

    Attributes:
        name: its dotted name.
        path: its source file.
        symbols: the object or expression that each name is bound to.
        star_imports: the modules of its `from … import *`.
    """

    name: str
    path: Path
    symbols: dict[str, Symbol] = field(default_factory=dict)
    star_imports: list[str] = field(default_factory=list)


class Definition(NamedTuple):
    """A class, a function or an expression, with the module that contains it."""

    module: Module
    node: ast.ClassDef | ast.FunctionDef | ast.expr


def allowed_packages() -> tuple[str, ...]:
    """The packages that a `_target_` may be in."""
    return (*PACKAGES, *added_packages())


def find_target_problem(target: str) -> str | None:
    """The problem of a `_target_` that is not in an allowed package; None if it is."""
    if is_in_packages(public_name(target), (*allowed_packages(), *RUNNER_PACKAGES)):
        return None
    allowed = ", ".join(allowed_packages())
    package = target.partition(".")[0]
    remedy = describe_file_in_the_way(target) or f" Add yours by --allow {package} or {ALLOW_VARIABLE}={package}."
    return f"{target} {NOT_ALLOWED}. Allowed: {allowed}.{remedy}"


def public_name(name: str) -> str:
    """The public form of a dotted name: JAX defines the functions of `jax.nn` in private modules."""
    return name.replace("jax._src.nn.", "jax.nn.", 1)


def find_definition(target: str) -> Definition | None:
    """Follows `module.name` through imports to its definition.

    Returns:
        The definition; None if there is no source, such as for a compiled module.

    Raises:
        PartNotFoundError: the name does not exist, or it is not in an allowed package.
    """
    if not isinstance(target, str):  # a YAML file may hold any value here
        raise PartNotFoundError(f"{target!r} is not a dotted name")
    if "." not in target or not all(target.split(".")):
        raise PartNotFoundError(f"{target or repr(target)} is not a dotted name, such as module.Name")
    module, _, name = target.rpartition(".")
    if problem := find_target_problem(target):
        raise PartNotFoundError(problem)
    check_module(module)
    return _follow_imports(module, name, frozenset())


def resolve_name(module: Module, node: ast.expr) -> str | None:
    """The full dotted name of an expression such as `nn.Module`, by the module's imports; None for other nodes."""
    if isinstance(node, ast.Attribute):
        owner = resolve_name(module, node.value)
        return owner and f"{owner}.{node.attr}"
    return (_resolve_bound(module, node.id, frozenset()) or node.id) if isinstance(node, ast.Name) else None


def _resolve_bound(module: Module, name: str, seen: frozenset[str]) -> str | None:
    """The full dotted name of a name that a module binds, if need be by a `from … import *`; None: it binds none.

    Args:
        module: the module.
        name: the name.
        seen: the modules whose `import *` led here.
    """
    symbol = module.symbols.get(name)
    if isinstance(symbol, Imported):
        return f"{symbol.module}.{symbol.attribute}" if symbol.attribute else symbol.module
    if symbol is not None:
        return f"{module.name}.{name}"
    if hasattr(builtins, name):  # who writes `bool` below `from jax.numpy import *` means Python's
        return None
    for star_import in reversed(module.star_imports):  # the last one that has the name binds it
        with contextlib.suppress(PartNotFoundError):  # the module isn't valid Python
            source = None if star_import in seen else find_module(star_import)
            if source and (found := _resolve_bound(source, name, seen | {star_import})):
                # The names of libraries are known as their public modules have them, such as `flax.linen.Module`.
                return found if is_user_code(f"{star_import}.{name}") else f"{star_import}.{name}"
    return None


def list_public_names(module: Module) -> list[str]:
    """The public names of a module that may be parts. Imports from other packages and modules are left out."""
    return [name for name, symbol in module.symbols.items() if name[0] != "_" and _may_be_part(module, symbol)]


def _may_be_part(module: Module, symbol: Symbol) -> bool:
    if isinstance(symbol, Imported):
        source = f"{public_name(symbol.module)}."
        is_own = source.startswith(f"{module.name}.") or is_user_code(source)
        return is_own and symbol.attribute is not None and find_module(f"{symbol.module}.{symbol.attribute}") is None
    return isinstance(symbol, ast.ClassDef | ast.FunctionDef | ast.Call | ast.Name | ast.Attribute)


def find_module(name: str) -> Module | None:
    """The module of a dotted name; None if there is no source.

    Each version of a file is parsed once. Files of Titrate and of libraries don't change while a process runs, so each
    name in them is looked up once.
    """
    package, _, _ = name.partition(".")
    return _find_installed_module(name) if package in INSTALLED_PACKAGES else _search_module(name)


def _search_module(name: str) -> Module | None:
    package, *rest = name.split(".")
    spec = _find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        base = os.path.join(folder, *rest)  # strings: this runs a thousand times, and `Path` is slow
        for path in (os.path.join(base, "__init__.py"), f"{base}.py"):
            if os.path.isfile(path):
                return _read_module(name, path, os.stat(path).st_mtime_ns)
        if os.path.isdir(base):
            return Module(name, Path(base, "__init__.py"))
    if spec and spec.origin and spec.origin.endswith(".py") and not rest:
        return _read_module(name, spec.origin, os.stat(spec.origin).st_mtime_ns)
    return None


_find_installed_module = functools.cache(_search_module)


def _find_spec(package: str) -> ModuleSpec | None:
    """The import spec of a top-level package, which may be an editable install. Nothing is imported."""
    try:
        return importlib.util.find_spec(package)
    except ValueError:  # `__main__`, of a script or a notebook
        return None


def check_module(name: str) -> None:
    """Raises PartNotFoundError if there is no such module. It may be written in Python or compiled."""
    package, _, last = name.rpartition(".")
    if package and find_module(name) is None:
        names = _list_submodules(parent) if (parent := find_module(package)) else []
        in_the_way = describe_file_in_the_way(name)
        raise PartNotFoundError(f"there is no module {name}. {suggest_name(last, names)}{in_the_way}")
    if not package and _find_spec(name) is None and name not in sys.modules:
        raise PartNotFoundError(f"there is no package {name}")


def _follow_imports(source: str, name: str, seen: frozenset[Imported]) -> Definition | None:
    module, path = find_module(source), Imported(source, name)
    if problem := find_target_problem(f"{source}.{name}"):
        raise PartNotFoundError(problem)
    if module is None or path in seen:
        return None
    symbol = module.symbols.get(name)
    if isinstance(symbol, Imported) and symbol.attribute and symbol != path:  # equal for `from . import name`
        return _follow_imports(symbol.module, symbol.attribute, seen | {path})
    if isinstance(symbol, ast.AST):
        return Definition(module, symbol)
    if symbol or find_module(f"{source}.{name}"):
        raise PartNotFoundError(f"{source}.{name} is a module, not a part. Name a class or function in it.")
    return _find_unbound(module, name, seen | {path})


def _find_unbound(module: Module, name: str, seen: frozenset[Imported]) -> Definition | None:
    """The definition of a name that a `from … import *` or a module's `__getattr__` provides."""
    for star_import in reversed(module.star_imports):
        with contextlib.suppress(PartNotFoundError):
            return _follow_imports(star_import, name, seen)
    if "__getattr__" in module.symbols and name in module.path.read_text(encoding="utf-8"):
        return None
    raise NameNotFoundError(module, name)


def _list_submodules(module: Module) -> list[str]:
    if module.path.name != "__init__.py":
        return []
    siblings = module.path.parent.iterdir()
    return sorted(path.stem for path in siblings if path.suffix in ("", ".py") and path.name[0] not in "_.")


@functools.cache
def _read_module(name: str, path: str, modified_ns: int) -> Module:
    """Parses a source file. `modified_ns` is part of the key of the cache."""
    module = Module(name, Path(path))
    try:
        with _PARSING:
            tree = ast.parse(module.path.read_bytes())
    except SyntaxError as error:
        raise PartNotFoundError(f"{module.path.name}, line {error.lineno}: {error.msg}") from error
    for statement in _iterate_statements(tree.body):
        _bind_names(module, statement)
    return module


def _iterate_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements at the top level and inside `if`, `try` and `with`.

    The first branch of a statement is yielded last, because the last binding of a name counts.
    """
    for statement in body:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for handler in getattr(statement, "handlers", ()):
                yield from _iterate_statements(handler.body)
            yield from _iterate_statements(getattr(statement, "orelse", []))
            yield from _iterate_statements(statement.body)
        else:
            yield statement


def _bind_names(module: Module, statement: ast.stmt) -> None:
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
        source = _absolute_module(module, statement)
        for alias in statement.names:
            if alias.name == "*":
                module.star_imports.append(source)
            else:
                symbols[alias.asname or alias.name] = Imported(source, alias.name)


def _absolute_module(module: Module, statement: ast.ImportFrom) -> str:
    """The dotted name of the module in a `from … import`, with a relative name resolved."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    up = statement.level - (module.path.name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *filter(None, [statement.module])])
