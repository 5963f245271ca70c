"""Reads the numbers that a statistic summarizes, and finds the distinct values among integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from components.feature.base import raw
from components.types import Block

Key: TypeAlias = "str | tuple[str, ...] | Callable[[Block], np.ndarray]"
"""The numbers of a statistic: a raw column of finite numbers without missing values; several such columns, which are
concatenated; or a function of a block that returns float64 (rows, D), where NaN is a missing number. It must be frozen
and hashable, so that equal statistics are computed only once."""


class Numerical(Protocol):
    """A statistic of numbers. It can also summarize an array of numbers, such as some rows of a block."""

    @property
    def key(self) -> Key: ...

    def summarize_numbers(self, values: np.ndarray) -> Any:
        """Computes the state of numbers, float64 (rows, D)."""

    def merge(self, state: Any, other: Any) -> Any: ...

    def result(self, state: Any) -> Any: ...


def describe_key(key: Key) -> str:
    """Describes the numbers of a statistic, for messages."""
    return f"column `{key}`" if isinstance(key, str) else str(key)


def read_elements(block: Block, key: Key) -> np.ndarray:
    """Reads the numbers of a block, float64 (rows, D). A column of images becomes (rows · …, channels)."""
    if callable(key):
        return key(block)
    if isinstance(key, tuple):
        raw.check_no_lists(block, key)
        return np.concatenate([read_elements(block, column) for column in key], axis=1)
    values = raw.read_numbers(block, key)
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)


def merge_unique(keys: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same as `find_unique` of the concatenated keys, where both arrays are ascending."""
    # A stable sort merges two ascending arrays, which takes a tenth of the time.
    return find_unique(np.concatenate([keys, others]), kind="stable")


def find_unique(
    keys: np.ndarray, kind: Literal["quicksort", "stable"] = "quicksort"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the distinct keys, ascending; a position of each; and the position of each key among the distinct keys.

    It takes half as long as np.unique, and a tenth for integers of a small range.

    Args:
        keys: (values,), integers.
        kind: the sorting algorithm, as for np.argsort.
    """
    if len(keys) and keys.dtype != np.uint64 and (low := int(keys.min())) + len(keys) > int(keys.max()):
        codes = keys.astype(np.int64) - low
        example_positions = np.full(int(codes.max()) + 1, -1)
        example_positions[codes] = np.arange(len(keys))
        is_present = example_positions >= 0
        unique = np.flatnonzero(is_present)
        return (unique + low).astype(keys.dtype), example_positions[unique], (np.cumsum(is_present) - 1)[codes]
    order = np.argsort(keys, kind=kind)
    ascending = keys[order]
    is_first = np.ones(len(keys), bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_first[1:])
    codes = np.empty(len(keys), np.int64)
    codes[order] = np.cumsum(is_first) - 1
    return ascending[is_first], order[is_first], codes
