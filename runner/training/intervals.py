"""Intervals of the final losses and metrics by the bootstrap: what other examples of the same kind could have given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runner.config.check_targets import WEIGHTED
from runner.training.example_sums import ExampleSums, compute_defined

LEVEL = 0.95
MIN_ROWS = 30  # of fewer rows, resamples tell little about other rows
MAX_DRAWS = 200_000_000  # rows times resamples, which take seconds
MAX_COST = 20_000_000_000  # numbers that the resamples of a metric read, which take half a minute
MAX_DRAWN_AT_ONCE = 1 << 18  # rows of resamples that are added by one product of matrices
COST_OF_COLLECTED = 25  # a number that is sorted, as for AUC, takes so many times as long as one that is added

Interval = tuple[float, float]


def find_obstacle(rows: int, resamples: int) -> str | None:
    """Why a split of so many rows has no intervals; None: it has."""
    if rows < MIN_ROWS:
        return f"it has {rows} {'row' if rows == 1 else 'rows'}, and intervals need at least {MIN_ROWS}"
    if rows * resamples > MAX_DRAWS:
        most = MAX_DRAWS // rows
        remedy = f"set intervals={most} or less" if most >= 100 else "set intervals=null"
        return f"{rows:,} rows times {resamples:,} resamples exceed {MAX_DRAWS:,}; {remedy}"
    return None


def bootstrap_intervals(
    sums: ExampleSums,
    resamples: int,
    seed: int,
    *,
    note: Callable[[str], None],
    is_stopped: Callable[[], object],
) -> dict[str, Interval]:
    """Computes 95 % intervals of the losses and metrics of a split.

    Each resample draws as many examples as the split has, with replacement. An interval goes from the 2.5 % to the
    97.5 % quantile of the resamples' values, without those that are not defined.

    Args:
        sums: the sums of the split's examples.
        resamples: the number of resamples.
        seed: the seed of the draws.
        note: called with a line about each metric that would take too long.
        is_stopped: whether a signal has arrived; then there are no intervals.

    Returns:
        The interval by name, such as `test/accuracy`. Metrics that read more than the logits, and targets that are
        images, have none.

    References:
        Efron, 1979: Bootstrap methods: another look at the jackknife.
    """
    evaluator, split = sums.evaluator, sums.split
    rows = len(evaluator.data.splits[split])
    collecting = {name for name, metric in evaluator.metrics.items() if metric.collects}

    def is_too_costly(name: str, numbers: int) -> bool:
        cost = resamples * numbers * (COST_OF_COLLECTED if name in collecting else 1)
        if cost > MAX_COST:
            note(f"{name} has no interval: {resamples:,} resamples would take minutes. Set intervals to fewer.")
        return cost > MAX_COST

    of_examples = sums.read(is_too_costly)
    random = np.random.default_rng(seed)
    values: dict[str, list[float]] = {}
    at_once = max(MAX_DRAWN_AT_ONCE // rows, 1)
    for first in range(0, resamples, at_once):
        if is_stopped():
            return {}
        drawn = random.integers(0, rows, (min(at_once, resamples - first), rows))
        counts = np.stack([np.bincount(each, minlength=rows) for each in drawn]).astype(np.float64)
        added = {
            name: {key: np.tensordot(counts, each, 1) for key, each in by_key.items()}
            for name, by_key in of_examples.items()
            if name.removeprefix(WEIGHTED) not in collecting
        }
        for resample, rows_drawn in enumerate(drawn):
            drawn_sums = {
                name: {key: each[resample] for key, each in added[name].items()}
                if name in added
                else {key: each[rows_drawn] for key, each in by_key.items()}
                for name, by_key in of_examples.items()
            }
            for name, value in compute_defined(evaluator, drawn_sums, split).items():
                values.setdefault(name, []).append(value)
    tail = 50 * (1 - LEVEL)
    intervals = {}
    for name, each in values.items():
        defined = np.array(each)[np.isfinite(each)]
        if len(defined):
            low, high = np.percentile(defined, [tail, 100 - tail])
            intervals[name] = float(low), float(high)
    return intervals
