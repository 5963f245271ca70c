"""Ranks a sweep. Runs that differ only in a seed or a fold are one candidate, with the means of their metrics."""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runner.display.numbers import format_number
from runner.files import write_atomically
from runner.record.description import RANKING
from runner.record.naming import REPEAT_KEYS
from runner.sweep.manifest import Manifest, SweepRun
from runner.sweep.plan import override_key


class MetricSummary(NamedTuple):
    """A metric over the runs of a candidate.

    Attributes:
        mean: its mean.
        deviation: its sample standard deviation; None: there is one run, or a value is not finite.
    """

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return format_number(self.mean) + ("" if self.deviation is None else f" ± {format_number(self.deviation, 2)}")


@dataclass(frozen=True)
class Candidate:
    """The runs of a sweep that differ only in a seed or a fold.

    Attributes:
        overrides: the overrides that tell it from the other candidates.
        values: the values of these overrides in the configuration, by key.
        runs: its runs that have finished.
        planned: how many runs it has in all.
        metrics: the compared metrics, by name.
        folder: the name of the folder of its best run; None: none has finished.
    """

    overrides: tuple[str, ...]
    values: dict[str, Any]
    runs: tuple[SweepRun, ...]
    planned: int
    metrics: dict[str, MetricSummary]
    folder: str | None = None


def rank(manifest: Manifest) -> list[Candidate]:
    """Sorts the candidates by the mean of the monitored metric, from best to worst.

    Candidates without that metric come last. Where the runs can't be compared, all stay in the order of the plan.
    """
    groups: dict[tuple[str, ...], list[SweepRun]] = {}
    for run in manifest.runs:
        overrides = tuple(override for override in run.overrides if override_key(override) not in REPEAT_KEYS)
        groups.setdefault(overrides, []).append(run)
    candidates = [_make_candidate(overrides, runs, manifest) for overrides, runs in groups.items()]
    if manifest.incomparable:
        return candidates
    name = _monitored_metric(manifest)
    return sorted(candidates, key=lambda each: _sort_key((metric := each.metrics.get(name)) and metric.mean, manifest))


def compared_metrics(manifest: Manifest) -> list[str]:
    """The names of the metrics in the ranking: the monitored metric first, then all test metrics.

    If no run has a test metric, these are all validation metrics instead.
    """
    names = dict.fromkeys(name for run in manifest.runs for name in run.metrics)
    tests = [name for name in names if name.startswith("test/")]
    monitored = _monitored_metric(manifest)
    first = [monitored] if monitored in names else []
    return first + (tests or [name for name in names if name.startswith("best/valid/") and name != monitored])


def format_table(manifest: Manifest, candidates: Sequence[Candidate]) -> list[list[str]]:
    """The ranking as rows of text, with a heading."""
    keys, names = _table_columns(manifest)
    heading = ["rank", *keys, "runs", *(name.removeprefix("best/") for name in names)]
    rows = []
    for rank_text, candidate in zip(_ranks(manifest, candidates), candidates, strict=True):
        count = len(candidate.runs)
        runs = f"{count}" if count == candidate.planned else f"{count} of {candidate.planned}"
        values = [str(candidate.values.get(key, "")) for key in keys]
        metrics = [str(candidate.metrics.get(name, "")) for name in names]
        rows.append([rank_text, *values, runs, *metrics])
    return [heading, *rows]


def tabulate(manifest: Manifest, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The ranking as rows of values by column, with the folder of the best run.

    Each metric has a column of means, and one of deviations if a candidate has several runs.
    """
    keys, names = _table_columns(manifest)
    deviating = {name for candidate in candidates for name, (_, std) in candidate.metrics.items() if std is not None}
    rows = []
    for rank_text, candidate in zip(_ranks(manifest, candidates), candidates, strict=True):
        row: dict[str, Any] = {"rank": int(rank_text) if rank_text else None} | {
            key: candidate.values.get(key) for key in keys
        }
        row["runs"] = len(candidate.runs)
        for name in names:
            row[name], deviation = candidate.metrics.get(name, (None, None))
            row |= {f"{name} deviation": deviation} if name in deviating else {}
        row["folder"] = candidate.folder
        rows.append(row)
    return rows


def save_ranking(folder: Path, manifest: Manifest, candidates: Sequence[Candidate]) -> None:
    """Writes the ranking into the sweep's folder."""
    rows = tabulate(manifest, candidates)
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(folder / RANKING, file.getvalue())


def _ranks(manifest: Manifest, candidates: Sequence[Candidate]) -> list[str]:
    """The rank of each sorted candidate; "" if none of its runs has finished, or if the runs can't be compared."""
    numbers = itertools.count(1)
    return [str(next(numbers)) if each.runs and not manifest.incomparable else "" for each in candidates]


def _monitored_metric(manifest: Manifest) -> str:
    """The monitored metric's name in the results of a run, where `best/` stands for the run's best epoch."""
    return f"best/{manifest.monitor}"


def _table_columns(manifest: Manifest) -> tuple[list[str], list[str]]:
    """The keys and the metrics that have a column."""
    return [key for key in manifest.keys if key not in REPEAT_KEYS], compared_metrics(manifest)


def _make_candidate(overrides: tuple[str, ...], runs: Sequence[SweepRun], manifest: Manifest) -> Candidate:
    names, monitored = compared_metrics(manifest), _monitored_metric(manifest)
    finished = tuple(run for run in runs if run.status == "finished")
    columns = {name: [run.metrics[name] for run in finished if name in run.metrics] for name in names}
    metrics = {name: _summarize(numbers) for name, numbers in columns.items() if numbers}
    values = {key: value for key, value in runs[0].values.items() if key not in REPEAT_KEYS}
    best = min(finished, key=lambda run: _sort_key(run.metrics.get(monitored), manifest), default=None)
    return Candidate(overrides, values, finished, len(runs), metrics, best.folder if best else None)


def _summarize(numbers: Sequence[float]) -> MetricSummary:
    is_finite = all(map(math.isfinite, numbers))
    deviation = statistics.stdev(numbers) if len(numbers) > 1 and is_finite else None
    return MetricSummary(statistics.fmean(numbers), deviation)


def _sort_key(value: float | None, manifest: Manifest) -> tuple[bool, float]:
    """Sorts by the monitored metric. The first element puts runs and candidates without it, or with NaN, last."""
    if value is None or math.isnan(value):
        return True, 0.0
    return False, -value if manifest.higher_is_better else value
