"""Patterns for paths of parameters, such as `architecture/stage_1*/**/kernel`.

`*` matches any characters within one name, `**` matches any number of names. A pattern that matches a module also
matches all parameters below the module.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import jax


def leaves_with_paths(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of nested dictionaries with their paths, `module/…/parameter`, in JAX's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


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
