"""Writes lines to the standard streams. A stream may be a terminal, a pipe or missing."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from contextlib import suppress
from typing import Any

OVERRIDE = r"(?:'[^']*=[^']*'|[^\s'=]+=\S+)"
# What a user copies stays on one line: commands, overrides side by side, and texts in quotes.
UNIT = re.compile(rf"titrate .*|{OVERRIDE}(?: {OVERRIDE})*|`[^`]*`\S*|\S+")


def on_terminal() -> bool:
    """Whether standard output is a terminal that shows every Unicode character."""
    return _is_terminal(sys.stdout)


def _is_terminal(stream: Any) -> bool:
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):  # the stream is missing, is not a file, or is closed
        return False
    return bool(terminal) and (stream.encoding or "").lower().startswith("utf")


def wrap_sentences(text: str, width: int) -> list[str]:
    """Breaks a line at spaces, but not inside commands, overrides and quotes, which may be longer than `width`."""
    if len(text) <= width or text.startswith(" "):
        return [text]
    starts = [0]
    for unit in UNIT.finditer(text):
        if unit.start() > starts[-1] and unit.end() - starts[-1] > width:
            starts.append(unit.start())
    return [text[start:end].rstrip() for start, end in itertools.pairwise([*starts, len(text)])]


def print_line(text: str, *, error: bool = False) -> None:
    """Writes lines as `write_line`. Errors are ignored, such as a closed terminal or pipe."""
    with suppress(OSError, ValueError):  # ValueError: the stream is closed
        write_line(text, error=error)


def write_line(text: str, *, error: bool = False) -> None:
    """Writes lines, which are broken at spaces if a terminal is narrower.

    Characters that the stream can't encode are escaped. Raises OSError for a broken pipe.
    """
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # the process has no such stream
        return
    if _is_terminal(stream):
        width = shutil.get_terminal_size().columns
        text = "\n".join(part for line in text.split("\n") for part in wrap_sentences(line, width))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
