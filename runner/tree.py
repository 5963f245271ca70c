"""The paths of values and parts in a configuration, and the references between values.

A reference such as `${learning_rate}` names a key. It must be the entire value, not a part of a longer text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from components.closest import suggest_name
from components.types import UserError

KeyPath: TypeAlias = tuple[str | int, ...]
References: TypeAlias = tuple[str, ...]  # the references that were followed, to detect cycles

REFERENCE = re.compile(r"\$\{([\w.]+)\}")
REFERENCE_RULE = (
    "`${` starts a reference, which must be the entire value: ${KEY}. For a text with these two characters, write in a "
    "query '$' || '{'"
)
FUNCTION = re.compile(r"\$\{([\w.]+):")  # of OmegaConf and Hydra, such as ${oc.env:HOME} and ${now:%Y}


def join_path(path: KeyPath) -> str:
    """The dotted key of a path: `architecture.layers.4.rate` for `("architecture", "layers", 4, "rate")`."""
    return ".".join(map(str, path))


def iterate_leaves(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yields the leaves with their paths. An empty list or mapping is a leaf."""
    if isinstance(tree, dict | list) and tree:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from iterate_leaves(value, (*path, key))
    else:
        yield path, tree


def dotted_leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree of plain values, by dotted key. A list without lists and mappings in it is one leaf.

    Args:
        node: the tree.
        prefix: the dotted key of its root.
    """
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from dotted_leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list) and any(isinstance(value, Mapping | list) for value in node):
        for index, value in enumerate(node):
            yield from dotted_leaves(value, f"{prefix}.{index}")
    elif prefix:
        yield prefix, node


def change_value(tree: Any, path: Sequence[str | int], change: Callable[[Any], Any]) -> Any:
    """A copy of a tree with another value at a path. It shares all other values with the tree.

    Args:
        tree: mappings and lists.
        path: the keys. That of an element of a list is its number, which may be text.
        change: returns the new value. It gets the earlier one; None: there is none.

    Raises:
        IndexError: a list on the path has no such element.
    """
    if not path:
        return change(tree)
    key, *rest = path
    if isinstance(tree, list):
        if not str(key).isdecimal() or int(key) >= len(tree):
            raise IndexError(key)
        index = int(key)
        return [*tree[:index], change_value(tree[index], rest, change), *tree[index + 1 :]]
    mapping = tree if isinstance(tree, dict) else {}
    return {**mapping, key: change_value(mapping.get(key), rest, change)}


def merge_values(earlier: Any, later: Any) -> Any:
    """Merges plain values: mappings key by key, elements of a list by their numbers, and others by the later value.

    Raises:
        IndexError: a list has no element of a number.
    """
    if isinstance(earlier, list) and isinstance(later, dict):  # such as those of `layers.0.rate=0.1`
        changes = {str(number): change for number, change in later.items()}
        if unknown := changes.keys() - {*map(str, range(len(earlier)))}:
            raise IndexError(*unknown)
        return [merge_values(element, changes.get(str(number), element)) for number, element in enumerate(earlier)]
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return later
    return earlier | {key: merge_values(earlier.get(key), value) for key, value in later.items()}


def iterate_parts(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yields the parts (mappings with `_target_`) with their paths, outer parts first."""
    if isinstance(tree, dict) and "_target_" in tree:
        yield path, tree
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from iterate_parts(value, (*path, key))


def is_reference(value: Any) -> bool:
    """Whether a value is a reference. It may be malformed."""
    return isinstance(value, str) and "${" in value


def follow_references(tree: Any, path: KeyPath) -> KeyPath:
    """Follows the references along a path. Raises UserError for a broken reference.

    Returns:
        The path of the value where they end.
    """
    resolved_path, _ = _locate(tree, path, ())
    return resolved_path


def resolve_references(tree: Any) -> tuple[Any, dict[str, str]]:
    """Replaces the references in a tree by their values.

    Returns:
        The tree, and the problem of each broken reference by dotted key. Broken references are kept, and so are
        references to values that contain one.
    """
    problems: dict[str, str] = {}

    def resolve(value: Any, path: KeyPath, seen: References) -> Any:
        if isinstance(value, dict):
            return {key: resolve(element, (*path, key), seen) for key, element in value.items()}
        if isinstance(value, list):
            return [resolve(element, (*path, index), seen) for index, element in enumerate(value)]
        if not is_reference(value):
            return value
        try:
            referred_path, referred_value = _follow_reference(tree, value, seen)
        except UserError as error:
            problems[join_path(path)] = str(error)
            return value
        replacement = resolve(referred_value, referred_path, (*seen, value))
        has_broken_reference = any(is_reference(leaf) for _, leaf in iterate_leaves(replacement))
        return value if has_broken_reference else replacement

    return resolve(tree, (), ()), problems


def _locate(tree: Any, path: KeyPath, seen: References) -> tuple[KeyPath, Any]:
    """Follows a path and the references along it. Returns the resolved path and the value there."""
    value: Any = tree
    resolved: KeyPath = ()
    for key in path:
        if isinstance(value, list) and str(key).isdigit() and int(key) < len(value):
            value, resolved = value[int(key)], (*resolved, int(key))
        elif isinstance(value, dict) and key in value:
            value, resolved = value[key], (*resolved, key)
        else:
            names = (join_path(leaf_path) for leaf_path, _ in iterate_leaves(tree))
            raise UserError(f"there is no key {join_path(path)}. {suggest_name(join_path(path), names)}")
        if is_reference(value):
            resolved, value = _follow_reference(tree, value, seen)
    return resolved, value


def _follow_reference(tree: Any, reference: str, seen: References) -> tuple[KeyPath, Any]:
    """Returns the path and the value that a reference leads to."""
    match = REFERENCE.fullmatch(reference)
    if function := FUNCTION.search(reference):
        raise UserError(
            f"{reference} calls the function {function[1]}, which a configuration can't do, since it is recorded with "
            'the run. Write the value, or let the shell insert it, as in folder="$HOME/runs".'
        )
    if match is None:
        raise UserError(f"{reference} is not a valid reference: {REFERENCE_RULE}.")
    if reference in seen:
        raise UserError(f"{reference} refers to itself")
    return _locate(tree, tuple(match[1].split(".")), (*seen, reference))
