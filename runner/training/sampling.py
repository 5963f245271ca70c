"""Sampling with replacement: how often the rows of the training split are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from components.types import TargetSpec
from runner.config.settings import Training
from runner.data.encode import WEIGHT, target_column
from runner.data.load import Data
from runner.errors import LocatedError


def accumulate_source_weights(data: Data, weights: Mapping[str, float]) -> np.ndarray:
    """The cumulative weights with which sources are drawn by weight, and then any of their training rows, float64 (n,).

    Args:
        data: the data of several sources.
        weights: the weight of each source by name.

    Raises:
        LocatedError: the data isn't of these sources, or one that is drawn has no training rows.
    """
    if data.source_sizes is None:
        text = "this data isn't of several sources. It is for data=mixed. Leave it out."
        raise LocatedError("training.source_weights", text)
    ends = np.cumsum([*data.source_sizes.values()])
    sources = np.searchsorted(ends, data.source_rows(data.splits["train"]), side="right")
    counts = np.bincount(sources, minlength=len(ends))
    for name, count in zip(data.source_sizes, counts.tolist(), strict=True):
        if weights[name] > 0 and not count:
            text = f"the source has no training rows, so it can't be drawn. Set training.source_weights.{name}=0."
            raise LocatedError(f"training.source_weights.{name}", text)
    shares = np.array([weights[name] for name in data.source_sizes]) / np.maximum(counts, 1)
    return np.cumsum(shares[sources], dtype=np.float64)


def accumulate_weights(
    training: Training, data: Data, targets: Mapping[str, TargetSpec], load: Callable[[str], Any]
) -> np.ndarray | None:
    """The cumulative weights with which training rows are drawn, float64 (n,). None: each row comes once in an epoch.

    Args:
        training: the settings. `sampling` is `weighted`: by the weights of the examples; or `balanced`: each class is
            drawn equally often, and a row without a class never. `source_weights`: how often each source is drawn.
        data: the data.
        targets: the targets by name.
        load: the name of an encoded column -> what its layer returns for each training row.

    Raises:
        LocatedError: there is no single target with one class for each example, or a source can't be drawn.
    """
    if training.source_weights:
        return accumulate_source_weights(data, training.source_weights)
    if training.sampling is None:
        return None
    if training.sampling == "weighted":
        return np.cumsum(np.asarray(load(WEIGHT))[:, 0], dtype=np.float64)
    kinds = [(name, spec) for name, spec in targets.items() if spec.kind == "classes" and spec.shape == ()]
    if len(targets) != 1 or not kinds:
        raise LocatedError(
            "training.sampling",
            "balanced needs a single target with one class for each example. Set feature.weight to a column of weights "
            "and training.sampling=weighted, or leave it out.",
        )
    classes = np.asarray(load(target_column(kinds[0][0])))
    counts = np.bincount(classes[classes >= 0])
    return np.cumsum(np.where(classes >= 0, 1 / np.maximum(counts, 1)[classes], 0.0))
