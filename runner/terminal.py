"""Writes lines to the standard streams. A stream may be a terminal, a pipe or missing."""

from __future__ import annotations

import re
import sys
from contextlib import suppress

OVERRIDE = r"(?:'[^']*=[^']*'|[^\s'=]+=\S+)"
# What a user copies stays on one line: commands, overrides side by side, and texts in quotes.
UNIT = re.compile(rf"titrate .*|{OVERRIDE}(?: {OVERRIDE})*|`[^`]*`\S*|\S+")


def on_terminal() -> bool:
    """Whether standard output is a terminal that shows every Unicode character."""
    try:
        terminal = sys.stdout.isatty()
    except (AttributeError, ValueError):  # the stream is missing, is not a file, or is closed
        return False
    return terminal and (sys.stdout.encoding or "").lower().startswith("utf")


def wrap_sentences(text: str, width: int) -> list[str]:
    """Breaks a line at spaces, but not inside commands, overrides and quotes, which may be longer than `width`."""
    if len(text) <= width or text.startswith(" "):
        return [text]
    lines = [""]
    for unit in UNIT.findall(text):
        if lines[-1] and len(lines[-1]) + 1 + len(unit) > width:
            lines.append("")
        lines[-1] += f" {unit}" if lines[-1] else unit
    return lines


def print_line(text: str, *, error: bool = False) -> None:
    """Writes a line. Errors are ignored, such as a closed terminal or pipe."""
    with suppress(OSError, ValueError):  # ValueError: the stream is closed
        write_line(text, error=error)


def write_line(text: str, *, error: bool = False) -> None:
    """Writes a line. Characters that the stream can't encode are escaped. Raises OSError for a broken pipe."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # the process has no such stream
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
