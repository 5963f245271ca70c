"""Names in error messages: lists of names, and the names that are most similar to a wrong one."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Literal

MAX_LISTED = 10  # names in a message
NORMAL_FORMS: dict[Literal["NFC", "NFD"], str] = {
    "NFC": "a letter with its accent is one character",
    "NFD": "an accent is a character of its own",
}


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


def find_other_form(name: object, names: Iterable[str]) -> str | None:
    """The name that differs from a given one only in the normal form of Unicode, and looks alike. None: there is none.

    Some systems write the names of files in another form than a keyboard does.
    """
    normal = unicodedata.normalize("NFC", str(name))
    return next((other for other in names if other != name and unicodedata.normalize("NFC", other) == normal), None)


def describe_other_form(name: str, other: str) -> str:
    """A sentence about a name that differs from another one only in the normal form of Unicode."""
    forms = []
    for text in (name, other):
        found = [form for form in NORMAL_FORMS if unicodedata.is_normalized(form, text)]
        forms.append(f"in {found[0]} ({NORMAL_FORMS[found[0]]})" if found else "mixed")
    return (
        f"It differs from {format_name(other)} only in the normal form of Unicode: it is {forms[0]}, the other "
        f"{forms[1]}."
    )


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

    A name that looks alike, in another normal form of Unicode, is called so. The nearest name is left out if no name is
    similar. The list is left out if there is a nearest name among more than ten.
    """
    allowed = set(names)
    listed = f"Allowed: {join_names(allowed) or 'none'}."
    if (other := find_other_form(name, sorted(allowed))) is not None:
        suggestion = describe_other_form(str(name), other)
    elif (nearest := closest_name(name, sorted(allowed))) is not None:
        suggestion = f"Did you mean {format_name(nearest)}?"
    else:
        return listed
    return suggestion if len(allowed) > MAX_LISTED else f"{suggestion} {listed}"
