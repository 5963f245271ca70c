"""Reads the numbers that a statistic summarizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

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
        return np.concatenate([read_elements(block, column) for column in key], axis=1)
    values = raw.read_numbers(block, key)
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
