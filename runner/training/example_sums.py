"""The sums of the losses and metrics of each example, from which those of some examples are computed."""

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


def sum_examples(
    evaluator: Evaluator, split: str, outputs: ExampleOutputs, is_left_out: Callable[[str, int], bool]
) -> MetricSums:
    """The sums of the losses and metrics of each example of a split, or their rows, by name, (N, …).

    Args:
        evaluator: the evaluator.
        split: the split.
        outputs: the outputs for each of the split's rows, in the order of the split.
        is_left_out: (metric, how many numbers its sums have for all examples) -> whether it is left out.
    """
    batch = evaluator.load_batch(split) if outputs.batch is None else outputs.batch
    return _sum_losses(outputs, batch) | _sum_metrics(evaluator.parts, outputs, batch, is_left_out)


def compute_defined(evaluator: Evaluator, sums: MetricSums, split: str) -> dict[str, float]:
    """The losses and metrics of some examples, without those that raise an exception, as for a class that is absent."""
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
            elements = mask.reshape(len(mask), -1).sum(1)  # of each example, which has the mean loss of them
            count = weight * elements.astype(np.float64)
            own = {"sum": np.where(elements > 0, losses, 0) * count, "count": count}
            sums[f"{prefix}{record_name(name, 'loss')}"] = own
    return sums


def _sum_metrics(
    parts: BuiltParts, outputs: ExampleOutputs, batch: Batch, is_left_out: Callable[[str, int], bool]
) -> MetricSums:
    """The sums of each example's metrics, or their rows, by metric and name, (N, …)."""

    def measure(parts: BuiltParts, logits: Mapping[str, jax.Array], batch: Batch) -> Any:
        logits, batch = jax.tree.map(lambda leaf: leaf[None], (logits, batch))  # one example
        return sum_metrics(parts, Output(logits), batch, training=False)

    arrays = dict(outputs.logits), batch
    parts = parts._replace(targets={name: parts.targets[name] for name in outputs.logits}, targetless=None)

    def trace(own: BuiltParts) -> Any:
        return jax.eval_shape(jax.vmap(partial(measure, own)), *arrays)

    parts = _without_other_metrics(parts, trace)
    numbers = {name: sum(leaf.size for leaf in sums.values()) for name, sums in trace(parts).items()}
    for name in [name for name in numbers if not name.startswith(WEIGHTED) and is_left_out(name, numbers[name])]:
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
                LOG.info("%s is measured for whole splits only: %s", record_name(target, name), error)
            else:
                metrics[name] = metric
        targets[target] = own._replace(metrics=metrics)
    return parts._replace(targets=targets)
