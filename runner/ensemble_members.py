"""Finds the runs of an ensemble: those of a list, or the best ones of a sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from components.closest import join_names
from components.types import UserError
from runner.files import read_json
from runner.run_folder import MANIFEST, check_trains, find_folder, find_run, is_sweep, list_runs, read_summary

UNUSABLE = ("diverged", "failed")  # the status of a run whose weights are of no use


class Members(NamedTuple):
    """The runs that `run` names.

    Attributes:
        folders: their folders. A single run is no ensemble.
        note: which runs of a sweep are left out; "": none.
    """

    folders: tuple[Path, ...]
    note: str = ""


def find_members(root: Path, run: Any, best: int | None = None) -> Members:
    """Finds the folders of the runs that `run` names.

    Args:
        root: the folder of all runs.
        run: a run, as `find_run` takes it, a list of runs, or a sweep.
        best: the number of runs of a sweep, the best ones by the metric that ranks them. None: all that have finished.

    Raises:
        UserError: there is no such run, or the runs are no ensemble.
    """
    if isinstance(run, list | tuple):
        if best is not None:
            raise UserError(f"ensemble={best} is for the runs of a sweep, and run lists its runs. Leave it out.")
        return Members(_find_listed(root, [str(name) for name in run]))
    name = os.path.expanduser(str(run))
    folder = find_folder(root, name, "run")
    check_trains(folder, name, "run")
    if is_sweep(folder):
        return _select_of_sweep(folder, name, best)
    if best is not None:
        raise UserError(f"ensemble={best} is for the runs of a sweep, and run={name} is a single run. Leave it out.")
    return Members((folder,))


def _find_listed(root: Path, names: Sequence[str]) -> tuple[Path, ...]:
    folders: dict[Path, str] = {}
    for name in names:
        folder = find_run(root, os.path.expanduser(name), "run")
        if (earlier := folders.get(folder.resolve())) is not None:
            others = name if name == earlier else f"{earlier} and {name}, which are the same"
            raise UserError(f"run: {others} is listed twice. Each run of an ensemble counts once. Leave one out.")
        if (status := read_summary(folder).get("status")) in UNUSABLE:
            raise UserError(f"run={name}: this run {status}, so it has nothing to add to the mean. Leave it out.")
        folders[folder.resolve()] = name
    if len(names) < 2:
        single = f"Write run={names[0]} for this run alone, or add others" if names else "List some: run=[A,B,C]"
        raise UserError(f"run=[{','.join(names)}]: an ensemble has two or more runs. {single}.")
    return tuple(folders)


def _select_of_sweep(folder: Path, name: str, best: int | None) -> Members:
    """The runs of a sweep that have finished, in their order, or the best ones, from best to worst."""
    runs = list_runs(folder)
    summaries = {path: summary for path in runs if (summary := read_summary(path)).get("status") == "finished"}
    planned = max(len(_read_manifest(folder).get("runs", ())), len(runs))  # runs that failed early have no folder
    if len(summaries) < 2:
        count = f"{len(summaries)} of {planned} runs" if planned else "no runs"
        remedy = f"Name the run: run={next(iter(summaries))}" if summaries else "Run the sweep to its end"
        raise UserError(
            f"run={name} is a sweep of which {count} have finished, and an ensemble has two or more. {remedy}."
        )
    left_out = planned - len(summaries)
    note = f"{left_out} of {planned} runs of {name} have not finished, and are left out" if left_out else ""
    if best is None:
        return Members(tuple(summaries), note)
    if best > len(summaries):
        raise UserError(
            f"ensemble={best}: run={name} has {len(summaries)} runs that have finished. Choose a smaller number, or "
            "leave it out to have all of them."
        )
    return Members(tuple(_rank(folder, name, summaries)[:best]), note)


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of a sweep; empty if it is missing or damaged."""
    with suppress(ValueError, OSError):
        return read_json(folder / MANIFEST)
    return {}


def _rank(folder: Path, name: str, summaries: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
    """The runs of a sweep from best to worst. Raises UserError if they have no order."""
    first = next(iter(summaries.values()))
    metric, sign = f"best/{first.get('monitor')}", -1 if first.get("higher_is_better") else 1
    reason = _read_manifest(folder).get("incomparable")
    values = {path: summary.get("metrics", {}).get(metric, math.nan) for path, summary in summaries.items()}
    if lacking := [path.name for path, value in values.items() if math.isnan(value)]:
        reason = reason or f"{join_names(lacking)} has no {metric}"
    if reason:
        raise UserError(
            f"ensemble: the runs of run={name} have no order, because they can't be compared: {reason}. List the "
            "runs: run=[A,B,C]."
        )
    return sorted(values, key=lambda path: sign * values[path])
