"""The progress of a run in a notebook: a bar that is updated in place, above the latest evaluations."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

from runner.display.html import format_html
from runner.display.numbers import format_number
from runner.display.run_length import MIN_SECONDS, RunLength, format_duration, format_pace
from runner.terminal import print_line

SHOWN_EVALUATIONS = 10
MIN_UPDATE_SECONDS = 0.25  # between two updates of the bar


def in_notebook() -> bool:
    """Whether the process runs the cells of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")


class NotebookProgress:
    """Shows a bar, and a table with the latest evaluations. A run of a sweep has the bar only.

    Args:
        sweep_position: the run's number in a sweep, such as `3/12`; "": no sweep.
    """

    def __init__(self, sweep_position: str = "") -> None:
        self._sweep_position = sweep_position
        self._length = RunLength(1, 1)
        self._display: Any = None  # the handle of the output that is updated
        self._bar = ""
        self._evaluations: list[tuple[str, Mapping[str, float], bool]] = []
        self._updated = 0.0

    def note(self, text: str) -> None:
        print_line(text)

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        start = time.monotonic()
        bar = self._bar
        self._show(f"<div>{escape(description)} …</div>")
        try:
            yield
        finally:
            self._show(bar)
        if (seconds := time.monotonic() - start) > MIN_SECONDS and not self._sweep_position:
            print_line(f"{description} took {seconds:.1f} s")

    def start(self, length: RunLength, step: int, monitor: str = "") -> None:
        self._length = length
        self.show_step(step, 0.0, {})

    def show_step(self, step: int, steps_per_second: float, values: Mapping[str, float]) -> None:
        if not self._bar or time.monotonic() - self._updated > MIN_UPDATE_SECONDS:
            self._show(self._format_bar(step, steps_per_second, values))

    def show_evaluation(self, step: int, record: Mapping[str, float], seconds: float, is_best: bool) -> None:
        if not self._sweep_position:
            self._evaluations.append((self._length.format_position(step), record, is_best))
            self._show(self._format_bar(step, 0.0, {}))

    def close(self) -> None:
        """Removes the bar, and keeps the table."""
        if self._display is not None:
            self._show("")

    def _format_bar(self, step: int, steps_per_second: float, values: Mapping[str, float]) -> str:
        """The bar, with the position, the speed and the metrics since the last evaluation."""
        total = self._length.total_steps
        texts = [self._sweep_position, self._length.format_position(step)]
        if steps_per_second:
            remaining = self._length.seconds_left(step, steps_per_second)
            texts += [format_pace(steps_per_second), f"{format_duration(remaining)} left"]
        texts += [f"{name} {format_number(value)}" for name, value in values.items() if name not in ("epoch", "step")]
        return f'<div><progress value="{step}" max="{total}"></progress> {escape("  ".join(filter(None, texts)))}</div>'

    def _show(self, bar: str) -> None:
        """Updates the output of the cell."""
        from IPython.display import HTML, display

        self._bar, self._updated = bar, time.monotonic()
        html = HTML(bar + self._format_evaluations())
        if self._display is None:
            self._display = display(html, display_id=True)
        else:
            self._display.update(html)

    def _format_evaluations(self) -> str:
        """The table of the latest evaluations; a star marks the best ones until then."""
        if not self._evaluations:
            return ""
        latest = self._evaluations[-SHOWN_EVALUATIONS:]
        names = [name for name in latest[-1][1] if name not in ("epoch", "step")]
        rows = [
            [
                position,
                *(format_number(record[name]) if name in record else "" for name in names),
                "*" if is_best else "",
            ]
            for position, record, is_best in latest
        ]
        return format_html("", table=[["", *names, ""], *rows])
