"""Text on standard output, whatever that is: tables are drawn on a terminal, and aligned elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from runner.terminal import on_terminal, write_line

Row = Sequence[str]


class Section(NamedTuple):
    """A table, and what it is in a line above it; a cell is text as it stands, whatever brackets are in it."""

    title: str  # empty: none, and no empty line below the table
    rows: Sequence[Row]
    headed: bool = True  # the first row is the heading of the columns
    right: Collection[int] = ()  # the columns that are numbers

    def __str__(self) -> str:
        lines = _aligned(self.rows, self.right)
        return "\n".join([self.title, *(f"  {line}" for line in lines), ""] if self.title else lines)


def print_tables(sections: Sequence[Section], facts: Sequence[Row] = ()) -> None:
    """Prints tables, those without rows left out, and below them pairs of a word and what there is to say of it.

    That nobody reads it any more stops nothing.
    """
    with suppress(OSError, ValueError):
        write_tables(sections, facts)


def write_tables(sections: Sequence[Section], facts: Sequence[Row] = ()) -> None:
    """The same, but raises OSError where nobody reads it."""
    filled = [section for section in sections if section.rows]
    lines = _aligned(facts)
    if on_terminal():
        _draw(filled, lines)
    else:
        for text in (*filled, *lines):
            write_line(str(text))


def _aligned(rows: Sequence[Row], right: Collection[int] = ()) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(place: int, text: str) -> str:
        return text.rjust(widths[place]) if place in right else text.ljust(widths[place])

    return ["  ".join(cell(*one) for one in enumerate(row)).rstrip() for row in rows]


def _draw(sections: Sequence[Section], lines: Sequence[str]) -> None:
    """What stands outside of a table is left for the terminal to break, so that it can be copied whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for title, rows, headed, right in sections:
        if title:
            console.print(Text(title, "bold"), soft_wrap=True)
        table = Table(show_header=headed)
        for place, name in enumerate(rows[0]):
            table.add_column(Text(name), justify="right" if place in right else "left", overflow="fold")
        for row in rows[headed:]:
            table.add_row(*map(Text, row))
        console.print(table)
        if title:
            console.print()
    for text in lines:
        console.print(Text(text), soft_wrap=True)
