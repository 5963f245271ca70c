"""What a dry run prints: titled tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.display.tables import Row, Section, write_tables
from runner.terminal import write_line


class Page:
    """Shows section after section, each at once; nothing if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def section(
        self, title: str, rows: Iterable[Row], *, heading: Row | None = None, right: Sequence[int] = ()
    ) -> None:
        """A table below its title; `right` names the columns that are numbers. One without rows is left out."""
        if not self._quiet:
            write_tables([Section(title, [*([heading] if heading else []), *rows], heading is not None, right)])

    def note(self, text: str) -> None:
        """A line of its own."""
        if not self._quiet:
            write_line(text)


def duration(seconds: float) -> str:
    """Seconds as people read them: 7500 -> 2 h 05 min, 0.00012 -> 120 µs."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02} min"


def shape(dimensions: Sequence[int], dtype: object) -> str:
    """float32 (32, 8, 8, 1)."""
    return f"{dtype} {tuple(dimensions)}"
