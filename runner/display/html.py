"""Tables and pictures as HTML, for notebooks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

MAX_ROWS = 20  # of a table


def format_html(
    title: str, facts: Sequence[tuple[str, str]] = (), table: Sequence[Sequence[str]] = (), count: int | None = None
) -> str:
    """A title, lines of facts, and a table, of which the first row is the heading.

    Args:
        title: the title; "": none.
        facts: pairs of a name and a text.
        table: the rows of the table. After MAX_ROWS rows, a line counts the others.
        count: how many rows there are, if `table` has only the first ones. None: those of `table`.
    """
    parts = [f"<strong>{escape(title)}</strong>"] if title else []
    parts += [f"<div>{escape(name)}: {escape(text)}</div>" for name, text in facts]
    if table:
        heading, *rows = table
        lines = [_format_row("th", heading), *(_format_row("td", row) for row in rows[:MAX_ROWS])]
        parts.append(f"<table>{''.join(lines)}</table>")
        others = (len(rows) if count is None else count) - len(lines) + 1
        if others > 0:
            parts.append(f"<div>… {others:,} more rows</div>")
    return f"<div>{''.join(parts)}</div>"


def format_picture(path: Path) -> str:
    """A PNG file as an image inside the page, so that the notebook keeps it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{escape(path.stem)}" src="data:image/png;base64,{data}"></figure>'


def _format_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
