"""How a look says where things are, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.store_uri import viewing_command


def facts(folder: Path, tracking: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where the figures are, and how to open the record."""
    return [("figures", str(folder / "figures")), *([("record", viewing_command(tracking["uri"]))] if tracking else [])]


def number(value: float) -> str:
    """A number, short."""
    return f"{value:.4g}"


def share(count: int, total: int) -> str:
    """A count with its share of a total."""
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"
