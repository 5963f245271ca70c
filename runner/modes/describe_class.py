"""The text of `titrate --help components.types.Metric`: a class that parts implement or use, with its methods."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from runner.modes.help import align, wrap
from runner.signature.classes import BASES_WITHOUT_PARAMETERS, Class, base_names, find_class
from runner.signature.docstring import ENTRY
from runner.signature.source import find_module, list_public_names

TYPES = "components.types"
PACKAGES = (
    f"{TYPES}.",
    "components.feature.",
    "components.pretrained.",
)  # have classes that are described, also those that are no parts


def describe_class(name: str) -> list[str] | None:
    """The lines for a class: its docstring, its methods and theirs; None: there is no such class in PACKAGES."""
    cls = find_class(name) if name.startswith(PACKAGES) else None
    if cls is None:
        return None
    lines = [*wrap(f"class   {name}"), *wrap(f"source  {cls.module.path}"), "", *_format_docstring(cls.node)]
    for method in _iterate_methods(cls):
        lines += ["", *wrap(f"  {_format_signature(method)}", indent=6), *_format_docstring(method, indent=6)]
    return lines


def list_types() -> list[str]:
    """The lines for `components.types`: its classes with the first line of their docstrings."""
    module = find_module(TYPES)
    classes = {name: find_class(f"{TYPES}.{name}") for name in (list_public_names(module) if module else ())}
    titles = {
        f"{TYPES}.{name}": (ast.get_docstring(cls.node) or "").partition("\n")[0]
        for name, cls in classes.items()
        if cls
    }
    return [f"The classes of {TYPES}:", "", *align(titles), "", f"titrate --help {next(iter(titles))} describes one."]


def _iterate_methods(cls: Class) -> Iterator[ast.FunctionDef]:
    """The public methods of a class and of its bases, and `__call__`; each name once."""
    seen: set[str] = set()
    classes = [cls, *filter(None, (find_class(n) for n in base_names(cls) if n not in BASES_WITHOUT_PARAMETERS))]
    for each in classes:
        for node in each.node.body:
            is_public = isinstance(node, ast.FunctionDef) and (node.name[0] != "_" or node.name == "__call__")
            if isinstance(node, ast.FunctionDef) and is_public and node.name not in seen:
                seen.add(node.name)
                yield node


def _format_signature(method: ast.FunctionDef) -> str:
    """A method with its parameters, or the name of a property."""
    decorators = {ast.unparse(decorator) for decorator in method.decorator_list}
    returns = f" -> {ast.unparse(method.returns)}" if method.returns else ""
    if decorators & {"property", "cached_property", "functools.cached_property"}:
        return f"{method.name}{returns.replace(' -> ', ': ')}"
    names = ast.unparse(method.args).removeprefix("self").removeprefix(", ")
    return f"{method.name}({names}){returns}"


def _format_docstring(node: ast.ClassDef | ast.FunctionDef, indent: int = 0) -> list[str]:
    """The lines of a docstring that fit the terminal. Each paragraph and each entry of a section is filled again."""
    blocks: list[tuple[int, str]] = []  # the depth and the text of each
    entry_depth = 0  # of the section; 0: there is none
    for line in (ast.get_docstring(node) or "").splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        follows_heading = bool(blocks) and blocks[-1][0] == 0 < depth and blocks[-1][1].endswith(":")
        entry_depth = depth if follows_heading else entry_depth * bool(depth)
        is_entry = follows_heading or (depth == entry_depth > 0 and ENTRY.match(text))
        if not text or not blocks or not blocks[-1][1] or is_entry or depth < blocks[-1][0]:
            blocks.append((depth, text))
        else:
            blocks[-1] = blocks[-1][0], f"{blocks[-1][1]} {text}"
    return [line for depth, text in blocks for line in _fill(text, depth + indent)]


def _fill(text: str, depth: int) -> list[str]:
    """The lines of a block of a docstring, indented by `depth` spaces, those after the first of an entry by more."""
    return wrap(f"{' ' * depth}{text}", indent=depth + 4 * bool(ENTRY.match(text))) if text else [""]
