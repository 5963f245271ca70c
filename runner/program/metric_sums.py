"""Metric accumulation: sums of dispatches, added up on the host in 64 bits, and the metrics computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from components.types import Metric
from runner.errors import error_location
from runner.program.returns import check_result

LOSSES = ("loss", "objective")
LAST = "last"  # values that are replaced by the latest, not added up

MetricSums = dict[str, dict[str, np.ndarray]]
"""Sums by metric (or loss) and by name, in 64 bits."""


def add_sums(
    sums: MetricSums, reports: Iterable[Mapping[str, Mapping[str, Any]]], metrics: Mapping[str, Metric]
) -> MetricSums:
    """Adds the sums of dispatches to earlier ones. Rows of metrics that collect are concatenated."""
    for report in jax.device_get(list(reports)):
        sums = {
            name: {key: _adder(name, metrics)(sums.get(name, {}).get(key), value) for key, value in values.items()}
            for name, values in report.items()
        }
    return sums


def compute_metrics(sums: MetricSums, metrics: Mapping[str, Metric], split: str) -> dict[str, float]:
    """The metrics of a split, {"valid/loss": …, …}: the mean loss, and the result of each metric."""
    means = {name: sums[name]["sum"] / sums[name]["count"] for name in LOSSES if name in sums}
    results = {name: _result(name, metric, sums[name]) for name, metric in metrics.items() if name in sums}
    return {f"{split}/{name}": float(value) for name, value in (means | results).items()}


def _result(name: str, metric: Metric, sums: Mapping[str, np.ndarray]) -> Any:
    with error_location(f"metric.{name}"):
        result = metric.result(sums)
        check_result(result, type(metric).__name__)
    return result


def sums_to_json(sums: MetricSums) -> dict[str, dict[str, Any]]:
    """The sums as plain values, which JSON keeps to the last bit."""
    return {name: {key: value.tolist() for key, value in values.items()} for name, values in sums.items()}


def sums_from_json(plain: Mapping[str, Mapping[str, Any]]) -> MetricSums:
    """The sums from the values of `sums_to_json`."""
    return {name: {key: np.asarray(value) for key, value in values.items()} for name, values in plain.items()}


def _adder(name: str, metrics: Mapping[str, Metric]) -> Callable[[np.ndarray | None, np.ndarray], np.ndarray]:
    if name in metrics and metrics[name].collects:
        return lambda old, new: new if old is None else np.concatenate([old, new])
    return lambda old, new: _widen(new) if old is None or name == LAST else old + _widen(new)


def _widen(value: np.ndarray) -> np.ndarray:
    return np.asarray(value, np.int64 if np.issubdtype(value.dtype, np.integer) else np.float64)
