"""Prints a sweep: its plan, a line for each run, and at the end the ranking with the command of the best candidate."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.config.overrides import format_command
from runner.display.numbers import format_number
from runner.display.progress import GAP, fit_texts
from runner.display.report import record_lines
from runner.display.tables import Section, describe_left_out, fit_to_terminal, print_tables, terminal_width
from runner.override_text import overridden_key
from runner.record.description import RANKING
from runner.sweep.manifest import Manifest, SweepRun
from runner.sweep.plan import Plan, find_several_runs, override_key
from runner.sweep.ranking import Candidate, compared_metrics, format_table
from runner.terminal import print_line

MAX_LISTED = 120  # runs of a plan that are printed
LISTED_AT_END = 3  # among these, the runs at the end of the plan
SWEEP_KEYS = ("sweep", "folds", "fold", "mode")  # keys that a command of one run doesn't need


def print_plan(plan: Plan) -> None:
    """Prints the planned runs. Of a long plan, runs in the middle are left out."""
    total = len(plan.runs)
    print_line(f"{total} run{'s' if total > 1 else ''}" + (f" of {shlex.join(plan.common)}" if plan.common else ""))
    for number, run in enumerate(plan.runs, 1):
        if total <= MAX_LISTED or number <= MAX_LISTED - LISTED_AT_END or number > total - LISTED_AT_END:
            print_line(f"  {number:{len(str(total))}}  {_format_overrides(run.overrides)}")
        elif number == MAX_LISTED - LISTED_AT_END + 1:
            print_line(f"  … {total - MAX_LISTED:,} more")
    if total == 1 and not plan.runs[0].overrides:
        print_line("note: -m has no list of values, such as learning_rate=1e-3,1e-2, so the sweep is one run")


def print_first_run(plan: Plan) -> None:
    """Prints that the following output is of the first run only."""
    if len(plan.runs) > 1:
        print_line(f"\nthe first run, {_format_overrides(plan.runs[0].overrides)}\n")


def print_resumed(folder: Path, started: int, total: int) -> None:
    """Prints that a sweep is resumed."""
    print_line(f"resuming the sweep in {folder}: {started} of {total} runs were started before")


def print_run(number: int, total: int, run: SweepRun, manifest: Manifest, *, ended_before: bool) -> None:
    """Prints a line about a run.

    Args:
        number: the number of the run, from 1.
        total: how many runs the sweep has.
        run: the run.
        manifest: the manifest of the sweep.
        ended_before: whether the run ended before the sweep was resumed.
    """
    names = [name for name in compared_metrics(manifest) if name in run.metrics]
    metrics = [f"{name.removeprefix('best/')} {format_number(run.metrics[name])}" for name in names]
    status = ["ended before"] if ended_before else []
    status += [] if run.status == "finished" else [str(run.status)]
    start = [f"{number:{len(str(total))}}/{total}", *run.overrides, *status]
    end = f"{run.seconds:.1f} s"
    room = terminal_width() - len(GAP.join([*start, end]))
    print_line(GAP.join([*start, *fit_texts(metrics, room), end]))


def print_end(
    manifest: Manifest,
    candidates: Sequence[Candidate],
    summary: Mapping[str, Any],
    folder: Path,
    record: str | None,
    quiet: bool,
) -> None:
    """Prints the ranking, the runs that failed, and the places of folder and record.

    Args:
        manifest: the manifest of the sweep.
        candidates: from best to worst. The runs of a candidate differ only in a seed or a fold.
        summary: the summary of the sweep.
        folder: the folder of the sweep.
        record: how to open the record; None: only the sweep's folder has one.
        quiet: whether only the failures are printed, on standard error.
    """
    failures = list(_list_failures(manifest))
    if quiet:
        for overrides, reason, _ in failures:
            print_line(f"{overrides}: {reason}", error=True)
        return
    if manifest.monitor:  # otherwise no run has ended, and there is nothing to rank
        table = format_table(manifest, candidates)
        rows, left_out = fit_to_terminal(table, [*reversed(table[0][table[0].index("runs") + 2 :]), "runs"])
        print_tables([Section("", rows)])
        if left_out:
            print_line(describe_left_out(left_out, f"{folder / RANKING} has all"))
    if failures:
        print_line("")
        print_tables([Section("", [("failed", "why", "folder"), *failures])])
    print_line("")
    print_tables([], list(_summary_lines(manifest, summary, folder, record)))


def format_candidate_command(plan: Plan, candidate: Candidate) -> str:
    """The command of a run with the overrides of a candidate, ready to be pasted."""
    common = [override for override in plan.common if override_key(override).partition(".")[0] not in SWEEP_KEYS]
    words = [*common, *candidate.overrides]
    values = plan.runs[0].config.values | {"fold": None}
    if values["folds"] is not None and "folds" in map(overridden_key, plan.overrides):
        values["folds"] = None  # the command leaves it out
    while (key := find_several_runs(values, words)) is not None:  # that of an experiment
        words.append(f"{key}=null")
        values |= {"folds": None} if key == "folds" else {"sweep": values["sweep"] | {"over": None}}
    return format_command(words)


def _summary_lines(
    manifest: Manifest, summary: Mapping[str, Any], folder: Path, record: str | None
) -> Iterator[tuple[str, str]]:
    status = summary["status"]
    error = f": {summary['error']}" if summary["error"] else ""
    resume = "; the same command resumes the sweep" if status == "interrupted" else ""
    yield "status", f"{status}{error}{resume}"
    if why_incomparable := manifest.incomparable:
        yield "best", why_incomparable
    elif summary["best"]:
        yield "best", summary["best"]
        yield "best run", str(folder / summary["best_folder"])
    yield "time", f"{summary['seconds']:.1f} s"
    yield "folder", str(folder)
    yield from record_lines(record)


def _format_overrides(overrides: Sequence[str]) -> str:
    return "  ".join(overrides) or "without further overrides"


def _list_failures(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """The overrides, the reason and the folder of each run that failed."""
    for run in manifest.runs:
        if run.status not in ("finished", "interrupted", None):
            yield " ".join(run.overrides) or "the run", (run.error or str(run.status)).splitlines()[0], run.folder or ""
