"""Nearest names, and lists of names, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FEW = 10  # names that a message lists


def closest_names(name: object, names: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The names that are most similar to one, the nearest first.

    Args:
        name: what the user wrote.
        names: the names to compare it with.
        count: how many are returned at most.
        cutoff: the least similarity, from 0 to 1, as in `difflib.get_close_matches`.
    """
    return difflib.get_close_matches(str(name), list(dict.fromkeys(names)), count, cutoff)


def closest_name(name: object, names: Iterable[str]) -> str | None:
    """The most similar name; None where no name is similar enough."""
    return next(iter(closest_names(name, names, count=1)), None)


def show_name(name: str) -> str:
    """A name in a message. One that is empty, unprintable, or begins or ends with a space is quoted."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)


def list_names(names: Iterable[str]) -> str:
    """Names in alphabetical order, the first ten of many: `a, b, …, … (5 more)`."""
    every = sorted(set(names))
    rest = f", … ({len(every) - FEW:,} more)" if len(every) > FEW else ""
    return ", ".join(map(show_name, every[:FEW])) + rest


def suggest_name(name: object, names: Iterable[str]) -> str:
    """The nearest name, and the names that are allowed: `did you mean nadam? (adam, nadam)` or `allowed: adam, nadam`.

    The list stays away where there is a nearest name and many others.
    """
    every = set(names)
    if (nearest := closest_name(name, sorted(every))) is None:
        return f"allowed: {list_names(every) or 'none'}"
    return f"did you mean {show_name(nearest)}?" + (f" ({list_names(every)})" if len(every) <= FEW else "")
