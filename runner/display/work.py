"""Shows how much of a long piece of work is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from components.remote import show_fetching
from runner.memory import format_bytes
from runner.terminal import on_terminal, print_line

SECONDS_BETWEEN_LINES = 10.0  # where no line can be replaced


@contextmanager
def show_work(name: str, total: int, *, unit: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Shows how much is done, of all: in a live line on a terminal, elsewhere in a line now and then.

    Args:
        name: what is done.
        total: the number of all units.
        unit: `bytes`, or the plural of another unit, such as `rows`.
        quiet: whether nothing is shown.

    Yields:
        A function that is called with the number of units that are done.
    """
    if quiet:
        yield lambda done: None
    elif on_terminal():
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), count, TimeRemainingColumn())
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task(name, total=total)
            yield lambda done: progress.update(task, completed=done)
    else:
        last = time.monotonic()

        def report(done: int) -> None:
            nonlocal last
            if (now := time.monotonic()) >= last + SECONDS_BETWEEN_LINES:
                last = now
                is_bytes = unit == "bytes"
                shown = (
                    f"{format_bytes(done)} of {format_bytes(total)}" if is_bytes else f"{done:,} of {total:,} {unit}"
                )
                print_line(f"{name}: {shown}")

        yield report


@contextmanager
def showing_fetched_files(*, quiet: bool) -> Iterator[None]:
    """Shows the progress of remote files that are fetched within the context."""
    token = show_fetching.set(partial(show_work, unit="bytes", quiet=quiet))
    try:
        yield
    finally:
        show_fetching.reset(token)
