"""Prints tables of text on standard output, as aligned columns. A terminal's width is kept to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from runner.terminal import on_terminal, wrap_sentences, write_line

Row = Sequence[str]
MAX_ROWS = 30  # of a printed table that may be long: more don't fit a screen
MAX_NAMED = 10  # names in a line about others
COLUMN_GAP = 2  # characters between two columns
INDENT = 2  # characters before the rows below a title
NO_LIMIT = 1 << 30  # characters of a line that is not for a terminal
# Where a cell may be broken: in names and lists, but not in numbers, nor between a number and its unit
BREAKS = re.compile(r"(?<=[/_])|(?<= )(?<!\d )|(?<=\d )(?![A-Za-z])|(?<=,)(?!\d)")
PIECE_LIMITS = (12, 6)  # characters; longer pieces are broken inside if the table doesn't fit otherwise
NUMBER = re.compile(r"[-+−]?\d[\d.,]*(e[-+]?\d+)?%?")  # is never broken


class Section(NamedTuple):
    """A table with a title. Brackets in a cell are plain text, not markup.

    Attributes:
        title: the line above the table; "": no title, and no empty line below the table.
        rows: the rows, as text.
        has_heading: whether the first row is the heading of the columns.
        right_columns: the indices of the columns that are aligned to the right.
        may_turn: whether a narrow terminal may get a column for each row.
    """

    title: str
    rows: Sequence[Row]
    has_heading: bool = True
    right_columns: Collection[int] = ()
    may_turn: bool = False

    def __str__(self) -> str:
        return "\n".join(text for text, _ in _format_section(self, NO_LIMIT))


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
    names, widths, room = rows[0], _widths_with_broken_heading(rows), terminal_width()
    left_out: list[str] = []

    def fits(without: Collection[str]) -> bool:
        kept = [width for name, width in zip(names, widths, strict=True) if name not in without]
        return sum(kept) + COLUMN_GAP * (len(kept) - 1) <= room

    for name in removable:
        if fits(left_out):
            break
        left_out.append(name)
    for name in reversed(left_out):  # a narrow column may fit where a wide one, left out after it, didn't
        if fits(others := [other for other in left_out if other != name]):
            left_out = others
    kept = [index for index, name in enumerate(names) if name not in left_out]
    return [[row[index] for index in kept] for row in rows], left_out


def describe_left_out(names: Sequence[str], remedy: str) -> str:
    """A line about the columns that `fit_to_terminal` left out.

    Args:
        names: the names of the columns.
        remedy: where all columns are.
    """
    columns = "1 column doesn't" if len(names) == 1 else f"{len(names)} columns don't"
    return f"{columns} fit the terminal: {list_first(names)}; {remedy}"


def list_first(names: Sequence[str]) -> str:
    """The first of some names, and how many others there are."""
    rest = f" … ({len(names) - MAX_NAMED} more)" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{rest}"


def table_width(rows: Sequence[Row], *, breaks_heading: bool = False) -> int:
    """The characters of a line of a table.

    Args:
        rows: the rows.
        breaks_heading: whether the first row is a heading, and broken wherever it may be.
    """
    widths = _widths_with_broken_heading(rows) if breaks_heading else _column_widths(rows)
    return sum(widths) + COLUMN_GAP * (len(widths) - 1)


def terminal_width() -> int:
    """The characters of a line. If the output is not a terminal, there is no limit."""
    return shutil.get_terminal_size().columns if on_terminal() else NO_LIMIT


def write_tables(sections: Sequence[Section], facts: Sequence[Row] = ()) -> None:
    """Prints the same as `print_tables`, but raises OSError for a closed terminal or pipe."""
    lines = [line for section in sections if section.rows for line in _format_section(section, terminal_width())]
    lines += [(text, False) for text in _format_facts(facts, terminal_width())]
    if not on_terminal():
        for text, _ in lines:
            write_line(text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for text, is_bold in lines:
        console.print(Text(text, "bold" if is_bold else ""), soft_wrap=True)  # so that a user can copy it whole


def _format_facts(facts: Sequence[Row], room: int) -> list[str]:
    """The lines of facts, whose last cells are sentences. These are broken at spaces."""
    indent = sum(_column_widths(facts)[:-1]) + COLUMN_GAP * (len(facts[0]) - 1) if facts else 0
    rows = []
    for *names, text in facts:
        first, *others = wrap_sentences(text, room - indent)
        rows += [[*names, first], *([*[""] * len(names), line] for line in others)]
    return _align(rows)


def _align(rows: Sequence[Row], right_columns: Collection[int] = ()) -> list[str]:
    """A line for each row, with aligned columns."""
    widths = _column_widths(rows)
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if index in right_columns else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * COLUMN_GAP).join(cells).rstrip())
    return lines


def _column_widths(rows: Sequence[Row]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _format_section(section: Section, room: int) -> list[tuple[str, bool]]:
    """The lines of a table, and whether each is a title or a heading.

    A table that is too wide is turned, if it may be and fits then, or has broken cells.

    Args:
        section: the table.
        room: the maximum number of characters of a line below the title.
    """
    rows, right_columns = section.rows, section.right_columns
    indent = INDENT if section.title else 0
    if section.may_turn and table_width(rows) > room - indent:
        turned = list(zip(*rows, strict=True))
        if table_width(turned) <= room - indent:
            rows, right_columns = turned, ()
    widths = _fit_widths(rows, section.has_heading, room - indent)
    broken = [list(_break_row(row, widths)) for row in rows]
    texts = _align([line for lines in broken for line in lines], right_columns)
    heading = len(broken[0]) if section.has_heading else 0
    lines = [(" " * indent + text, number < heading) for number, text in enumerate(texts)]
    titles = [(line, True) for line in wrap_sentences(section.title, room)]
    return [*titles, *lines, ("", False)] if section.title else lines


def _fit_widths(rows: Sequence[Row], has_heading: bool, room: int) -> list[int]:
    """The widths of the columns of a table, narrowed until it fits.

    Of all columns, the next to be narrowed is the one that adds the fewest lines below the heading, then the fewest to
    the heading, and of these the widest. Pieces of cells that are longer than PIECE_LIMITS are broken last. A table
    that doesn't fit then is wider than the room.
    """
    columns = [*zip(*rows, strict=True)]
    widths = _column_widths(rows)
    heights = [[1] * len(rows) for _ in columns]  # the lines of each cell, by column

    def narrow(index: int) -> list[list[int]]:
        cells = [len(_break_cell(cell, widths[index] - 1)) for cell in columns[index]]
        return [*heights[:index], cells, *heights[index + 1 :]]

    excess = table_width(rows) - room
    for limit in (NO_LIMIT, *PIECE_LIMITS):
        limits = [max(_piece_width(cell, limit) for cell in column) for column in columns]
        while excess > 0 and (wider := [index for index, width in enumerate(widths) if width > limits[index]]):
            narrowed = {index: narrow(index) for index in wider}
            lines = {index: [*map(max, zip(*cells, strict=True))] for index, cells in narrowed.items()}
            best = min(wider, key=lambda index: (sum(lines[index][has_heading:]), lines[index][0], -widths[index]))
            heights = narrowed[best]
            widths[best] -= 1
            excess -= 1
    return widths


def _widths_with_broken_heading(rows: Sequence[Row]) -> list[int]:
    heading, *others = rows
    return [max(each) for each in zip(map(_piece_width, heading), *(map(len, row) for row in others), strict=True)]


def _piece_width(cell: str, limit: int = NO_LIMIT) -> int:
    """The width of the longest piece of a cell, if pieces longer than `limit` are broken, which numbers never are."""
    pieces = (piece.rstrip() for piece in BREAKS.split(cell))
    return max(len(piece) if NUMBER.fullmatch(piece) else min(len(piece), limit) for piece in pieces)


def _break_row(row: Row, widths: Sequence[int]) -> Iterator[list[str]]:
    """The lines of a row, each with a text for each column."""
    cells = [_break_cell(cell, width) for cell, width in zip(row, widths, strict=True)]
    for line in range(max(map(len, cells))):
        yield [lines[line] if line < len(lines) else "" for lines in cells]


def _break_cell(cell: str, width: int) -> list[str]:
    """The lines of a cell, each of at most `width` characters."""
    lines = [""]
    for piece in BREAKS.split(cell):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]
