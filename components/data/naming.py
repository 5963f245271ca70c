"""Names of columns in messages, and as a command line takes them."""

from __future__ import annotations

import re

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")


def setting(key: str, value: str) -> str:
    """What to write on a command line to give a key a name of a column, in quotes where it must have them."""
    return f"{key}={value}" if PLAIN.fullmatch(value) else f"""'{key}="{value}"'"""


def typed(name: str, kind: str) -> str:
    """What to write to declare the type of a column."""
    known = PLAIN.fullmatch(name)
    return f"data.types.{name}={kind}" if known else f"`{name}: {kind}` below `types:` of what mode=init writes"
