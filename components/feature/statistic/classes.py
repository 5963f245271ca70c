"""Classes and how often they occur, and statistics for each class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.feature.base import raw
from components.feature.statistic.elements import Numerical, read_elements
from components.feature.text.string_ops import compact
from components.types import Block, DataError, Strings


@dataclass(frozen=True)
class Distinct:
    """How often each class occurs, as a dictionary sorted by class."""

    key: str

    def summarize(self, block: Block) -> Counter[Any]:
        values, numbers = group_rows(block, self.key)
        counts = np.bincount(numbers, minlength=len(values)).tolist()
        return Counter({value: count for value, count in zip(values, counts, strict=True) if count})

    def merge(self, state: Counter[Any], other: Counter[Any]) -> Counter[Any]:
        return state + other

    def result(self, state: Counter[Any]) -> dict[Any, int]:
        return dict(sorted(state.items()))


@dataclass(frozen=True)
class ByKey:
    """The results of a statistic for the rows of each class, as a dictionary sorted by class.

    Attributes:
        statistic: a statistic of numbers, with one vector per row.
        by: the raw column of classes: integers, strings or booleans.
    """

    statistic: Numerical
    by: str

    def summarize(self, block: Block) -> dict[Any, Any]:
        values = read_elements(block, self.statistic.key)
        classes, numbers = group_rows(block, self.by)
        if len(values) != len(numbers):
            what = f"column `{self.statistic.key}`" if isinstance(self.statistic.key, str) else self.statistic.key
            raise DataError(f"{what} of {block.origin} has not one vector a row: it can't be summarized by `{self.by}`")
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(classes) + 1)).tolist()
        rows = {value: order[bounds[n] : bounds[n + 1]] for n, value in enumerate(classes)}
        return {
            value: self.statistic.summarize_numbers(values[chosen]) for value, chosen in rows.items() if len(chosen)
        }

    def merge(self, state: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        both = {value: self.statistic.merge(state[value], other[value]) for value in state.keys() & other.keys()}
        return {**state, **other, **both}

    def result(self, state: dict[Any, Any]) -> dict[Any, Any]:
        return {value: self.statistic.result(state[value]) for value in sorted(state)}


def group_rows(block: Block, key: str) -> tuple[list[Any], np.ndarray]:
    """The classes of a column, some of which may not occur, and the number of each row's class among them."""
    strings = block.columns.get(key)
    if not isinstance(strings, Strings) or not block.valid.get(key, np.True_).all():
        values, inverse = np.unique(raw.read_labels(block, key), return_inverse=True)
        return values.tolist(), inverse
    known, rows = compact(strings)
    numbers: dict[str, int] = {}
    each = np.array([numbers.setdefault(text, len(numbers)) for text in known.tolist()], np.int64)
    return list(numbers), each if rows is None else each[rows]
