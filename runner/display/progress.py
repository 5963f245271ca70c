"""Shows the progress of a run: a live line on a terminal, a bar in a notebook, plain lines elsewhere.

The position is shown in epochs if each evaluation ends an epoch, else in steps. On a terminal, a line of progress has
only the metrics that fit: those that matter least are left out.
"""

from __future__ import annotations

import bisect
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from runner.display.notebook import NotebookProgress, in_notebook
from runner.display.numbers import format_number
from runner.display.run_length import MIN_SECONDS, RunLength, format_duration, format_pace
from runner.terminal import on_terminal, print_line, wrap_sentences

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESHES_PER_SECOND = 4  # of the live line
BAR_WIDTH = 24  # characters
WIDE_TERMINAL = 120  # characters; a narrower terminal has no room for the bar and the steps
GAP = "  "  # between the parts of a line


class Progress(Protocol):
    """Shows the progress of a run. A closed terminal is ignored."""

    def note(self, text: str) -> None:
        """Prints a line for the user."""

    def working(self, description: str) -> AbstractContextManager[None]:
        """Shows a description while the context is open, and how long that was."""

    def start(self, length: RunLength, step: int, monitor: str = "") -> None:
        """Training starts, or is resumed after `step` steps. The metric `monitor` decides what is best."""

    def show_step(self, step: int, steps_per_second: float, values: Mapping[str, float]) -> None:
        """Shows that the run has taken `step` steps, and the metrics since the last evaluation."""

    def show_evaluation(self, step: int, record: Mapping[str, float], seconds: float, is_best: bool) -> None:
        """Shows the metrics after `step` steps, the time since the last evaluation, and whether they are the best."""

    def close(self) -> None:
        """Removes the live line. A second call does nothing."""


def make_progress(*, quiet: bool, sweep_position: str = "") -> Progress:
    """The display that suits standard output.

    Args:
        quiet: whether only notes are shown.
        sweep_position: the run's number in a sweep, such as `3/12`, which shows less of each run; "": no sweep.
    """
    if quiet:
        return QuietProgress()
    if in_notebook():
        return NotebookProgress(sweep_position)
    if on_terminal() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        return TerminalProgress(Console(), sweep_position)
    return PlainProgress(in_sweep=bool(sweep_position))


class QuietProgress:
    """Shows notes only, on standard error."""

    def note(self, text: str) -> None:
        print_line(text, error=True)

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        yield

    def start(self, length: RunLength, step: int, monitor: str = "") -> None: ...

    def show_step(self, step: int, steps_per_second: float, values: Mapping[str, float]) -> None: ...

    def show_evaluation(self, step: int, record: Mapping[str, float], seconds: float, is_best: bool) -> None: ...

    def close(self) -> None: ...


class PlainProgress:
    """Prints a line for each evaluation, for logs and pipes. A run of a sweep prints notes only."""

    def __init__(self, *, in_sweep: bool = False) -> None:
        self._in_sweep = in_sweep
        self._length, self._monitor = RunLength(1, 1), ""

    def note(self, text: str) -> None:
        print_line(text)

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        if (seconds := time.monotonic() - start) > MIN_SECONDS and not self._in_sweep:
            print_line(f"{description} took {seconds:.1f} s")

    def start(self, length: RunLength, step: int, monitor: str = "") -> None:
        self._length, self._monitor = length, monitor

    def show_step(self, step: int, steps_per_second: float, values: Mapping[str, float]) -> None: ...

    def show_evaluation(self, step: int, record: Mapping[str, float], seconds: float, is_best: bool) -> None:
        if not self._in_sweep:
            position, values = self._length.format_position(step), _format_values(record, self._monitor)
            print_line(format_evaluation(position, values, seconds, is_best))

    def close(self) -> None: ...


