"""Shows how much of a file has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.memory import format_bytes
from runner.terminal import on_terminal, print_line

SECONDS_BETWEEN_LINES = 10.0  # where no line can be replaced


@contextmanager
def show_transfer(name: str, size: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Shows the bytes that have arrived, of all: in a live line on a terminal, elsewhere in a line now and then.

    Args:
        name: the name of the file.
        size: its number of bytes.
        quiet: whether nothing is shown.

    Yields:
        A function that is called with the number of bytes that have arrived.
    """
    if quiet:
        yield lambda done: None
    elif on_terminal():
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task(name, total=size)
            yield lambda done: progress.update(task, completed=done)
    else:
        last = time.monotonic()

        def report(done: int) -> None:
            nonlocal last
            if (now := time.monotonic()) >= last + SECONDS_BETWEEN_LINES:
                last = now
                print_line(f"{name}: {format_bytes(done)} of {format_bytes(size)}")

        yield report
