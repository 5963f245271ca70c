"""The settings of a sweep from best to worst: runs that differ only in a seed or a fold count as one setting."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runner.files import write_atomically
from runner.record.description import RANKING, REPEATS
from runner.sweep.outcome import Manifest, Outcome
from runner.sweep.plan import key


class Figure(NamedTuple):
    """A figure over the runs of a setting."""

    mean: float
    deviation: float | None  # of the sample; None: of one run

    def __str__(self) -> str:
        return f"{self.mean:.5g}" + ("" if self.deviation is None else f" ± {self.deviation:.2g}")


@dataclass(frozen=True)
class Row:
    """A setting with its figures."""

    words: tuple[str, ...]
    values: dict[str, Any]
    runs: tuple[Outcome, ...]  # that have finished
    planned: int
    figures: dict[str, Figure]


def rank(manifest: Manifest) -> list[Row]:
    """The settings by the mean of the monitored figure over the runs that have finished; those without come last.

    Where runs can't be compared they stay in the order of the plan.
    """
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for run in manifest.runs:
        groups.setdefault(tuple(word for word in run.words if key(word) not in REPEATS), []).append(run)
    rows = [_row(words, runs, list(shown(manifest))) for words, runs in groups.items()]
    return rows if manifest.incomparable else sorted(rows, key=lambda row: _place(row, manifest))


def shown(manifest: Manifest) -> Iterable[str]:
    """The figures that are compared: the monitored one, and all of the test split, or else of validation."""
    names = dict.fromkeys(name for run in manifest.runs for name in run.metrics)
    tests = [name for name in names if name.startswith("test/")]
    monitor = f"best/{manifest.monitor}"
    yield from [monitor] if monitor in names else []
    yield from tests or [name for name in names if name.startswith("best/valid/") and name != monitor]


def table(manifest: Manifest, rows: Sequence[Row]) -> list[list[str]]:
    """The ranking as text, its heading first."""
    keys = [name for name in manifest.keys if name not in REPEATS]
    names = list(shown(manifest))
    heading = ["rank", *keys, "runs", *(name.removeprefix("best/") for name in names)]
    places = ["" if manifest.incomparable else str(place) for place in range(1, len(rows) + 1)]
    return [heading, *(_line(place, row, keys, names) for place, row in zip(places, rows, strict=True))]


def save(folder: Path, manifest: Manifest, rows: Sequence[Row]) -> None:
    """Writes the ranking into the sweep's folder, means and deviations in columns of their own."""
    keys = [name for name in manifest.keys if name not in REPEATS]
    names = list(shown(manifest))
    with io.StringIO(newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rank", *keys, "runs", *(column for name in names for column in (name, f"{name} deviation"))])
        for place, row in enumerate(rows, 1):
            figures = [row.figures.get(name, (None, None)) for name in names]
            values = [row.values.get(name) for name in keys]
            writer.writerow([place, *values, len(row.runs), *(number for pair in figures for number in pair)])
        write_atomically(folder / RANKING, file.getvalue())


def _row(words: tuple[str, ...], runs: Sequence[Outcome], names: Sequence[str]) -> Row:
    done = tuple(run for run in runs if run.status == "finished")
    columns = {name: [run.metrics[name] for run in done if name in run.metrics] for name in names}
    figures = {name: _figure(numbers) for name, numbers in columns.items() if numbers}
    values = {name: value for name, value in runs[0].values.items() if name not in REPEATS}
    return Row(words, values, done, len(runs), figures)


def _figure(numbers: Sequence[float]) -> Figure:
    finite = all(map(math.isfinite, numbers))
    deviation = statistics.stdev(numbers) if len(numbers) > 1 and finite else None
    return Figure(statistics.fmean(numbers), deviation)


def _place(row: Row, manifest: Manifest) -> tuple[bool, float]:
    figure = row.figures.get(f"best/{manifest.monitor}")
    if figure is None or math.isnan(figure.mean):
        return True, 0.0
    return False, -figure.mean if manifest.higher_is_better else figure.mean


def _line(place: str, row: Row, keys: Sequence[str], names: Sequence[str]) -> list[str]:
    runs = f"{len(row.runs)}" if len(row.runs) == row.planned else f"{len(row.runs)} of {row.planned}"
    values = [str(row.values.get(name, "")) for name in keys]
    return [place, *values, runs, *(str(row.figures[name]) if name in row.figures else "" for name in names)]
