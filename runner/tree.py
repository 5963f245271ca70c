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


def dotted(place: KeyPath) -> str:
    """`("architecture", "layers", 4, "rate")` as `architecture.layers.4.rate`."""
    return ".".join(map(str, place))


def leaves(tree: Any, place: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The leaves with their paths. An empty list or mapping is a leaf."""
    if isinstance(tree, dict | list) and tree:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, (*place, key))
    else:
        yield place, tree


def parts(tree: Any, place: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The mappings with `_target_` and their paths, outer ones first."""
    if isinstance(tree, dict) and "_target_" in tree:
        yield place, tree
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from parts(value, (*place, key))


def is_reference(value: Any) -> bool:
    """Whether a value is a reference, even a malformed one."""
    return isinstance(value, str) and "${" in value


def resolve_path(tree: Any, place: KeyPath) -> KeyPath:
    """The path of a value in a raw tree after all references are followed. Raises UserError for a broken reference."""
    return _find_value(tree, place, ())[0]


def resolve_references(tree: Any) -> tuple[Any, dict[str, str]]:
    """Replaces the references of a raw tree by their values.

    Returns:
        The tree, and the problem of each broken reference, by dotted key. A broken reference stays as it is.
    """
    problems: dict[str, str] = {}

    def filled(value: Any, place: KeyPath, seen: Seen) -> Any:
        if isinstance(value, dict):
            return {key: filled(one, (*place, key), seen) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one, (*place, i), seen) for i, one in enumerate(value)]
        if not is_reference(value):
            return value
        try:
            there, found = _follow_reference(tree, value, seen)
        except UserError as error:
            problems[dotted(place)] = str(error)
            return value
        before = len(problems)
        made = filled(found, there, (*seen, value))
        return made if len(problems) == before else value

    return filled(tree, (), ()), problems


def _find_value(tree: Any, place: KeyPath, seen: Seen) -> tuple[KeyPath, Any]:
    value: Any = tree
    here: KeyPath = ()
    for key in place:
        if isinstance(value, list) and str(key).isdigit() and int(key) < len(value):
            value, here = value[int(key)], (*here, int(key))
        elif isinstance(value, dict) and key in value:
            value, here = value[key], (*here, key)
        else:
            names = (dotted(one) for one, _ in leaves(tree))
            raise UserError(f"there is no {dotted(place)}; {suggest_name(dotted(place), names)}")
        if is_reference(value):
            here, value = _follow_reference(tree, value, seen)
    return here, value


def _follow_reference(tree: Any, reference: str, seen: Seen) -> tuple[KeyPath, Any]:
    name = REFERENCE.fullmatch(reference)
    if name is None:
        raise UserError(f"{reference} is not understood; a reference is a whole value, ${{name}}")
    if reference in seen:
        raise UserError(f"{reference} refers to itself")
    return _find_value(tree, tuple(name[1].split(".")), (*seen, reference))
