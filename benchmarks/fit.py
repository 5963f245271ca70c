"""How many rows a second all that housing columns learn is learned from, in one pass.

    python benchmarks/fit.py [rounds] [housing.csv or nothing: $TITRATE_DATA/california_housing/housing.csv]
    smallest: 1

Ten copies of the file's rows, in memory: the moments of the income, the quantiles of age, latitude and longitude, and
how often each `ocean_proximity` occurs, of which the fitting of Keras's FeatureSpace makes normalization, buckets and
a vocabulary. Prints for blocks of two sizes, strings with and without a dictionary, and one and two threads the best
and the median of the rounds in million rows a second, the rounds taking turns, after one that isn't counted; and
their ratio to FeatureSpace.adapt, 84,500 rows a second where two cores were measured.
"""

from __future__ import annotations

import csv
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.feature.statistic import Moments, Quantiles
from components.feature.statistic.counts import Counts
from components.feature.text.string_ops import to_strings
from components.types import Block, Strings
from runner.data.columns import take_rows
from runner.data.statistics import StatisticsRequest, compute_statistics

COPIES, ADAPT = 10, 84_500
NUMBERS = ("median_income", "housing_median_age", "latitude", "longitude")


@dataclass(frozen=True)
class Learner:
    """A column that learns all that the housing columns do."""

    keys = (*NUMBERS, "ocean_proximity")

    def statistics(self) -> dict[str, Any]:
        income, *others = NUMBERS
        return {"ocean": Counts("ocean_proximity"), income: Moments(income)} | {key: Quantiles(key) for key in others}


@dataclass(frozen=True)
class Rows:
    """Columns in memory, as blocks of some size."""

    columns: dict[str, Any]
    rows: int
    block: int

    def sizes(self) -> dict[str, int]:
        return {"all": self.rows}

    def blocks(self, part: str) -> Iterator[Block]:
        for first in range(0, self.rows, self.block):
            last = min(first + self.block, self.rows)
            yield Block({key: _slice(values, first, last) for key, values in self.columns.items()}, first=first)


def _slice(values: Any, first: int, last: int) -> Any:
    if isinstance(values, Strings) and values.indices is None:
        return values._replace(offsets=values.offsets[first : last + 1])
    return take_rows(values, slice(first, last)) if isinstance(values, Strings) else values[first:last]


def columns(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The file's columns with `ocean_proximity` as a dictionary, and as plain strings."""
    with path.open() as file:
        rows = list(csv.DictReader(file)) * COPIES
    numbers = {key: np.array([float(row[key]) for row in rows]) for key in NUMBERS}
    texts = [row["ocean_proximity"] for row in rows]
    kinds, indices = np.unique(texts, return_inverse=True)
    dictionary = to_strings(kinds.tolist())._replace(indices=indices.astype(np.int32))
    yield "dictionary", numbers | {"ocean_proximity": dictionary}
    yield "plain", numbers | {"ocean_proximity": to_strings(texts)}


def main(rounds: int = 7, path: str | None = None) -> None:
    file = Path(path or Path(os.environ["TITRATE_DATA"], "california_housing", "housing.csv"))
    wanted, timed = {}, {}
    for (name, given), size, workers in itertools.product(columns(file), (8192, 65536), (1, 2)):
        count = len(given[NUMBERS[0]])
        wanted["train"] = StatisticsRequest({"housing": Learner()}, np.arange(count))
        timed[f"{name:10} blocks of {size:5}, {workers} threads"] = Rows(given, count, size), workers
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number, (name, (source, workers)) in itertools.product(range(rounds + 1), timed.items()):
        begun = time.perf_counter()
        compute_statistics(source, wanted, {"housing": Learner()}, workers=workers)
        if number:
            seconds[name].append(time.perf_counter() - begun)
    for name, took in seconds.items():
        best, median = (count / one / 1e6 for one in (min(took), statistics.median(took)))
        print(f"{name}: best {best:5.2f}  median {median:5.2f}  x {median * 1e6 / ADAPT:5.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
