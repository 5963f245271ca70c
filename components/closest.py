"""Names in error messages: lists of names, and the names that are most similar to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 10  # names in a list


def closest_names(name: object, names: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The names that are most similar to a given name, the most similar first.

    Args:
        name: what the user wrote.
        names: the names to compare it with.
        count: the largest number of names to return.
        cutoff: the least similarity, from 0 to 1, as in `difflib.get_close_matches`.
    """
    return difflib.get_close_matches(str(name), list(dict.fromkeys(names)), count, cutoff)


def closest_name(name: object, names: Iterable[str]) -> str | None:
    """The most similar name; None where no name is similar enough."""
    return next(iter(closest_names(name, names, count=1)), None)


def format_name(name: str) -> str:
    """The name; quoted where it is empty, is not printable, or starts or ends with a space."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)


def join_names(names: Iterable[str]) -> str:
    """Joins names in alphabetical order; of more than ten only the first ten: `a, b, …, … (5 more)`."""
    unique_names = sorted(set(names))
    hidden = len(unique_names) - MAX_LISTED
    ending = f", … ({hidden:,} more)" if hidden > 0 else ""
    return ", ".join(map(format_name, unique_names[:MAX_LISTED])) + ending


def suggest_name(name: object, names: Iterable[str]) -> str:
    """Suggests the nearest allowed name: `did you mean nadam? (adam, nadam)`, or `allowed: adam, nadam` without one.

    Where there is a nearest name, the list of allowed names follows only if it is short.
    """
    allowed = set(names)
    nearest = closest_name(name, sorted(allowed))
    if nearest is None:
        return f"allowed: {join_names(allowed) or 'none'}"
    listed = f" ({join_names(allowed)})" if len(allowed) <= MAX_LISTED else ""
    return f"did you mean {format_name(nearest)}?{listed}"
