"""Patterns for paths of parameters, such as `architecture/stage_1*/**/kernel`.

`*` matches any characters within one name, `**` matches any number of names. A pattern that matches a module also
matches all parameters below the module.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from components.closest import closest_name, join_names
from components.types import FieldError, UserError

EMBEDDINGS = ("**/embedding",)
WEIGHTS = ("**/kernel", *EMBEDDINGS)
"""Patterns of the parameters that penalties, decay and constraints change by default. Biases and scales are none."""
ARCHITECTURE = "architecture"  # the name of the architecture within the model


def leaves_with_paths(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of nested dictionaries with their paths, `module/…/parameter`, in JAX's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(_join(path), leaf) for path, leaf in leaves]


def make_tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries of leaves: {"params/head/bias": b} -> {"params": {"head": {"bias": b}}}."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *modules, name = path.split("/")
        branch = tree
        for module in modules:
            branch = branch.setdefault(module, {})
        branch[name] = leaf
    return tree


def map_matching(
    change: Callable[[str, Any], Any], tree: Any, patterns: Sequence[str] | None, *, default: Sequence[str]
) -> Any:
    """Applies a function to the leaves of nested dictionaries whose paths match a pattern.

    Args:
        change: (path, leaf) -> the new leaf.
        tree: nested dictionaries.
        patterns: patterns of the paths. None: those of `default`.
        default: patterns of which one must match a leaf.

    Raises:
        UserError: one of `patterns`, or all of `default`, match no leaf.
    """
    paths = [path for path, _ in leaves_with_paths(tree)]
    if patterns is None:
        select_default(paths, default)
    else:
        check_patterns(patterns, paths)

    def map_leaf(keys: Any, leaf: Any) -> Any:
        path = _join(keys)
        return change(path, leaf) if matches_any(default if patterns is None else patterns, path) else leaf

    return jax.tree_util.tree_map_with_path(map_leaf, tree)


def check_patterns(
    patterns: Iterable[str], paths: Sequence[str], field: str = "paths", noun: str = "parameter"
) -> None:
    """Checks that each pattern matches a parameter of a model.

    Args:
        patterns: the patterns.
        paths: the paths of the model's parameters.
        field: the parameter of the part that has the patterns.
        noun: what the paths are of.

    Raises:
        FieldError: a pattern matches no path, or there is no pattern.
    """
    patterns, listed = tuple(patterns), f"Parameters: {join_names(paths)}."
    if not patterns:
        raise FieldError(field, f"the list of patterns is empty, so it would change nothing. {listed}")
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            nearest = _complete(pattern, paths) or closest_name(
                pattern, _list_patterns(paths, anywhere=pattern.startswith("**/"))
            )
            suggestion = f"Did you mean {nearest}? " if nearest else ""
            raise FieldError(field, f"no {noun} matches the pattern {pattern}. {suggestion}{listed}")


def _complete(pattern: str, paths: Sequence[str]) -> str | None:
    """The pattern below the module in which it matches, or anywhere if there are several. None: it matches nowhere."""
    modules: dict[str, None] = {}
    for path in paths:
        names = path.split("/")
        below = (depth for depth in range(1, len(names)) if matches(pattern, "/".join(names[depth:])))
        modules |= {"/".join(names[:depth]): None for depth in below}
    return f"{next(iter(modules)) if len(modules) == 1 else '**'}/{pattern}" if modules else None


def _list_patterns(paths: Sequence[str], *, anywhere: bool) -> list[str]:
    """Patterns without `*` of all parameters and modules; `anywhere`: those of their names, after `**/`."""
    names = [path.split("/") for path in paths]
    if anywhere:
        return list(dict.fromkeys(f"**/{name}" for path in names for name in path))
    return list(dict.fromkeys("/".join(path[:depth]) for path in names for depth in range(1, len(path) + 1)))


def select_default(paths: Sequence[str], default: Sequence[str]) -> list[str]:
    """The paths that default patterns match. Raises UserError if there is none, since the part would do nothing."""
    found = [path for path in paths if matches_any(default, path)]
    if not found:
        names = " or ".join(pattern.removeprefix("**/") for pattern in default)
        raise UserError(f"no parameter is a {names}, so it would change nothing. Parameters: {join_names(paths)}.")
    return found


def matches_any(patterns: Iterable[str], path: str) -> bool:
    """Whether a pattern matches a path, or a module above it."""
    return any(matches(pattern, path) for pattern in patterns)


def _join(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def matches(pattern: str, path: str, *, separators: str = "/", crosses: bool = False) -> bool:
    """Whether a pattern matches a path, or a module above it.

    Args:
        pattern: names, `*` and `**`, joined by separators.
        path: names joined by separators.
        separators: the characters that may join names. PyTorch joins names with `.`.
        crosses: whether `*` also matches separators, as `**` does.
    """
    return _compile(pattern, separators, crosses).fullmatch(path) is not None


@functools.lru_cache(maxsize=1024)
def _compile(pattern: str, separators: str, crosses: bool) -> re.Pattern[str]:
    separator = f"[{re.escape(separators)}]"
    if crosses:
        expression = ".*".join(map(re.escape, re.split(r"\*+", pattern)))
        return re.compile(f"{expression}(?:{separator}.*)?", re.DOTALL)
    # Repeated `**` add nothing: `a/**/**/b` becomes `a/**/b`.
    pattern = re.sub(rf"(^|{separator})\*\*(?:{separator}\*\*)+(?={separator}|$)", r"\1**", pattern)
    expression, position = "", 0
    # `a/**/b` also matches `a/b`, so the expression of `**` includes one of the two separators around it.
    for match in re.finditer(rf"(?:^|(?<={separator}))\*\*{separator}|{separator}\*\*$|\*+", pattern):
        expression += re.escape(pattern[position : match.start()])
        if len(match[0]) > 2 and match[0][-1] in separators:
            expression += f"(?:.*{separator})?"
        elif match[0][0] in separators:
            expression += f"(?:{separator}.*)?"
        else:
            expression += ".*" if len(match[0]) > 1 else f"[^{re.escape(separators)}]*"
        position = match.end()
    return re.compile(f"{expression}{re.escape(pattern[position:])}(?:{separator}.*)?", re.DOTALL)
