"""Choosing from a table by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from components.types import UserError

Entry = TypeVar("Entry")


def choose(what: str, table: Mapping[str, Entry], name: str) -> Entry:
    """The entry of that name; raises UserError with the nearest name and all names where there is none."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"unknown {what} {name!r}: {hint}there are {', '.join(table)}")
