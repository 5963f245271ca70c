"""What a sweep prints: its plan, a line a run, and at the end the ranking with the command of the best."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.allow import ALLOWED
from runner.report import opening, show
from runner.sweep.outcome import Manifest, Outcome
from runner.sweep.plan import Plan, key
from runner.sweep.ranking import Row, shown, table

OF_SWEEPS = ("sweep", "folds", "mode")  # words that one run of the best setting has no need of


def plan(plan: Plan) -> None:
    """Prints the runs that are to come."""
    total = len(plan.settings)
    _print(f"{total} run{'s' if total > 1 else ''}" + (f" of {shlex.join(plan.fixed)}" if plan.fixed else ""))
    for place, setting in enumerate(plan.settings, 1):
        _print(f"  {place:{len(str(total))}}  {'  '.join(setting.varied)}")


def run(place: int, total: int, outcome: Outcome, manifest: Manifest) -> None:
    """Prints what became of a run."""
    figures = [f"{name.removeprefix('best/')} {outcome.metrics[name]:.5g}" for name in _compared(outcome, manifest)]
    status = [] if outcome.status == "finished" else [str(outcome.status)]
    count = f"{place:{len(str(total))}}/{total}"
    _print("  ".join([count, *outcome.words, *status, *figures, f"{outcome.seconds:.1f} s"]))


def end(
    plan: Plan,
    manifest: Manifest,
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    folder: Path,
    tracking: Mapping[str, Any],
    warning: str | None,
    quiet: bool,
) -> None:
    """Prints the ranking, the runs that failed, and where everything is."""
    if warning:
        _print(f"warning: {warning}")
    if quiet:
        return
    show(table(manifest, rows) if manifest.monitor else [], [])
    if failures := list(_failures(manifest)):
        _print("")
        show([("failed", "why", "folder"), *failures], [])
    _print("")
    show([], list(_facts(plan, rows, summary, folder, tracking)))


def line(plan: Plan, row: Row) -> str:
    """The command that runs a setting once, ready to be pasted."""
    words = [word for word in plan.fixed if key(word).partition(".")[0] not in OF_SWEEPS]
    allowed = [word for name in ALLOWED for word in ("--allow", name)]
    return shlex.join(["titrate", *allowed, *words, *row.words])


def _facts(
    plan: Plan, rows: Sequence[Row], summary: Mapping[str, Any], folder: Path, tracking: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    going = "; the same command goes on from here" if summary["status"] == "interrupted" else ""
    yield "status", summary["status"] + (f": {summary['error']}" if summary["error"] else "") + going
    if rows and rows[0].figures:
        yield "best", line(plan, rows[0])
    yield "time", f"{summary['seconds']:.1f} s"
    yield "folder", str(folder)
    if tracking:
        yield "record", opening(tracking["uri"])


def _failures(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    for run in manifest.runs:
        if run.status not in ("finished", "interrupted", None):
            yield " ".join(run.words), (run.error or str(run.status)).splitlines()[0], run.folder or ""


def _compared(outcome: Outcome, manifest: Manifest) -> list[str]:
    return [name for name in shown(manifest) if name in outcome.metrics]


def _print(text: str) -> None:
    with suppress(OSError):  # whoever read the pipe is gone
        print(text, flush=True)
