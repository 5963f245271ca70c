"""Which classes occur."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.feature import raw
from components.feature.strings import compact
from components.types import Block, Strings


@dataclass(frozen=True)
class Distinct:
    """How often each class occurs, as a dictionary sorted by class."""

    key: str

    def summarize(self, block: Block) -> Counter[Any]:
        values, numbers = groups(block, self.key)
        counts = np.bincount(numbers, minlength=len(values)).tolist()
        return Counter({value: count for value, count in zip(values, counts, strict=True) if count})

    def merge(self, state: Counter[Any], other: Counter[Any]) -> Counter[Any]:
        return state + other

    def result(self, state: Counter[Any]) -> dict[Any, int]:
        return dict(sorted(state.items()))


def groups(block: Block, key: str) -> tuple[list[Any], np.ndarray]:
    """The classes of a column, of which some may not occur, and the number of each row's among them."""
    strings = block.columns.get(key)
    if not isinstance(strings, Strings) or not block.valid.get(key, np.True_).all():
        values, inverse = np.unique(raw.labels(block, key), return_inverse=True)
        return values.tolist(), inverse
    known, rows = compact(strings)
    numbers: dict[str, int] = {}
    each = np.array([numbers.setdefault(text, len(numbers)) for text in known.tolist()], np.int64)
    return list(numbers), each if rows is None else each[rows]
