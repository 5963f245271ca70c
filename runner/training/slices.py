"""Losses and metrics of slices: of the rows of a split with each value of a column.

The sums of each example, from which intervals are drawn too, are added up by slice. So the model is not applied again,
and each column takes one pass over the sums, whatever the number of its values is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from components.types import ExplainsUndefined
from runner.config.check_targets import WEIGHTED
from runner.data.slices import SliceColumn
from runner.program.metric_sums import MetricSums
from runner.program.parts import record_name
from runner.training.evaluator import Evaluator
from runner.training.example_sums import ExampleSums, compute_defined

MAX_NUMBERS = 200_000_000  # of the sums of a metric for all examples, float32 and then float64


class Slice(NamedTuple):
    """The rows of a split with one value of a column.

    Attributes:
        column: the name of the column.
        value: the value, as text.
        rows: the number of rows.
        metrics: the losses and metrics by name, such as `loss`; NaN where one is undefined.
        undefined: why, by name, as far as it is known before the predictions.
    """

    column: str
    value: str
    rows: int
    metrics: Mapping[str, float]
    undefined: Mapping[str, str]

    def to_plain(self) -> dict[str, Any]:
        """The slice as plain values, for JSON."""
        return {**self._asdict(), "metrics": dict(self.metrics), "undefined": dict(self.undefined)}


def evaluate_slices(
    sums: ExampleSums,
    columns: Mapping[str, SliceColumn],
    *,
    note: Callable[[str], None],
) -> list[Slice]:
    """Computes the losses and metrics of each slice of a split. A value without rows has none.

    Args:
        sums: the sums of the split's examples.
        columns: the columns, with the values of the split's rows.
        note: called with a line about each metric that is left out, because its sums need too much memory.

    Returns:
        The slices of each column, in the order of the values. Metrics that read more than the logits, and targets that
        are images, have none.
    """
    if not columns or not sums.outputs.logits:
        return []
    evaluator, split = sums.evaluator, sums.split

    def is_too_large(name: str, numbers: int) -> bool:
        if numbers <= MAX_NUMBERS:
            return False
        note(f"{name} has no slices: it has {numbers:,} numbers for the {split} split, and {MAX_NUMBERS:,} are allowed")
        return True

    of_examples = sums.read(is_too_large)
    targets = evaluator.compute_targets(split, sums.outputs.batch)
    return [
        _evaluate_slice(
            evaluator, split, of_examples, targets, name, value, np.flatnonzero(column.ids[split] == number)
        )
        for name, column in columns.items()
        for number, value in enumerate(column.values)
        if (column.ids[split] == number).any()
    ]


def _evaluate_slice(
    evaluator: Evaluator,
    split: str,
    sums: MetricSums,
    targets: Mapping[str, np.ndarray],
    column: str,
    value: str,
    rows: np.ndarray,
) -> Slice:
    own = {
        name: {
            key: each[rows] if _collects(evaluator, name) else each[rows].sum(0, dtype=np.float64)
            for key, each in by_key.items()
        }
        for name, by_key in sums.items()
    }
    computed = compute_defined(evaluator, own, split)
    names = (f"{split}/{name}" for name in sums)
    metrics = {name.removeprefix(f"{split}/"): computed.get(name, math.nan) for name in (*computed, *names)}
    own_targets = {name: target[rows] for name, target in targets.items()}
    undefined = dict(_explain(evaluator, metrics, own_targets, rows, split))
    return Slice(column, value, len(rows), metrics, undefined)


def _collects(evaluator: Evaluator, name: str) -> bool:
    metric = evaluator.metrics.get(name.removeprefix(WEIGHTED))
    return metric is not None and metric.collects


def _explain(
    evaluator: Evaluator,
    metrics: Mapping[str, float],
    targets: Mapping[str, np.ndarray],
    rows: np.ndarray,
    split: str,
) -> Iterator[tuple[str, str]]:
    """Why metrics of some rows of a split are undefined whatever the predictions are, by name."""
    for target, values in targets.items():
        is_missing = np.isnan(values) if evaluator.targets[target].kind == "real" else values < 0
        is_known = ~is_missing.reshape(len(is_missing), -1).any(axis=1)
        for own in ("loss", *evaluator.parts.targets[target].metrics):
            for prefix in ("", WEIGHTED):
                name, counts = f"{prefix}{record_name(target, own)}", is_known
                if not math.isnan(metrics.get(name, 0.0)):
                    continue
                if prefix and evaluator.weights is not None:
                    counts = counts & (evaluator.weights[np.asarray(evaluator.data.splits[split])[rows]] > 0)
                metric = evaluator.parts.targets[target].metrics.get(own)
                if not counts.any():
                    yield name, "no weight above 0" if is_known.any() else "no value of the target"
                elif isinstance(metric, ExplainsUndefined) and (reason := metric.explain_undefined(values[counts])):
                    yield name, reason
