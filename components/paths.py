"""Patterns over paths of parameters, such as `architecture/stage_1*/**/kernel`.

`*` stands for any characters within one name, `**` for any number of names. A pattern that names a module covers all
parameters below it.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import jax


def leaves_with_paths(tree: Any) -> list[tuple[str, Any]]:
    """Returns the leaves of nested dictionaries with their paths, `module/…/parameter`, in JAX's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def matches(pattern: str, path: str, *, separators: str = "/", crosses: bool = False) -> bool:
    """Returns whether a pattern names a path, or a module above it.

    Args:
        pattern: names, `*` and `**`, joined by separators.
        path: names joined by separators.
        separators: characters that end a name. PyTorch joins names with `.`.
        crosses: whether `*` crosses names, as `**` does.
    """
    return _compile(pattern, separators, crosses).fullmatch(path) is not None


@functools.lru_cache(maxsize=1024)
def _compile(pattern: str, separators: str, crosses: bool) -> re.Pattern[str]:
    end = f"[{re.escape(separators)}]"
    if crosses:
        expression = ".*".join(map(re.escape, re.split(r"\*+", pattern)))
        return re.compile(f"{expression}(?:{end}.*)?", re.DOTALL)
    pattern = re.sub(rf"(^|{end})\*\*(?:{end}\*\*)+(?={end}|$)", r"\1**", pattern)  # a/**/**/b is a/**/b
    expression, place = "", 0
    # A `**` between separators may stand for no name at all, so it takes one of its separators with it.
    for match in re.finditer(rf"(?:^|(?<={end}))\*\*{end}|{end}\*\*$|\*+", pattern):
        expression += re.escape(pattern[place : match.start()])
        if len(match[0]) > 2 and match[0][-1] in separators:
            expression += f"(?:.*{end})?"
        elif match[0][0] in separators:
            expression += f"(?:{end}.*)?"
        else:
            expression += ".*" if len(match[0]) > 1 else f"[^{re.escape(separators)}]*"
        place = match.end()
    return re.compile(f"{expression}{re.escape(pattern[place:])}(?:{end}.*)?", re.DOTALL)
