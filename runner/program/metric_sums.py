"""Reports of dispatches added up on the host in 64 bits, and the figures that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from components.types import Metric
from runner.errors import error_location
from runner.program.returns import check_result

LOSSES = ("loss", "objective")
LAST = "last"  # what is not added up: the latest stands

MetricSums = dict[str, dict[str, np.ndarray]]


def add_sums(
    sums: MetricSums, reports: Iterable[Mapping[str, Mapping[str, Any]]], metrics: Mapping[str, Metric]
) -> MetricSums:
    """The sums with further reports: counts and sums are added, rows of collecting metrics strung together."""
    for report in jax.device_get(list(reports)):
        sums = {
            name: {key: _joined(name, metrics)(sums.get(name, {}).get(key), value) for key, value in values.items()}
            for name, values in report.items()
        }
    return sums


def compute_metrics(sums: MetricSums, metrics: Mapping[str, Metric], split: str) -> dict[str, float]:
    """The figures of a split: its mean loss, and each metric's result."""
    means = {name: sums[name]["sum"] / sums[name]["count"] for name in LOSSES if name in sums}
    results = {name: _result(name, metric, sums[name]) for name, metric in metrics.items() if name in sums}
    return {f"{split}/{name}": float(value) for name, value in (means | results).items()}


def _result(name: str, metric: Metric, sums: Mapping[str, np.ndarray]) -> Any:
    with error_location(f"metric.{name}"):
        result = metric.result(sums)
        check_result(result, type(metric).__name__)
    return result


def sums_to_json(sums: MetricSums) -> dict[str, dict[str, Any]]:
    """The sums as JSON can keep them, to the last bit."""
    return {name: {key: value.tolist() for key, value in values.items()} for name, values in sums.items()}


def sums_from_json(plain: Mapping[str, Mapping[str, Any]]) -> MetricSums:
    """What `to_plain` kept."""
    return {name: {key: np.asarray(value) for key, value in values.items()} for name, values in plain.items()}


def _joined(name: str, metrics: Mapping[str, Metric]) -> Callable[[np.ndarray | None, np.ndarray], np.ndarray]:
    if name in metrics and metrics[name].collects:
        return lambda old, new: new if old is None else np.concatenate([old, new])
    return lambda old, new: _wide(new) if old is None or name == LAST else old + _wide(new)


def _wide(value: np.ndarray) -> np.ndarray:
    return np.asarray(value, np.int64 if np.issubdtype(value.dtype, np.integer) else np.float64)
