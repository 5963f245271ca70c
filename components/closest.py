"""Names in error messages: lists of names, and the names that are most similar to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 10  # names in a message


def closest_names(name: object, names: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The names most similar to a given name, the nearest first.

    Args:
        name: the name that the user wrote.
        names: the names to compare it with.
        count: the maximum number of names to return.
        cutoff: the minimum similarity, from 0 to 1, as in `difflib.get_close_matches`.
    """
    return difflib.get_close_matches(str(name), list(dict.fromkeys(names)), count, cutoff)


def closest_name(name: object, names: Iterable[str]) -> str | None:
    """The most similar name; None where no name is similar enough."""
    return next(iter(closest_names(name, names, count=1)), None)


def format_name(name: str) -> str:
    """Formats a name for a message: in quotes if it is empty, unprintable, or starts or ends with a space."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)


def join_names(names: Iterable[str]) -> str:
    """Joins names in alphabetical order, and cuts the list after ten: `a, b, …, … (5 more)`."""
    ordered = sorted(set(names))
    rest = f", … ({len(ordered) - MAX_LISTED:,} more)" if len(ordered) > MAX_LISTED else ""
    return ", ".join(map(format_name, ordered[:MAX_LISTED])) + rest


def suggest_name(name: object, names: Iterable[str]) -> str:
    """The nearest name and the allowed names: `Did you mean nadam? Allowed: adam, nadam.`

    The nearest name is left out if no name is similar. The list is left out if there is a nearest name among more than
    ten.
    """
    allowed = set(names)
    listed = f"Allowed: {join_names(allowed) or 'none'}."
    if (nearest := closest_name(name, sorted(allowed))) is None:
        return listed
    suggestion = f"Did you mean {format_name(nearest)}?"
    return suggestion if len(allowed) > MAX_LISTED else f"{suggestion} {listed}"
