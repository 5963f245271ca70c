"""Lines on the standard streams, whatever those are: a terminal, a pipe, or nothing."""

from __future__ import annotations

import sys
from contextlib import suppress


def on_terminal() -> bool:
    """Whether standard output is a terminal, and one that shows any character."""
    try:
        terminal = sys.stdout.isatty()
    except (AttributeError, ValueError):  # there is none, or an object that knows only how to write; or it is closed
        return False
    return terminal and (sys.stdout.encoding or "").lower().startswith("utf")


def print_line(text: str, *, error: bool = False) -> None:
    """A line that nobody need read: the terminal may be gone, or the reader of the pipe."""
    with suppress(OSError, ValueError):  # ValueError: the stream is closed
        write_line(text, error=error)


def write_line(text: str, *, error: bool = False) -> None:
    """Writes a line, a character that the stream lacks as its number; raises OSError where nobody reads it."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # started without one
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
