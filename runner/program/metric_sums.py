"""Metric accumulation: adds up the sums of dispatches on the host in 64 bits, and computes metrics from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np

from components.types import Metric
from runner.config.check_targets import WEIGHTED
from runner.errors import error_location
from runner.program.parts import record_name
from runner.program.returns import check_result

LAST = "last"  # holds values that are not added up: the latest replaces the one before

MetricSums = dict[str, dict[str, np.ndarray]]
"""Sums by metric (or loss) and by name, in 64 bits."""


def add_sums(
    total: MetricSums, dispatch_sums: Iterable[Mapping[str, Mapping[str, Any]]], metrics: Mapping[str, Metric]
) -> MetricSums:
    """Adds the sums of dispatches to a total. Rows of metrics with `collects` are concatenated."""
    parts = [*([total] if total else []), *jax.device_get(list(dispatch_sums))]
    return {
        # A checkpoint of an earlier version may lack some sums.
        name: {key: _add(name, metrics, [part[name][key] for part in parts if key in part[name]]) for key in values}
        for name, values in (parts[-1] if parts else total).items()
    }


def _add(name: str, metrics: Mapping[str, Metric], values: Sequence[np.ndarray]) -> np.ndarray:
    """Adds the values of dispatches of a metric or loss."""
    metric = metrics.get(name.removeprefix(WEIGHTED))
    if metric is not None and metric.collects:
        return np.concatenate(values)
    return _widen(values[-1]) if name == LAST else functools.reduce(np.add, map(_widen, values))


def _widen(value: np.ndarray) -> np.ndarray:
    return np.asarray(value, np.int64 if np.issubdtype(value.dtype, np.integer) else np.float64)


def compute_metrics(
    sums: MetricSums, metrics: Mapping[str, Metric], split: str, loss_weights: Mapping[str, float]
) -> dict[str, float]:
    """The metrics of a split, {"valid/loss": …, …}: the losses, which are means, and the result of each metric.

    Args:
        sums: the metric sums.
        metrics: the metrics by name.
        split: the name of the split.
        loss_weights: the factor of each target's loss. The loss of several targets is the weighted sum of their losses.
    """
    values: dict[str, float] = {}
    for prefix in ("", WEIGHTED):
        own = {name: sums[name] for name in sums if name != LAST and name.startswith(WEIGHTED) == bool(prefix)}
        names = sorted(own, key=lambda name: _position(name.removeprefix(prefix), metrics))
        own_values = {name: _compute_value(name, sums, metrics) for name in names}
        losses = {target: own_values.get(f"{prefix}{record_name(target, 'loss')}") for target in loss_weights}
        if losses and None not in losses.values() and f"{prefix}loss" not in own_values:
            total = sum(loss_weights[target] * cast(float, loss) for target, loss in losses.items())
            own_values = {f"{prefix}loss": total} | own_values
        values |= own_values
    return {f"{split}/{name}": value for name, value in values.items()}


def list_metric_names(sums: Iterable[str], split: str, loss_weights: Iterable[str]) -> list[str]:
    """The names of the metrics that `compute_metrics` computes, from the names of the sums and of the targets."""
    names = [name for name in sums if name != LAST]
    for prefix in ("", WEIGHTED):
        losses = [f"{prefix}{record_name(target, 'loss')}" for target in loss_weights]
        if losses and set(losses) <= set(names):
            names.append(f"{prefix}loss")
    return [f"{split}/{name}" for name in dict.fromkeys(names)]


def _position(name: str, metrics: Mapping[str, Metric]) -> tuple[int, str]:
    """Sorts the loss first, then the objective, other losses by name, and the metrics in their order."""
    first = ["loss", "objective"]
    if name in metrics:
        return len(first) + 1 + list(metrics).index(name), ""
    return (first.index(name), "") if name in first else (len(first), name)


def _compute_value(name: str, sums: MetricSums, metrics: Mapping[str, Metric]) -> float:
    """The mean loss, or the result of a metric; NaN if no element counts, as when all steps were skipped."""
    metric = metrics.get(name.removeprefix(WEIGHTED))
    loss = sums[name] if metric is None else sums[f"{name[: name.rfind('/') + 1]}loss"]  # of the same target
    if loss["count"] == 0:
        return math.nan
    return float(loss["sum"] / loss["count"] if metric is None else _compute_metric(name, metric, sums[name]))


def _compute_metric(name: str, metric: Metric, sums: Mapping[str, np.ndarray]) -> Any:
    with error_location(f"metric.{name.removeprefix(WEIGHTED).replace('/', '.')}"):
        result = metric.result(sums)
        check_result(result, type(metric).__name__)
    return result


def sums_to_json(sums: MetricSums) -> dict[str, dict[str, Any]]:
    """The sums as plain values, which JSON keeps exactly."""
    return {name: {key: value.tolist() for key, value in values.items()} for name, values in sums.items()}


def sums_from_json(plain: Mapping[str, Mapping[str, Any]]) -> MetricSums:
    """The sums from the values of `sums_to_json`."""
    return {name: {key: np.asarray(value) for key, value in values.items()} for name, values in plain.items()}
