"""How many rows per second the statistics of the columns of California housing are fitted on.

    python benchmarks/fit.py [rounds] [path of housing.csv]
    smallest: 1

By default, the file is $TITRATE_DATA/california_housing/housing.csv. One pass over ten copies of its rows, in memory,
computes the moments of the income, the quantiles of age, latitude and longitude, and the counts of ocean_proximity.
Keras's FeatureSpace fits a normalization, buckets and a vocabulary on the same columns.

Prints the best and the median of N rounds after one warm-up round, in million rows per second, and the ratio of the
median to FeatureSpace.adapt, which fits 84,500 rows per second on two cores. Variants alternate, so that a busy machine
slows all of them.
"""

from __future__ import annotations

import itertools
import math
import statistics
from functools import partial
from typing import Any

import numpy as np

from benchmarks.housing import NUMBERS, HousingSource, read_housing
from benchmarks.timing import format_rates, parse_arguments, time_variants
from components.feature.statistic import Moments, Quantiles
from components.feature.statistic.counts import Counts
from runner.data.statistics import StatisticsRequest, compute_statistics
from runner.data.workers import Workers

COPIES = 10
ADAPT = 84_500  # rows per second of FeatureSpace.adapt


class HousingStatistics:
    """A column that needs the statistics of all housing columns."""

    keys = (*NUMBERS, "ocean")

    def statistics(self) -> dict[str, Any]:
        quantiles = {key: Quantiles(key) for key in ("age", "lat", "lon")}
        return {"ocean": Counts("ocean"), "income": Moments("income"), **quantiles}


def main(rounds: int = 7, path: str | None = None) -> None:
    columns = {"housing": HousingStatistics()}
    variants = {}
    for dictionary, block_rows, workers in itertools.product((True, False), (8192, 65536), (1, 2)):
        source = HousingSource(read_housing(COPIES, path, dictionary=dictionary), block_rows)
        requests = {"train": StatisticsRequest(columns, np.arange(source.rows))}
        strings = "dictionary" if dictionary else "plain"
        name = f"{strings:10} blocks of {block_rows:5}, {workers} threads"
        variants[name] = partial(
            compute_statistics, source, requests, columns, workers=Workers(workers, start_seconds=math.inf)
        )
    for name, seconds in time_variants(variants, rounds).items():
        ratio = source.rows / statistics.median(seconds) / ADAPT
        print(f"{name}: {format_rates(source.rows, seconds)}  FeatureSpace.adapt x {ratio:5.1f}")


if __name__ == "__main__":
    main(*parse_arguments(int))
