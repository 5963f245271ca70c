"""Walks a configuration tree: the paths of its values and parts, and references from one value to another.

A reference, `${learning_rate}`, is a whole value that names a key. Nothing is computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from components.closest import suggest_name
from components.types import UserError

KeyPath: TypeAlias = tuple[str | int, ...]
Seen: TypeAlias = tuple[str, ...]  # the references followed so far

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def join_path(path: KeyPath) -> str:
    """`("architecture", "layers", 4, "rate")` as `architecture.layers.4.rate`."""
    return ".".join(map(str, path))


def iterate_leaves(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The leaves with their paths. An empty list or mapping is a leaf."""
    if isinstance(tree, dict | list) and tree:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from iterate_leaves(value, (*path, key))
    else:
        yield path, tree


def iterate_parts(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The mappings with `_target_` and their paths, outer ones first."""
    if isinstance(tree, dict) and "_target_" in tree:
        yield path, tree
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from iterate_parts(value, (*path, key))


def is_reference(value: Any) -> bool:
    """Whether a value is a reference, even a malformed one."""
    return isinstance(value, str) and "${" in value


def resolve_path(tree: Any, path: KeyPath) -> KeyPath:
    """The path of a value in a raw tree after all references are followed. Raises UserError for a broken reference."""
    return _find_value(tree, path, ())[0]


def resolve_references(tree: Any) -> tuple[Any, dict[str, str]]:
    """Replaces the references of a raw tree by their values.

    Returns:
        The tree, and the problem of each broken reference, by dotted key. A broken reference stays as it is.
    """
    problems: dict[str, str] = {}

    def resolve(value: Any, path: KeyPath, seen: Seen) -> Any:
        if isinstance(value, dict):
            return {key: resolve(one, (*path, key), seen) for key, one in value.items()}
        if isinstance(value, list):
            return [resolve(one, (*path, i), seen) for i, one in enumerate(value)]
        if not is_reference(value):
            return value
        try:
            source, target_value = _follow_reference(tree, value, seen)
        except UserError as error:
            problems[join_path(path)] = str(error)
            return value
        count = len(problems)
        replacement = resolve(target_value, source, (*seen, value))
        return replacement if len(problems) == count else value

    return resolve(tree, (), ()), problems


def _find_value(tree: Any, path: KeyPath, seen: Seen) -> tuple[KeyPath, Any]:
    value: Any = tree
    resolved: KeyPath = ()
    for key in path:
        if isinstance(value, list) and str(key).isdigit() and int(key) < len(value):
            value, resolved = value[int(key)], (*resolved, int(key))
        elif isinstance(value, dict) and key in value:
            value, resolved = value[key], (*resolved, key)
        else:
            names = (join_path(one) for one, _ in iterate_leaves(tree))
            raise UserError(f"there is no {join_path(path)}. {suggest_name(join_path(path), names)}")
        if is_reference(value):
            resolved, value = _follow_reference(tree, value, seen)
    return resolved, value


def _follow_reference(tree: Any, reference: str, seen: Seen) -> tuple[KeyPath, Any]:
    name = REFERENCE.fullmatch(reference)
    if name is None:
        raise UserError(f"{reference} is not understood; a reference is a whole value, ${{name}}")
    if reference in seen:
        raise UserError(f"{reference} refers to itself")
    return _find_value(tree, tuple(name[1].split(".")), (*seen, reference))
