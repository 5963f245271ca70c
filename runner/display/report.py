"""The report of a finished run: its metrics, its folder and its record."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from components.closest import join_names
from runner.display.numbers import format_number
from runner.display.run_length import format_epochs, format_pace
from runner.display.tables import Section, print_tables

T = TypeVar("T")
UNDEFINED = "—"  # a metric that some rows don't have
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
        rows += _rows_below(summary, rows)
        sections = [*slice_sections(summary), Section("", rows, may_turn=True)]
        print_tables(sections, list(_summary_lines(summary, folder, record)))


def slice_sections(summary: Mapping[str, Any]) -> Iterator[Section]:
    """A table for each column of `metric_slices`: the slices of the test split, or else of another, the worst first.

    The order is that of the monitored metric, or of the first one if that has no value for slices.
    """
    split, slices = next(iter(summary.get("slices", {}).items()), ("", []))
    for column, own in group_slices(slices).items():
        names = list(own[0]["metrics"])
        monitored = summary["monitor"].partition("/")[2]
        metric, sign = (monitored, -1 if summary["higher_is_better"] else 1) if monitored in names else (names[0], 1)
        values = {each["value"]: each["metrics"][metric] for each in own}
        worst = sorted(own, key=lambda each: sort_worst_first(values[each["value"]], sign))
        cells = [
            [each["value"], f"{each['rows']:,}", *map(_format_defined, each["metrics"].values())] for each in worst
        ]
        yield Section(f"{split} by {column}, the worst {metric} first", [[column, "rows", *names], *cells])


def group_slices(slices: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The slices of a split by column."""
    by_column: dict[str, list[Mapping[str, Any]]] = {}
    for each in slices:
        by_column.setdefault(each["column"], []).append(each)
    return by_column


def sort_worst_first(value: float, sign: int) -> tuple[bool, float]:
    """Sorts values of a metric: the worst first, and undefined ones last. `sign`: -1 if a larger value is better."""
    return math.isnan(value), 0.0 if math.isnan(value) else -sign * value


def _format_defined(value: float) -> str:
    return UNDEFINED if math.isnan(value) else format_number(value)


def describe_undefined(summary: Mapping[str, Any]) -> Iterator[str]:
    """Why metrics of the printed slices are undefined, a line for each reason and slice."""
    for each in next(iter(summary.get("slices", {}).values()), []):
        names: dict[str, list[str]] = {}
        for name, reason in each["undefined"].items():
            names.setdefault(reason, []).append(name)
        for reason, own in names.items():
            yield f"{join_names(own)} of {each['column']}={each['value']}: the rows have {reason}"


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


def _rows_below(summary: Mapping[str, Any], rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """More rows below the `rows` of one split, such as that of the mean of samples of Monte Carlo dropout."""
    for label, values in summary.get("rows", ()):
        yield label, *(format_number(values[name]) if name in values else "" for name in rows[0][1:])


def _format_end(value: float) -> str:
    """An end of an interval, which has fewer digits than its metric."""
    return format_number(value, 5 if abs(value) >= 1000 else 3)


def _strip_prefix(prefix: str, metrics: Mapping[str, T]) -> dict[str, T]:
    return {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}


def _summary_lines(summary: Mapping[str, Any], folder: Path, record: str | None) -> Iterator[tuple[str, str]]:
    """The lines below the table, as pairs of a name and a text."""
    for note in summary.get("notes", ()):
        yield "note", note
    for text in describe_undefined(summary):
        yield UNDEFINED, text
    if runs := summary.get("runs"):  # of an ensemble
        yield from runs
        return
    yield "status", _describe_status(summary, folder)
    if summary.get("best_epoch") is not None:
        yield _describe_best(summary)
    if (seconds := summary.get("seconds")) is not None:
        pace = summary.get("metrics", {}).get("steps_per_second")
        yield "time", f"{seconds:.1f} s" + (f", {format_pace(pace)}" if pace else "")
    yield "folder", str(folder)
    for path in summary.get("figures", ()):
        yield "figure", str(path)
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
