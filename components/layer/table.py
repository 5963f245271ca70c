"""Choosing from a table by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from components.closest import suggest_name
from components.types import UserError

Entry = TypeVar("Entry")


def choose(what: str, table: Mapping[str, Entry], name: str) -> Entry:
    """The entry of that name; raises UserError with the nearest name and all names where there is none."""
    if name in table:
        return table[name]
    raise UserError(f"unknown {what} {name!r}; {suggest_name(name, table)}")
