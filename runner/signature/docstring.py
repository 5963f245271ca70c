"""The meaning of a part and of its parameters, read from the docstrings in its source."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

from runner.signature.allowed_parts import find_part_definition
from runner.signature.classes import BASES_WITHOUT_PARAMETERS, Class, base_names, find_class, find_method
from runner.signature.source import Definition, find_definition, resolve_name

SECTION = re.compile(r"(Args|Arguments|Attributes|Parameters)\b.*:")  # also `Attributes are those of `MLP`, and:`
ENTRY = re.compile(r"(\*{0,2}\w+(?:, \w+)*)(?: \([^)]*\))?\s*:(?:\s+|$)(.*)")  # `b1: decay rate`, `b1 (float): …`
YAML_WORDS = {"None": "null", "True": "true", "False": "false"}
ROLE = re.compile(r":[\w:]+:(?=`)")  # of reStructuredText, such as :func: before a name in backquotes
PYTHON_WORD = re.compile(rf"(?<!\w\.)\b({'|'.join(YAML_WORDS)})\b")


class Documentation(NamedTuple):
    """What the docstrings of a part say.

    Attributes:
        summary: the first paragraph, in one line; "": there is no docstring.
        meanings: the meaning of each documented parameter, in one line, with YAML's `null`, `true` and `false`.
    """

    summary: str
    meanings: dict[str, str]


def read_documentation(target: str) -> Documentation:
    """The documentation of a `_target_`: also that of the bases of a class, and of the function of a `partial`.

    Raises:
        PartNotFoundError: the `_target_` does not exist, or is not defined in an allowed package.
    """
    definition = find_part_definition(target)
    docstrings = [] if definition is None else list(_iterate_docstrings(definition))
    meanings: dict[str, str] = {}
    for docstring in reversed(docstrings):  # a class describes a parameter better than its base
        meanings |= _parse_parameters(docstring)
    summary = docstrings[0].partition("\n\n")[0] if docstrings else ""
    return Documentation(_join_lines(summary), meanings)


def _iterate_docstrings(definition: Definition) -> Iterator[str]:
    """The docstrings of a definition and of what it is made from, its own first."""
    module, node = definition
    if isinstance(node, ast.ClassDef):
        method = find_method(Class(module, node), "__init__")
        for documented in (node, method):
            if documented is not None and (docstring := ast.get_docstring(documented)):
                yield docstring
        for name in reversed(base_names(Class(module, node))):
            if name not in BASES_WITHOUT_PARAMETERS and (base := find_class(name)) is not None:
                yield from _iterate_docstrings(Definition(*base))
    elif isinstance(node, ast.FunctionDef):
        if docstring := ast.get_docstring(node):
            yield docstring
    else:  # another name of a part, or a `partial`
        made_from = node.args[0] if isinstance(node, ast.Call) and node.args else node
        source = resolve_name(module, made_from)
        if source is not None and (inner := find_definition(source)) is not None:
            yield from _iterate_docstrings(inner)


def _parse_parameters(docstring: str) -> dict[str, str]:
    """The entries of the sections `Args` and `Attributes` of a docstring."""
    meanings: dict[str, str] = {}
    names: list[str] = []
    in_section, indent = False, 0  # the indentation of entries; 0: that of the first one is not known yet
    for line in docstring.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() and not depth:
            in_section, indent = SECTION.fullmatch(line.strip()) is not None, 0
        elif in_section and line.strip():
            indent = indent or depth
            match = ENTRY.fullmatch(line.strip()) if depth == indent else None
            if match:
                names = [name.lstrip("*") for name in match[1].split(", ")]
                meanings |= dict.fromkeys(names, match[2])
            elif names:
                meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return {name: _join_lines(meaning) for name, meaning in meanings.items()}


def _join_lines(text: str) -> str:
    """A text in one line, with YAML's words for Python's, and without the markup of reStructuredText."""
    text = PYTHON_WORD.sub(lambda match: YAML_WORDS[match[1]], " ".join(inspect.cleandoc(text).split()))
    return ROLE.sub("", text).replace("``", "`")
