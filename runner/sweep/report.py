"""What a sweep prints: its plan, a line a run, and at the end the ranking with the command of the best."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.display.tables import Section, print_tables
from runner.store_uri import format_view_command
from runner.sweep.outcome import Manifest, Outcome
from runner.sweep.plan import Plan, key
from runner.sweep.ranking import Row, shown, table
from runner.terminal import print_line
from runner.user_code import ALLOWED

MOST, LAST = 120, 3  # runs of a plan that are printed, and of those at its end
OF_SWEEPS = ("sweep", "folds", "fold", "mode")  # words that one run of the best setting has no need of


def plan(plan: Plan) -> None:
    """Prints the planned runs."""
    total = len(plan.settings)
    print_line(f"{total} run{'s' if total > 1 else ''}" + (f" of {shlex.join(plan.fixed)}" if plan.fixed else ""))
    for place, setting in enumerate(plan.settings, 1):
        if place <= MOST - LAST or place > total - LAST or total <= MOST:
            print_line(f"  {place:{len(str(total))}}  {_words(setting.varied)}")
        elif place == MOST - LAST + 1:
            print_line(f"  … {total - MOST:,} more")


def first(plan: Plan) -> None:
    """Prints that the following output is of the first run only."""
    if len(plan.settings) > 1:
        print_line(f"\nthe first of them, {_words(plan.settings[0].varied)}\n")


def going_on(folder: Path, done: int, total: int) -> None:
    """Prints that a sweep resumes."""
    print_line(f"going on in {folder}: {done} of {total} runs were started before")


def run(place: int, total: int, outcome: Outcome, manifest: Manifest, *, before: bool) -> None:
    """Prints the outcome of a run; `before`: it ended before the sweep was resumed."""
    figures = [f"{name.removeprefix('best/')} {outcome.metrics[name]:.5g}" for name in _compared(outcome, manifest)]
    status = ["before"] if before else []
    status += [] if outcome.status == "finished" else [str(outcome.status)]
    count = f"{place:{len(str(total))}}/{total}"
    print_line("  ".join([count, *outcome.words, *status, *figures, f"{outcome.seconds:.1f} s"]))


def end(
    plan: Plan,
    manifest: Manifest,
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    folder: Path,
    tracking: Mapping[str, Any],
    quiet: bool,
) -> None:
    """Prints the ranking, the runs that failed, and where everything is; if quiet, what went wrong as errors."""
    failures = list(_failures(manifest))
    if quiet:
        for words, reason, _ in failures:
            print_line(f"{words}: {reason}", error=True)
        return
    if manifest.monitor:
        print_tables([Section("", table(manifest, rows))])
    if failures:
        print_line("")
        print_tables([Section("", [("failed", "why", "folder"), *failures])])
    print_line("")
    print_tables([], list(_facts(manifest, summary, folder, tracking)))


def line(plan: Plan, row: Row) -> str:
    """The command that runs a setting once, ready to be pasted."""
    words = [word for word in plan.fixed if key(word).partition(".")[0] not in OF_SWEEPS]
    allowed = [word for name in ALLOWED for word in ("--allow", name)]
    return shlex.join(["titrate", *allowed, *words, *row.words])


def _facts(
    manifest: Manifest, summary: Mapping[str, Any], folder: Path, tracking: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    resume = "; the same command goes on from here" if summary["status"] == "interrupted" else ""
    yield "status", summary["status"] + (f": {summary['error']}" if summary["error"] else "") + resume
    if manifest.incomparable:
        yield "best", manifest.incomparable
    elif summary["best"]:
        yield "best", summary["best"]
    yield "time", f"{summary['seconds']:.1f} s"
    yield "folder", str(folder)
    if tracking:
        yield "record", format_view_command(tracking["uri"])


def _words(varied: Sequence[str]) -> str:
    return "  ".join(varied) or "as given"


def _failures(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    for run in manifest.runs:
        if run.status not in ("finished", "interrupted", None):
            yield " ".join(run.words) or "the run", (run.error or str(run.status)).splitlines()[0], run.folder or ""


def _compared(outcome: Outcome, manifest: Manifest) -> list[str]:
    return [name for name in shown(manifest) if name in outcome.metrics]
