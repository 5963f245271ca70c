"""What a run shows while it goes on: a live line on a terminal, plain lines elsewhere, only notes if quiet."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from runner.terminal import on_terminal, print_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WORTH_A_LINE = 0.5  # seconds that work must have taken to be told of afterwards
REFRESHES = 4  # of the live line, a second
BAR = 24  # characters
WIDE = 120  # characters of a terminal that has room for the bar and the pace


class Progress(Protocol):
    """Shows how a run goes on; epochs are counted from 0, as in the loop. Failing to show stops nothing."""

    def note(self, text: str) -> None:
        """Says something that a person should know."""

    def working(self, what: str) -> AbstractContextManager[None]:
        """Shows that something takes its time, and how long it took."""

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        """Training begins: `epochs` of `steps` steps each, at `epoch`."""

    def step(self, epoch: int, step: int, steps_per_second: float, values: Mapping[str, float]) -> None:
        """`step` steps of the epoch are done; the values so far."""

    def epoch(self, epoch: int, record: Mapping[str, float], seconds: float, best: bool) -> None:
        """The epoch is done and evaluated."""

    def close(self) -> None:
        """Nothing more is to be shown; again is harmless."""


def make_progress(*, quiet: bool, epochs: int, place: str = "") -> Progress:
    """A display for a run of so many epochs that suits standard output; of a sweep's it shows less, and its `place`."""
    if quiet:
        return Quiet()
    if on_terminal() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        return Terminal(Console(), epochs, place)
    return Plain(epochs, brief=bool(place))


class Quiet:
    """Shows notes only, on standard error."""

    def note(self, text: str) -> None:
        print_line(text, error=True)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        yield

    def start(self, epochs: int, steps: int, epoch: int) -> None: ...

    def step(self, epoch: int, step: int, steps_per_second: float, values: Mapping[str, float]) -> None: ...

    def epoch(self, epoch: int, record: Mapping[str, float], seconds: float, best: bool) -> None: ...

    def close(self) -> None: ...


class Plain:
    """A line an epoch, for logs and pipes."""

    def __init__(self, epochs: int, *, brief: bool = False) -> None:
        self._epochs, self._brief = epochs, brief

    def note(self, text: str) -> None:
        print_line(text)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        if (seconds := time.monotonic() - began) > WORTH_A_LINE and not self._brief:
            print_line(f"{what} took {seconds:.1f} s")

    def start(self, epochs: int, steps: int, epoch: int) -> None: ...

    def step(self, epoch: int, step: int, steps_per_second: float, values: Mapping[str, float]) -> None: ...

    def epoch(self, epoch: int, record: Mapping[str, float], seconds: float, best: bool) -> None:
        if not self._brief:
            print_line(epoch_line(epoch, self._epochs, record, seconds, best))

    def close(self) -> None: ...


class Terminal:
    """One live line below the lines of the epochs that are done."""

    def __init__(self, console: Console, epochs: int, place: str = "") -> None:
        from rich.live import Live

        self._console = console
        self._epochs = epochs
        self._place = place  # of a sweep's run; such a run leaves no lines
        self._steps = 0  # an epoch
        self._work: tuple[str, float] | None = None  # what takes its time, and since when
        self._training: RenderableType = ""
        self._live = Live(get_renderable=self._line, console=console, refresh_per_second=REFRESHES, transient=True)

    def note(self, text: str) -> None:
        self._print(text, "yellow" if text.startswith("warning") else "")

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        before, began = self._work, time.monotonic()
        self._work = what, began
        self._show()
        try:
            yield
        finally:
            self._work = before
        if (seconds := time.monotonic() - began) > WORTH_A_LINE and not self._place:
            self._print(f"{what} took {seconds:.1f} s", "dim")

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self._steps = steps
        self.step(epoch, 0, 0.0, {})

    def step(self, epoch: int, step: int, steps_per_second: float, values: Mapping[str, float]) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        done, total = epoch * self._steps + step, self._epochs * self._steps
        pace = f"{steps_per_second:,.4g} steps/s" if steps_per_second else ""
        left = f"{_clock((total - done) / steps_per_second)} left" if steps_per_second else ""
        cells: list[RenderableType] = [self._place] if self._place else []
        cells.append(f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}")
        if self._console.width >= WIDE:
            cells += [ProgressBar(total=total, completed=done, width=BAR), f"step {step}/{self._steps}", pace]
        cells.append(left)
        line = Table.grid(padding=(0, 2))
        for cell in cells:
            line.add_column(no_wrap=True, min_width=len(cell) if isinstance(cell, str) else BAR)
        line.add_column(no_wrap=True)  # where the line is short of room, the values are
        line.add_row(*cells, _values(values))
        self._training = line
        self._show()

    def epoch(self, epoch: int, record: Mapping[str, float], seconds: float, best: bool) -> None:
        if not self._place:
            self._print(epoch_line(epoch, self._epochs, record, seconds, best))

    def close(self) -> None:
        self._training = ""
        with suppress(OSError):
            self._live.stop()

    def _line(self) -> RenderableType:
        if self._work is None:
            return self._training
        from rich.text import Text

        what, began = self._work
        return Text(f"{what} … {time.monotonic() - began:.0f} s", style="cyan")

    def _show(self) -> None:
        with suppress(OSError):
            self._live.start()

    def _print(self, text: str, style: str = "") -> None:
        with suppress(OSError):
            self._live.refresh()
            self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def epoch_line(epoch: int, epochs: int, record: Mapping[str, float], seconds: float, best: bool) -> str:
    """An epoch that is done, in a line; a star marks the best so far."""
    count = f"epoch {epoch + 1:{len(str(epochs))}}/{epochs}"
    return "  ".join([count, _values(record), f"{seconds:.1f} s", *(["*"] if best else [])])


def _values(values: Mapping[str, float]) -> str:
    shown = {key: value for key, value in values.items() if key not in ("epoch", "step")}
    return "  ".join(f"{key} {value:.5g}" for key, value in shown.items())


def _clock(seconds: float) -> str:
    """3725 -> 1:02:05."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
