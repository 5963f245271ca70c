"""The sums of the losses and metrics of each example, from which those of some examples are computed.

Intervals and slices read the same sums, so the model is applied once, and each metric is measured once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
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


class ExampleSums:
    """The sums of each example of a split. Those of a metric are computed when they are first read.

    Attributes:
        evaluator: the evaluator.
        split: the split.
        outputs: the outputs for each of the split's rows, in the order of the split.
    """

    def __init__(self, evaluator: Evaluator, split: str, outputs: ExampleOutputs) -> None:
        self.evaluator, self.split, self.outputs = evaluator, split, outputs
        self._metrics: dict[str, Any] = {}

    def read(self, is_left_out: Callable[[str, int], bool]) -> MetricSums:
        """The sums of the losses and metrics, or their rows, by name, (N, …).

        Args:
            is_left_out: (metric, how many numbers its sums have for all examples) -> whether it is left out.
        """
        named = [name for name in self._numbers if not name.startswith(WEIGHTED)]
        wanted = [name for name in named if not is_left_out(name, self._numbers[name])]
        if any(name not in self._metrics for name in wanted):
            parts = self._parts
            for name in named:
                if name not in wanted or name in self._metrics:
                    parts = _without_metric(parts, name)
            self._metrics |= _sum_metrics(parts, *self._arrays)
        read = {name: self._metrics[name] for name in self._numbers if name.removeprefix(WEIGHTED) in wanted}
        return self._losses | read

    @cached_property
    def batch(self) -> Batch:
        """The examples of the split, with their targets."""
        return self.evaluator.load_batch(self.split) if self.outputs.batch is None else self.outputs.batch

    @cached_property
    def _losses(self) -> MetricSums:
        return _sum_losses(self.outputs, self.batch)

    @cached_property
    def _parts(self) -> BuiltParts:
        """The parts with the metrics that read no more than logits and targets."""
        parts = self.evaluator.parts
        parts = parts._replace(targets={name: parts.targets[name] for name in self.outputs.logits}, targetless=None)
        return _without_other_metrics(parts, partial(_trace, *self._arrays))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """How many numbers the sums of a metric have, by name."""
        sums = _trace(*self._arrays, self._parts)
        return {name: sum(leaf.size for leaf in each.values()) for name, each in sums.items()}

    @property
    def _arrays(self) -> tuple[dict[str, Any], Batch]:
        return dict(self.outputs.logits), self.batch


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


def _measure(parts: BuiltParts, logits: Mapping[str, jax.Array], batch: Batch) -> Any:
    """The sums of one example."""
    logits, batch = jax.tree.map(lambda leaf: leaf[None], (logits, batch))
    return sum_metrics(parts, Output(logits), batch, training=False)


def _trace(logits: Mapping[str, jax.Array], batch: Batch, parts: BuiltParts) -> Any:
    """The shapes of the sums of all examples."""
    return jax.eval_shape(jax.vmap(partial(_measure, parts)), logits, batch)


def _sum_metrics(parts: BuiltParts, logits: Mapping[str, jax.Array], batch: Batch) -> MetricSums:
    """The sums of each example's metrics, or their rows, by metric and name, (N, …)."""
    sums = jax.device_get(jax.jit(jax.vmap(partial(_measure, parts)))(logits, batch))
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
