"""Names of columns in messages, and as a command line takes them."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import islice

FEW = 20  # names that a message lists
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")


def shown(name: str) -> str:
    """A name in a list; in quotes where it begins or ends with a space, or has none of its characters to see."""
    return repr(name) if name != name.strip() or not name.isprintable() or not name else name


def listed(names: Collection[str]) -> str:
    """Names in a row, the first of many."""
    rest = f", … ({len(names) - FEW:,} more)" if len(names) > FEW else ""
    return ", ".join(map(shown, islice(names, FEW))) + rest


def setting(key: str, value: str) -> str:
    """What to write on a command line to give a key a name of a column, in quotes where it must have them."""
    return f"{key}={value}" if PLAIN.fullmatch(value) else f"""'{key}="{value}"'"""


def typed(name: str, kind: str) -> str:
    """What to write to declare the type of a column."""
    known = PLAIN.fullmatch(name)
    return f"data.types.{name}={kind}" if known else f"`{name}: {kind}` below `types:` of what mode=init writes"
