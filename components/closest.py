"""Names in error messages: lists of names, and the names that are most similar to a wrong one."""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from components.other_names import OTHER_NAMES

MAX_LISTED = 10  # names in a message
MIN_CONTAINED = 3  # characters of a name that is looked for in longer names
MISSPELLED = 0.9  # similarity of a name that must be meant if it is the only one
SEPARATORS = re.compile(r"[\s_-]+")  # between the words of a name
WORD = re.compile(r"[^\W_]+")
NORMAL_FORMS: dict[Literal["NFC", "NFD"], str] = {
    "NFC": "a letter with its accent is one character",
    "NFD": "an accent is a character of its own",
}


def closest_names(name: object, names: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The names most similar to a given name, the nearest first.

    The case of letters, `_`, `-` and spaces don't count. The name that another library has for one of ours counts as
    equal to ours.

    Args:
        name: the name that the user wrote.
        names: the names to compare it with.
        count: the maximum number of names to return.
        cutoff: the minimum similarity, from 0 to 1, as in `difflib.get_close_matches`.
    """
    names = list(names)
    by_spelling = _group_spellings(names)
    near = difflib.get_close_matches(_normalize(name), list(by_spelling), count, cutoff)
    similar = [each for spelling in near for each in by_spelling[spelling]]
    return list(dict.fromkeys([*equal_names(name, names), *similar]))[:count]


def closest_name(name: object, names: Iterable[str]) -> str | None:
    """The most similar name; None where no name is similar enough."""
    return next(iter(closest_names(name, names, count=1)), None)


def _normalize(name: object) -> str:
    """A name as it is compared."""
    return SEPARATORS.sub("", str(name).casefold()) or str(name)


def _group_spellings(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is compared of them."""
    by_spelling: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        by_spelling.setdefault(_normalize(name), []).append(name)
    return by_spelling


def equal_names(name: object, names: Iterable[str]) -> list[str]:
    """The names that differ in case and `_` only, or else those that another library calls by the name."""
    spelling, by_spelling = _normalize(name), _group_spellings(names)
    if spelling in by_spelling:
        return list(by_spelling[spelling])
    return [each for ours in _other_names().get(spelling, ()) for each in by_spelling.get(_normalize(ours), ())]


@functools.cache
def _other_names() -> dict[str, tuple[str, ...]]:
    return {_normalize(name): ours for name, ours in OTHER_NAMES.items()}


def _find_containing(name: object, names: Sequence[str]) -> list[str]:
    """The names that start with the name, or else those of which it is a word: `price` of `asking price`."""
    spelling = _normalize(name)
    if len(spelling) < MIN_CONTAINED:
        return []
    starting = [each for each in names if _normalize(each).startswith(spelling)]
    return starting or [each for each in names if spelling in WORD.findall(each.casefold())]


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


def suggest_name(name: object, names: Iterable[str], *, title: str = "Allowed") -> str:
    """The nearest names and the allowed names: `Did you mean nadam? Allowed: adam, nadam.`

    A name that looks alike, in another normal form of Unicode, is called so. Otherwise the nearest names are the first
    of these that exist: those that differ in case and `_` only, those that another library calls by the name, the only
    very similar one, those that start with the name, those that have it as a word, the most similar one. The allowed
    names are left out if there are near ones among more than ten.

    Args:
        name: the name that the user wrote, or that the data lacks.
        names: the allowed names.
        title: the word before these: `Columns` if they are what the data has, and the name may be right.
    """
    allowed = sorted(set(names))
    listed = f"{title}: {join_names(allowed) or 'none'}."
    misspelled = closest_names(name, allowed, count=2, cutoff=MISSPELLED)
    nearest = equal_names(name, allowed) or (misspelled if len(misspelled) == 1 else [])
    nearest = nearest or _find_containing(name, allowed) or closest_names(name, allowed, count=1)
    if (other := find_other_form(name, allowed)) is not None:
        suggestion = describe_other_form(str(name), other)
    elif not nearest or (len(nearest) == len(allowed) > 1):
        return listed
    else:
        listing = " or ".join(map(format_name, nearest)) if len(nearest) < 3 else join_names(nearest)
        suggestion = f"Did you mean {listing}?"
    return suggestion if len(allowed) > MAX_LISTED else f"{suggestion} {listed}"
