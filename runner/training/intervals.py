"""Intervals of the final losses and metrics by the bootstrap: what other examples of the same kind could have given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import jax
import numpy as np

from components.types import Batch, Output
from runner.config.check_targets import WEIGHTED
from runner.log import LOG
from runner.program.metric_sums import MetricSums
from runner.program.objective import ExampleOutputs, sum_metrics
from runner.program.parts import BuiltParts, record_name
from runner.training.evaluator import Evaluator

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
    evaluator: Evaluator,
    split: str,
    outputs: ExampleOutputs,
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
        evaluator: the evaluator.
        split: the split.
        outputs: the outputs for each of the split's rows, in the order of the split.
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
    batch = evaluator.load_batch(split) if outputs.batch is None else outputs.batch
    rows = len(batch.present)
    collecting = {name for name, metric in evaluator.metrics.items() if metric.collects}
    of_examples = _sum_losses(outputs, batch) | _sum_metrics(evaluator.parts, outputs, batch, resamples, note)
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
            sums = {
                name: {key: each[resample] for key, each in added[name].items()}
                if name in added
                else {key: each[rows_drawn] for key, each in by_key.items()}
                for name, by_key in of_examples.items()
            }
            for name, value in _compute_defined(evaluator, sums, split).items():
                values.setdefault(name, []).append(value)
    tail = 50 * (1 - LEVEL)
    intervals = {}
    for name, each in values.items():
        defined = np.array(each)[np.isfinite(each)]
        if len(defined):
            low, high = np.percentile(defined, [tail, 100 - tail])
            intervals[name] = float(low), float(high)
    return intervals


def _compute_defined(evaluator: Evaluator, sums: MetricSums, split: str) -> dict[str, float]:
    """The losses and metrics of a resample, without metrics that raise an exception, as for a class that is absent."""
    with suppress(Exception):  # a part of the user may raise anything
        return evaluator.compute_metrics(sums, split)
    defined = dict(sums)
    for name, own in sums.items():
        metric = evaluator.metrics.get(name.removeprefix(WEIGHTED))
        try:
            if metric is not None:
                metric.result(own)
        except Exception:
            del defined[name]
    return evaluator.compute_metrics(defined, split)


def _sum_losses(outputs: ExampleOutputs, batch: Batch) -> MetricSums:
    """The sum and the count of each example's losses, {"loss": {"sum": (N,), "count": (N,)}, …}."""
    sums: MetricSums = {}
    for name, losses in outputs.losses.items():
        mask = np.asarray(batch.mask_of(name))
        weights = {"": np.ones(len(mask))} | ({} if batch.weight is None else {WEIGHTED: np.asarray(batch.weight)})
        for prefix, weight in weights.items():
            count = weight * mask.astype(np.float64)
            sums[f"{prefix}{record_name(name, 'loss')}"] = {"sum": np.where(mask, losses, 0) * count, "count": count}
    return sums


def _sum_metrics(
    parts: BuiltParts, outputs: ExampleOutputs, batch: Batch, resamples: int, note: Callable[[str], None]
) -> MetricSums:
    """The sums of each example's metrics, or their rows, by metric and name, (N, …)."""

    def measure(parts: BuiltParts, logits: Mapping[str, jax.Array], batch: Batch) -> Any:
        logits, batch = jax.tree.map(lambda leaf: leaf[None], (logits, batch))  # one example
        return sum_metrics(parts, Output(logits), batch, training=False)

    arrays = dict(outputs.logits), batch
    parts = parts._replace(targets={name: parts.targets[name] for name in outputs.logits})

    def trace(own: BuiltParts) -> Any:
        return jax.eval_shape(jax.vmap(partial(measure, own)), *arrays)

    parts = _without_other_metrics(parts, trace)
    costs = {name: resamples * _count_numbers(parts, name, sums) for name, sums in trace(parts).items()}
    for name in [name for name, cost in costs.items() if cost > MAX_COST and not name.startswith(WEIGHTED)]:
        note(f"{name} has no interval: {resamples:,} resamples would take minutes. Set intervals to fewer.")
        parts = _without_metric(parts, name)
    sums = jax.device_get(jax.jit(jax.vmap(partial(measure, parts)))(*arrays))
    collecting = {name for name, metric in parts.metrics.items() if metric.collects}
    return {
        name: {
            key: value[:, 0] if name.removeprefix(WEIGHTED) in collecting else np.asarray(value, np.float64)
            for key, value in by_key.items()
        }
        for name, by_key in sums.items()
    }


def _count_numbers(parts: BuiltParts, name: str, sums: Mapping[str, Any]) -> int:
    """How many numbers a resample of a metric reads, those that are sorted counted more."""
    metric = parts.metrics[name.removeprefix(WEIGHTED)]
    return sum(leaf.size for leaf in sums.values()) * (COST_OF_COLLECTED if metric.collects else 1)


def _without_metric(parts: BuiltParts, name: str) -> BuiltParts:
    """The parts without a metric, which has a name of the record."""
    targets = {
        target: own._replace(
            metrics={each: metric for each, metric in own.metrics.items() if record_name(target, each) != name}
        )
        for target, own in parts.targets.items()
    }
    return parts._replace(targets=targets)


def _without_other_metrics(parts: BuiltParts, trace: Callable[[BuiltParts], Any]) -> BuiltParts:
    """The parts without the metrics that need more than logits and targets, such as `ReconstructionError`."""
    with suppress(Exception):  # a part of the user may raise anything
        trace(parts)
        return parts
    targets = {}
    for target, own in parts.targets.items():
        metrics = {}
        for name, metric in own.metrics.items():
            try:
                trace(parts._replace(targets={target: own._replace(metrics={name: metric})}))
            except Exception as error:
                LOG.info("%s has no interval: %s", record_name(target, name), error)
            else:
                metrics[name] = metric
        targets[target] = own._replace(metrics=metrics)
    return parts._replace(targets=targets)
