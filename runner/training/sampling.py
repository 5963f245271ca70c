"""Sampling with replacement: how often the rows of the training split are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from components.types import TargetSpec
from runner.data.encode import WEIGHT, target_column
from runner.errors import LocatedError


def accumulate_weights(
    sampling: Literal["balanced", "weighted"] | None, targets: Mapping[str, TargetSpec], load: Callable[[str], Any]
) -> np.ndarray | None:
    """The cumulative weights with which training rows are drawn, float64 (n,). None: each row comes once in an epoch.

    Args:
        sampling: `weighted`: by the weights of the examples. `balanced`: each class is drawn equally often, and a row
            without a class never.
        targets: the targets by name.
        load: the name of an encoded column -> what its layer returns for each training row.

    Raises:
        LocatedError: there is no single target with one class for each example.
    """
    if sampling is None:
        return None
    if sampling == "weighted":
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
