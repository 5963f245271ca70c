"""Writes lines to the standard streams, which may be a terminal, a pipe or missing."""

from __future__ import annotations

import sys
from contextlib import suppress


def on_terminal() -> bool:
    """Whether standard output is a terminal that shows every Unicode character."""
    try:
        terminal = sys.stdout.isatty()
    except (AttributeError, ValueError):  # it is missing, a bare object with `write`, or closed
        return False
    return terminal and (sys.stdout.encoding or "").lower().startswith("utf")


def print_line(text: str, *, error: bool = False) -> None:
    """Writes a line, and ignores that the terminal or the reader of the pipe is gone."""
    with suppress(OSError, ValueError):  # ValueError: the stream is closed
        write_line(text, error=error)


def write_line(text: str, *, error: bool = False) -> None:
    """Writes a line, with characters that the stream can't encode as escapes. Raises OSError for a broken pipe."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # the process has none
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
