"""Look-up of a named entry in a table, and the name of a function that stands in place of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

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


def describe_function(function: Callable[..., Any]) -> str:
    """The name of a function or callable object for a message."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