class TerminalProgress:
    """Shows a live line below the lines of evaluations. A run of a sweep has the live line only."""

    def __init__(self, console: Console, sweep_position: str = "") -> None:
        from rich.live import Live

        self._console = console
        self._length, self._monitor = RunLength(1, 1), ""
        self._sweep_position = sweep_position
        self._work: tuple[str, float] | None = None  # the description of the current work, and when it started
        self._training_line: RenderableType = ""
        self._live = Live(
            get_renderable=self._make_line,
            console=console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )

    def note(self, text: str) -> None:
        self._print(text, "yellow" if text.startswith("warning") else "")

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        outer_work, start = self._work, time.monotonic()
        self._work = description, start
        self._show()
        try:
            yield
        finally:
            self._work = outer_work
        if (seconds := time.monotonic() - start) > MIN_SECONDS and not self._sweep_position:
            self._print(f"{description} took {seconds:.1f} s", "dim")

    def start(self, length: RunLength, step: int, monitor: str = "") -> None:
        self._length, self._monitor = length, monitor
        self.show_step(step, 0.0, {})

    def show_step(self, step: int, steps_per_second: float, values: Mapping[str, float]) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        length = self._length
        pace = remaining = ""
        if steps_per_second:
            pace = format_pace(steps_per_second)
            remaining = f"{format_duration(length.seconds_left(step, steps_per_second))} left"
        texts = [self._sweep_position, length.format_position(step), remaining]
        if is_wide := self._console.width >= WIDE_TERMINAL:
            done = step - (length.count_epochs(step) - 1) * length.steps_per_epoch
            step_of_epoch = f"step {done}/{length.steps_per_epoch}" if length.counts_epochs else ""
            texts = [*texts[:2], step_of_epoch, pace, remaining]
        room = self._console.width - len(GAP.join(filter(None, texts))) - is_wide * (BAR_WIDTH + len(GAP))
        texts.append(GAP.join(fit_texts(_format_values(values, self._monitor), room)))
        cells: list[RenderableType] = list(filter(None, texts))
        if is_wide:
            cells.insert(2 if self._sweep_position else 1, ProgressBar(length.total_steps, step, BAR_WIDTH))
        line = Table.grid(padding=(0, len(GAP)), pad_edge=False)
        for _ in cells:
            line.add_column(no_wrap=True)
        line.add_row(*cells)
        self._training_line = line
        self._show()

    def show_evaluation(self, step: int, record: Mapping[str, float], seconds: float, is_best: bool) -> None:
        if self._sweep_position:
            return
        position, values = self._length.format_position(step), _format_values(record, self._monitor)
        room = self._console.width - len(format_evaluation(position, [], seconds, is_best))
        self._print(format_evaluation(position, fit_texts(values, room), seconds, is_best))

    def close(self) -> None:
        self._training_line = ""
        with suppress(OSError):
            self._live.stop()

    def _make_line(self) -> RenderableType:
        if self._work is None:
            return self._training_line
        from rich.text import Text

        description, start = self._work
        seconds = f" … {time.monotonic() - start:.0f} s"
        line = Text(description, style="cyan")
        line.truncate(max(self._console.width - len(seconds), 0), overflow="ellipsis")
        return line.append(seconds)

    def _show(self) -> None:
        with suppress(OSError):
            self._live.start()

    def _print(self, text: str, style: str = "") -> None:
        lines = [each for line in text.splitlines() for each in wrap_sentences(line, self._console.width)]
        with suppress(OSError):
            self._live.refresh()
            self._console.print("\n".join(lines), style=style, markup=False, highlight=False, soft_wrap=True)


def format_evaluation(position: str, values: Sequence[str], seconds: float, is_best: bool) -> str:
    """The line of an evaluation. A star marks the best one until now."""
    return GAP.join([position, *values, f"{seconds:.1f} s", *(["*"] if is_best else [])])


def _format_values(values: Mapping[str, float], monitor: str) -> list[str]:
    """The metrics as text, by importance: the monitored one, those of `valid`, those of `train`, the others.

    The losses of a split's targets follow its metrics, because they are terms of the split's loss.
    """

    def rank(name: str) -> tuple[bool, ...]:
        split, _, own_name = name.partition("/")
        return name != monitor, split != "valid", split != "train", own_name.endswith("/loss")

    names = sorted((name for name in values if name not in ("epoch", "step")), key=rank)
    return [f"{name} {format_number(values[name])}" for name in names]


def fit_texts(texts: Sequence[str], room: int) -> list[str]:
    """The first texts that fit into some characters, with a gap before each, and a mark if others are left out."""
    widths = list(itertools.accumulate(len(GAP) + len(text) for text in texts))
    if not widths or widths[-1] <= room:
        return list(texts)
    fitting = bisect.bisect_right(widths, room - len(GAP) - 1)
    return [*texts[:fitting], "…"]
