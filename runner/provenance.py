"""Who set each value of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.tree import dotted, leaves


def origins(tree: Any, settings: Iterable[tuple[str, Any, str]]) -> dict[str, str]:
    """By dotted leaf of a composed tree: the origin of the last of the (key, value, origin) that set it."""
    marks: dict[str, str] = {}
    for key, value, origin in settings:
        prefix = (key,) if key else ()
        marks |= {dotted(place): origin for place, _ in leaves(value, prefix)}
    keys = [dotted(place) for place, _ in leaves(tree)]
    return {key: marks[key] for key in keys if key in marks}


def who(origins: Mapping[str, str], key: str) -> str | None:
    """Who set a key or something in it; for a key that is missing, who chose the part that should have it."""
    inside = (origin for leaf, origin in origins.items() if f"{leaf}.".startswith(f"{key}."))
    if (origin := next(inside, None)) is not None:
        return origin
    owner = key.rpartition(".")[0]
    return origins.get(f"{owner}._target_") or who(origins, owner) if owner else None


def said(problem: str, origin: str | None) -> str:
    """A problem with who is to change something."""
    return f"{problem} [set by {origin}]" if origin else problem
