"""A statistic for each class of another column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.feature.statistic.distinct import groups
from components.feature.statistic.elements import Numerical, elements
from components.types import Block, DataError


@dataclass(frozen=True)
class ByKey:
    """What a statistic of numbers gives for the rows of each class, as a dictionary sorted by class.

    Attributes:
        statistic: of numbers, one vector a row.
        by: the raw column of classes: integers, strings or booleans.
    """

    statistic: Numerical
    by: str

    def summarize(self, block: Block) -> dict[Any, Any]:
        values = elements(block, self.statistic.key)
        classes, numbers = groups(block, self.by)
        if len(values) != len(numbers):
            what = f"column `{self.statistic.key}`" if isinstance(self.statistic.key, str) else self.statistic.key
            raise DataError(f"{what} of {block.origin} has not one vector a row: it can't be summarized by `{self.by}`")
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(classes) + 1)).tolist()
        rows = {value: order[bounds[n] : bounds[n + 1]] for n, value in enumerate(classes)}
        return {value: self.statistic.of(values[chosen]) for value, chosen in rows.items() if len(chosen)}

    def merge(self, state: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        both = {value: self.statistic.merge(state[value], other[value]) for value in state.keys() & other.keys()}
        return {**state, **other, **both}

    def result(self, state: dict[Any, Any]) -> dict[Any, Any]:
        return {value: self.statistic.result(state[value]) for value in sorted(state)}
