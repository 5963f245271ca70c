"""Places in a configuration: their names, the parts that stand there, and references from one to another.

A reference, `${learning_rate}`, is a whole value and names a key: there is nothing to compute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from components.closest import suggest_name
from components.types import UserError

KeyPath: TypeAlias = tuple[str | int, ...]
Seen: TypeAlias = tuple[str, ...]  # references followed on the way

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def dotted(place: KeyPath) -> str:
    """`("architecture", "layers", 4, "rate")` as `architecture.layers.4.rate`."""
    return ".".join(map(str, place))


def leaves(tree: Any, place: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The values that hold no others, with their places; an empty list or mapping is one too."""
    if isinstance(tree, dict | list) and tree:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, (*place, key))
    else:
        yield place, tree


def parts(tree: Any, place: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The mappings with `_target_`, outer ones first, with their places."""
    if isinstance(tree, dict) and "_target_" in tree:
        yield place, tree
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from parts(value, (*place, key))


def is_reference(value: Any) -> bool:
    """Whether a value is meant to stand for another."""
    return isinstance(value, str) and "${" in value


def resolve_path(tree: Any, place: KeyPath) -> KeyPath:
    """Where in a raw tree the value of a place stands itself, once references are followed.

    Raises UserError where one leads nowhere.
    """
    return _find(tree, place, ())[0]


def resolve_references(tree: Any) -> tuple[Any, dict[str, str]]:
    """A raw tree with values for its references, and by key what is wrong with those that had to stay."""
    problems: dict[str, str] = {}

    def filled(value: Any, place: KeyPath, seen: Seen) -> Any:
        if isinstance(value, dict):
            return {key: filled(one, (*place, key), seen) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one, (*place, i), seen) for i, one in enumerate(value)]
        if not is_reference(value):
            return value
        try:
            there, found = _follow(tree, value, seen)
        except UserError as error:
            problems[dotted(place)] = str(error)
            return value
        before = len(problems)
        made = filled(found, there, (*seen, value))
        return made if len(problems) == before else value

    return filled(tree, (), ()), problems


def _find(tree: Any, place: KeyPath, seen: Seen) -> tuple[KeyPath, Any]:
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
            here, value = _follow(tree, value, seen)
    return here, value


def _follow(tree: Any, reference: str, seen: Seen) -> tuple[KeyPath, Any]:
    name = REFERENCE.fullmatch(reference)
    if name is None:
        raise UserError(f"{reference} is not understood; a reference is a whole value, ${{name}}")
    if reference in seen:
        raise UserError(f"{reference} refers to itself")
    return _find(tree, tuple(name[1].split(".")), (*seen, reference))
