"""Shows how many rows of a table are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.terminal import on_terminal, print_line

SECONDS_BETWEEN_LINES = 10.0  # where no line can be replaced


@contextmanager
def show_rows(name: str, rows: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Shows the rows that are done, of all: in a live line on a terminal, elsewhere in a line now and then.

    Args:
        name: what is done.
        rows: the number of all rows.
        quiet: whether nothing is shown.

    Yields:
        A function that is called with the number of rows that are done.
    """
    if quiet:
        yield lambda done: None
    elif on_terminal():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
            task = progress.add_task(name, total=rows)
            yield lambda done: progress.update(task, completed=done)
    else:
        last = time.monotonic()

        def report(done: int) -> None:
            nonlocal last
            if (now := time.monotonic()) >= last + SECONDS_BETWEEN_LINES:
                last = now
                print_line(f"{name}: {done:,} of {rows:,} rows")

        yield report
