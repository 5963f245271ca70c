"""Prints tables of text on standard output: with borders on a terminal, as aligned columns elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.terminal import on_terminal, write_line

if TYPE_CHECKING:
    from rich.table import Table

Row = Sequence[str]
MAX_ROWS = 30  # of a printed table that may be long: more don't fit a screen
COLUMN_GAP = 2  # characters after each column of a table without borders
MAX_TABLE_WIDTH = 10_000  # characters; no terminal is as wide


class Section(NamedTuple):
    """A table with a title. Brackets in a cell are plain text, not markup.

    Attributes:
        title: the line above the table; "": no title, and no empty line below the table.
        rows: the rows, as text.
        has_heading: whether the first row is the heading of the columns.
        right_columns: the indices of the columns that are aligned to the right.
    """

    title: str
    rows: Sequence[Row]
    has_heading: bool = True
    right_columns: Collection[int] = ()

    def __str__(self) -> str:
        lines = _align(self.rows, self.right_columns)
        if not self.title:
            return "\n".join(lines)
        return "\n".join([self.title, *(f"  {line}" for line in lines), ""])


def shorten_section(section: Section, remark: str = "") -> Section:
    """A section to be printed: in a long table, a row that counts the others stands between the first and the last.

    Args:
        section: the section.
        remark: where the whole table is, for the title of a long table; "": nowhere.
    """
    if not section.rows:
        return section
    heading, *rows = section.rows
    if len(rows) <= MAX_ROWS:
        return section
    half = MAX_ROWS // 2
    others = [f"… {len(rows) - 2 * half:,} more", *[""] * (len(heading) - 1)]
    title = f"{section.title} ({remark})" if remark else section.title
    return section._replace(title=title, rows=[heading, *rows[:half], others, *rows[-half:]])


def print_tables(sections: Sequence[Section], facts: Sequence[Row] = ()) -> None:
    """Prints tables, and below them facts. A closed terminal or pipe is ignored.

    Args:
        sections: the tables; those without rows are left out.
        facts: pairs of a name and a text, a line each.
    """
    with suppress(OSError, ValueError):  # ValueError: the stream is closed
        write_tables(sections, facts)


def fit_to_terminal(rows: Sequence[Row], removable: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The columns of a table for which the terminal has room. If the output is not a terminal, all have room.

    Args:
        rows: the rows, with a heading.
        removable: the headings of the columns that may be left out, the least important one first.

    Returns:
        The rows, and the headings of the columns that are left out.
    """
    columns = list(map(list, zip(*rows, strict=True)))
    left_out: list[str] = []
    room = shutil.get_terminal_size().columns if on_terminal() else MAX_TABLE_WIDTH
    for name in removable:
        if sum(max(map(len, column)) + COLUMN_GAP for column in columns) <= room:
            break
        columns = [column for column in columns if column[0] != name]
        left_out.append(name)
    return list(map(list, zip(*columns, strict=True))), left_out


def write_tables(sections: Sequence[Section], facts: Sequence[Row] = ()) -> None:
    """Prints the same as `print_tables`, but raises OSError for a closed terminal or pipe."""
    filled = [section for section in sections if section.rows]
    lines = _align(facts)
    if on_terminal():
        _draw(filled, lines)
    else:
        for text in (*filled, *lines):
            write_line(str(text))


def _align(rows: Sequence[Row], right_columns: Collection[int] = ()) -> list[str]:
    """A line for each row, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if index in right_columns else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _draw(sections: Sequence[Section], lines: Sequence[str]) -> None:
    """Draws tables on a terminal. Titles and lines are not wrapped, so that a user can copy them whole.

    Tables have borders if all fit with them. A table that is too wide without borders has wrapped cells.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console()
    unlimited = console.options.update(width=MAX_TABLE_WIDTH)
    tables = [_make_table(section) for section in sections]
    if any(console.measure(table, options=unlimited).maximum > console.width for table in tables):
        plain: dict[str, Any] = {"box": None, "pad_edge": False, "padding": (0, COLUMN_GAP, 0, 0)}
        tables = [_make_table(section, **plain) for section in sections]
    for section, table in zip(sections, tables, strict=True):
        if section.title:
            console.print(Text(section.title, "bold"), soft_wrap=True)
        console.print(table)
        if section.title:
            console.print()
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _make_table(section: Section, **options: Any) -> Table:
    """A table of Rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=section.has_heading, **options)
    for index, name in enumerate(section.rows[0]):
        is_right = index in section.right_columns
        table.add_column(Text(name), justify="right" if is_right else "left", overflow="fold")
    for row in section.rows[section.has_heading :]:
        table.add_row(*map(Text, row))
    return table
