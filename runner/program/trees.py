"""Nested dictionaries of parameters, and other trees of arrays, by the paths of their leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax


def join_keys(keys: Any) -> str:
    """The path of a leaf, `module/…/parameter`, from its keys in JAX."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def copy_containers(tree: Any) -> Any:
    """The tree with containers of its own and the same leaves. A part that changes it in place changes no other."""
    return jax.tree.map(lambda leaf: leaf, tree)


def list_paths(tree: Any) -> list[str]:
    """The paths of all leaves of nested dictionaries, `module/…/parameter`."""
    return [join_keys(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)]


def list_in_order(tree: Any, prefix: str = "") -> list[str]:
    """The same in the order of the dictionaries. JAX sorts them: `list_paths` returns sorted paths."""
    if not isinstance(tree, Mapping):
        return [prefix.removesuffix("/")]
    return [path for name, branch in tree.items() for path in list_in_order(branch, f"{prefix}{name}/")]


def list_changed(function: Callable[[Any], Any], tree: Any) -> set[str]:
    """The paths of the arrays that a function of nested dictionaries doesn't return as they are.

    Args:
        function: nested dictionaries of arrays -> the same with other values. It is traced.
        tree: arrays or their shapes; nothing is computed.
    """
    traced = jax.make_jaxpr(function)(tree).jaxpr
    arrays = zip(list_paths(tree), traced.invars, traced.outvars, strict=True)
    return {path for path, before, after in arrays if before is not after}


def count_elements(tree: Any) -> int:
    """The number of elements of all arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def select(tree: Any, is_selected: Callable[[str], bool], prefix: str = "") -> Any:
    """The nested dictionaries with those leaves whose paths are selected."""
    if not isinstance(tree, Mapping):
        return tree
    selected = {}
    for name, branch in tree.items():
        path = f"{prefix}{name}"
        if isinstance(branch, Mapping):
            if below := select(branch, is_selected, f"{path}/"):
                selected[name] = below
        elif is_selected(path):
            selected[name] = branch
    return selected


def merge(tree: Any, other: Any) -> Any:
    """Nested dictionaries with the leaves of two of them. If both have a leaf, that of `other` counts."""
    if not other:
        return tree
    merged = dict(tree)
    for name, branch in other.items():
        both = isinstance(branch, Mapping) and name in tree
        merged[name] = merge(tree[name], branch) if both else branch
    return merged


def carry_over(fresh: Any, old: Any, *, is_whole: Callable[[Any], bool] = lambda node: False) -> Any:
    """A fresh tree with the leaves of an old one, where both have a leaf of the same name and shape.

    Args:
        fresh: the fresh tree.
        old: the old tree.
        is_whole: whether the leaves of a node belong together: it is old if all its leaves are, else fresh.
    """
    old_nodes = dict(jax.tree_util.tree_leaves_with_path(old, is_leaf=is_whole))

    def describe(node: Any) -> Any:
        return jax.tree.structure(node), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(node)]

    def carry(keys: Any, node: Any) -> Any:
        found = old_nodes.get(keys)
        return found if found is not None and describe(found) == describe(node) else node

    return jax.tree_util.tree_map_with_path(carry, fresh, is_leaf=is_whole)
