"""Tables on standard output: aligned text, or drawn ones on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.report import aligned, opening


class Section(NamedTuple):
    """A table under a line that says what it is; its first row is the heading of its columns."""

    title: str
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in aligned(self.rows))]) + "\n"


def show(sections: Sequence[Section], facts: Sequence[Sequence[str]]) -> None:
    """Prints tables, and pairs of a word and what there is to say of it."""
    with suppress(OSError):  # whoever read the pipe is gone
        if sys.stdout.isatty():
            _print_rich(sections)
        else:
            print("\n".join(map(str, sections)))
        print("\n".join(aligned(facts)), flush=True)


def facts(folder: Path, tracking: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where the figures are, and how to open the record."""
    return [("figures", str(folder / "figures")), *([("record", opening(tracking["uri"]))] if tracking else [])]


def number(value: float) -> str:
    """A number, short."""
    return f"{value:.4g}"


def share(count: int, total: int) -> str:
    """A count with its share of a total."""
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _print_rich(sections: Sequence[Section]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for section in sections:
        heading, *body = section.rows
        table = Table(title=Text(section.title), title_justify="left", title_style="bold")
        for name in heading:
            table.add_column(Text(name))
        for row in body:
            table.add_row(*map(Text, row))
        console.print(table)
