"""The syntax of expressions. Python's parser makes a tree of the text, which is never run as code."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from components.types import UserError

TOO_LONG = "is too long; split it into several columns that are expressions"
MAX_DEPTH = 170  # of the tree, through which functions recurse
MAX_NODES = 5000  # of the tree; most of them are then values of a list after `in`
MAX_CHARACTERS = 100_000
MAX_SHOWN = 60  # characters of an expression in a message
WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
"""The words for constants, in addition to Python's. A column of such a name needs backticks."""

TOKEN = re.compile(
    r"""(?P<text>(?P<prefix>[A-Za-z]*)(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))"""
    r"|`(?P<name>[^`]+)`|(?P<space>\s+)|(?P<comment>\#)",
    re.DOTALL,
)
RAW = re.compile("[bf]?r[bf]?", re.IGNORECASE)  # the prefixes of texts in which backslashes are characters
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
ESCAPES = "\\'\"ntrxuU0"  # the characters that may follow a backslash in a text


class Parsed(NamedTuple):
    """A parsed expression.

    Attributes:
        source: the expression in one line, in which identifiers replace the names in backticks.
        tree: its tree of Python.
        names: the names in backticks, by identifier.
        columns: the names of the columns, in order of first occurrence.
    """

    source: str
    tree: ast.expr
    names: Mapping[str, str]
    columns: tuple[str, ...]

    def show(self, node: ast.expr) -> str:
        """The text of a part of the expression in quotes, for messages."""
        return quote(self.read(node))

    def read(self, node: ast.expr) -> str:
        """The text of a part of the expression. A long one is cut."""
        return shorten(self.read_whole(node))

    def read_whole(self, node: ast.expr) -> str:
        """The text of a part of the expression."""
        shown = self.source.encode()[node.col_offset : node.end_col_offset].decode()
        for identifier, name in self.names.items():
            shown = f"`{name}`".join(re.split(rf" ?\b{identifier}\b ?", shown))
        return shown


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Parsed:
    """Parses an expression. Raises UserError if it doesn't have Python's syntax, or is too long."""
    if len(text) > MAX_CHARACTERS:
        raise make_error(text, TOO_LONG)
    # For the parser, identifiers replace the names in backticks. Their prefix doesn't occur in the text.
    prefix = "_"
    while prefix in text:
        prefix += "_"
    names: dict[str, str] = {}
    source = TOKEN.sub(lambda match: _replace_token(match, text, names, prefix), text)
    try:
        tree = ast.parse(source := source.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise make_error(text, f"is no valid expression: {getattr(error, 'msg', error)}") from error
    except (MemoryError, RecursionError) as error:
        raise make_error(text, TOO_LONG) from error
    _check_size(tree, text)
    columns = dict.fromkeys(names.get(name, name) for name in list_names(tree) if name not in WORDS)
    return Parsed(source, tree, names, tuple(columns))


def make_error(text: str, fault: str) -> UserError:
    """Makes the error about an expression. `fault`: the sentence's end, after the expression."""
    return UserError(f"the expression {shorten(text)!r} {fault}")


def shorten(text: str) -> str:
    """The start of a text, for messages."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def quote(text: str) -> str:
    """A part of an expression in backticks, or in quotes if it has backticks itself."""
    return repr(text) if "`" in text else f"`{text}`"


def _replace_token(match: re.Match[str], text: str, names: dict[str, str], prefix: str) -> str:
    if match["name"] is not None:
        identifier = next((each for each, name in names.items() if name == match["name"]), f"{prefix}{len(names)}")
        names[identifier] = match["name"]
        return f" {identifier} "
    if match["comment"]:
        raise make_error(text, "contains #, which is allowed only in texts and names in backticks")
    if match["space"]:
        return " "
    if not RAW.fullmatch(match["prefix"]):
        _check_escapes(match["text"], text)
    return match["text"]


def _check_escapes(literal: str, text: str) -> None:
    """Raises UserError for an escape that Python doesn't know, or that means another thing in regular expressions."""
    wrong = next((each[0] for each in ESCAPE.finditer(literal) if each[1] not in ESCAPES), None)
    if wrong is not None:
        remedy = rf"Write r{literal} to keep backslashes, as in regular expressions, or \\ for one backslash."
        raise make_error(text, f"contains a text with {wrong}. {remedy}")


def _check_size(tree: ast.expr, text: str) -> None:
    """Raises UserError for a tree that is too deep or has too many nodes."""
    level: list[ast.AST] = [tree]
    nodes = 0
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level or nodes > MAX_NODES:
        raise make_error(text, TOO_LONG)


def list_names(node: ast.AST) -> Iterator[str]:
    """The names in a tree, from left to right, without those of functions."""
    if isinstance(node, ast.Name):
        yield node.id
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Call) and child is node.func and isinstance(child, ast.Name)):
            yield from list_names(child)
