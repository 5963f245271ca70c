"""Look-up of a named entry in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from components.closest import suggest_name
from components.types import UserError

Entry = TypeVar("Entry")


def get_entry(kind: str, table: Mapping[str, Entry], name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
        UserError: there is no such name; the message has the kind of entry and the nearest name.
    """
    if name in table:
        return table[name]
    raise UserError(f"unknown {kind} {name!r}. {suggest_name(name, table)}")
