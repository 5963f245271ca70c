"""Metric accumulation: adds up the sums of dispatches on the host in 64 bits, and computes metrics from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from components.types import Metric
from runner.errors import error_location
from runner.program.returns import check_result

LOSSES = ("loss", "objective")
LAST = "last"  # holds values that are not added up: the latest replaces the one before

MetricSums = dict[str, dict[str, np.ndarray]]
"""Sums by metric (or loss) and by name, in 64 bits."""


def add_sums(
    total: MetricSums, dispatch_sums: Iterable[Mapping[str, Mapping[str, Any]]], metrics: Mapping[str, Metric]
) -> MetricSums:
    """Adds the sums of dispatches to a total. Rows of metrics with `collects` are concatenated."""
    for sums in jax.device_get(list(dispatch_sums)):
        total = {
            name: {key: _add(name, metrics, total.get(name, {}).get(key), value) for key, value in values.items()}
            for name, values in sums.items()
        }
    return total


def _add(name: str, metrics: Mapping[str, Metric], total: np.ndarray | None, value: np.ndarray) -> np.ndarray:
    """Adds the values of a dispatch to the total of a metric or loss; None: there is no total yet."""
    if name in metrics and metrics[name].collects:
        return value if total is None else np.concatenate([total, value])
    return _widen(value) if total is None or name == LAST else total + _widen(value)


def _widen(value: np.ndarray) -> np.ndarray:
    return np.asarray(value, np.int64 if np.issubdtype(value.dtype, np.integer) else np.float64)


def compute_metrics(sums: MetricSums, metrics: Mapping[str, Metric], split: str) -> dict[str, float]:
    """The metrics of a split, {"valid/loss": …, …}: the mean loss, and the result of each metric.

    They are NaN if no example counts, because all steps were skipped.
    """
    if sums["loss"]["count"] == 0:
        return {f"{split}/{name}": math.nan for name in sums if name != LAST}
    means = {name: sums[name]["sum"] / sums[name]["count"] for name in LOSSES if name in sums}
    results = {name: _compute_metric(name, metric, sums[name]) for name, metric in metrics.items() if name in sums}
    return {f"{split}/{name}": float(value) for name, value in (means | results).items()}


def _compute_metric(name: str, metric: Metric, sums: Mapping[str, np.ndarray]) -> Any:
    with error_location(f"metric.{name}"):
        result = metric.result(sums)
        check_result(result, type(metric).__name__)
    return result


def sums_to_json(sums: MetricSums) -> dict[str, dict[str, Any]]:
    """The sums as plain values, which JSON keeps exactly."""
    return {name: {key: value.tolist() for key, value in values.items()} for name, values in sums.items()}


def sums_from_json(plain: Mapping[str, Mapping[str, Any]]) -> MetricSums:
    """The sums from the values of `sums_to_json`."""
    return {name: {key: np.asarray(value) for key, value in values.items()} for name, values in plain.items()}
