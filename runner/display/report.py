"""The report of a finished run: its metrics, its folder and its record."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from runner.display.numbers import format_number
from runner.display.run_length import format_epochs, format_pace
from runner.display.tables import Section, print_tables

T = TypeVar("T")
EARLY_ENDS = ("training.patience", "training.max_minutes")  # settings that end a run before its last step
METRIC_PREFIXES = {"test": "test/", "valid": "best/valid/", "train": "best/train/"}  # by split, in a run's summary


def print_report(summary: Mapping[str, Any], folder: Path, record: str | None, quiet: bool) -> None:
    """Prints the metrics of each split, how the run ended, where its folder is and how to open its record.

    Args:
        summary: the summary of the run.
        folder: the run folder.
        record: how to open the record, in one or more lines; None: there is none.
        quiet: whether nothing is printed.
    """
    if not quiet:
        rows = list(metric_rows(summary.get("metrics", {}), summary.get("intervals", {})))
        print_tables([Section("", rows, may_turn=True)], list(_summary_lines(summary, folder, record)))


def metric_rows(
    metrics: Mapping[str, float], intervals: Mapping[str, Sequence[float]] = MappingProxyType({})
) -> Iterator[tuple[str, ...]]:
    """A heading, and a row for each split that has metrics, with a row of their intervals below.

    Empty if no split has any metrics.
    """
    splits = {split: _strip_prefix(prefix, metrics) for split, prefix in METRIC_PREFIXES.items()}
    names = list(dict.fromkeys(name for values in splits.values() for name in values))
    if not names:
        return
    yield "split", *names
    for split, values in splits.items():
        if values:
            yield split, *(format_number(values[name]) if name in values else "" for name in names)
        if own := _strip_prefix(METRIC_PREFIXES[split], intervals):
            yield "  95 %", *(" to ".join(map(_format_end, own[name])) if name in own else "" for name in names)


def _format_end(value: float) -> str:
    """An end of an interval, which has fewer digits than its metric."""
    return format_number(value, 5 if abs(value) >= 1000 else 3)


def _strip_prefix(prefix: str, metrics: Mapping[str, T]) -> dict[str, T]:
    return {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}


def _summary_lines(summary: Mapping[str, Any], folder: Path, record: str | None) -> Iterator[tuple[str, str]]:
    """The lines below the table, as pairs of a name and a text."""
    for note in summary.get("notes", ()):
        yield "note", note
    yield "status", _describe_status(summary, folder)
    if summary.get("best_epoch") is not None:
        yield _describe_best(summary)
    if (seconds := summary.get("seconds")) is not None:
        pace = summary.get("metrics", {}).get("steps_per_second")
        yield "time", f"{seconds:.1f} s" + (f", {format_pace(pace)}" if pace else "")
    yield "folder", str(folder)
    profile = folder / "profile"
    if profile.is_dir():
        yield "profile", f"xprof --logdir {shlex.quote(str(profile))}"
    yield from record_lines(record)


def _describe_best(summary: Mapping[str, Any]) -> tuple[str, str]:
    """The best epoch, or in a run that is evaluated within epochs, the best step."""
    best, last = summary["best_epoch"], summary["epochs"]
    steps = {record["epoch"]: record["step"] for record in summary.get("history", ())}
    if any(epoch % 1 for epoch in steps) and {best, last} <= steps.keys():
        return "best step", f"{steps[best]} of {steps[last]}"
    return "best epoch", f"{format_epochs(best)} of {format_epochs(last)}"


def record_lines(record: str | None) -> Iterator[tuple[str, str]]:
    """The lines about how to open a record, as pairs of a name and a text."""
    for number, line in enumerate((record or "").splitlines()):
        yield "" if number else "record", line


def _describe_status(summary: Mapping[str, Any], folder: Path) -> str:
    status = summary["status"]
    if status == "interrupted":
        by = f" by {summary['stopped_by']}" if summary.get("stopped_by") else ""
        return f"interrupted{by}; the same command (without fresh=true) resumes the run, or resume={folder.name}"
    if summary.get("ended_by") in EARLY_ENDS:
        return f"{status} by {summary['ended_by']}"
    return f"{status}: {summary['error']}" if summary.get("error") else status
