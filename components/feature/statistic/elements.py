"""The numbers that a statistic summarizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from components.feature.base import raw
from components.types import Block

Key: TypeAlias = "str | tuple[str, ...] | Callable[[Block], np.ndarray]"
"""A raw column of finite numbers without gaps; several side by side; or a function of a block that returns float64
(rows, D), where NaN is a gap. It is frozen and hashable, so that equal statistics are one."""


class Numerical(Protocol):
    """A statistic of numbers. It can also summarize some of the rows of a block."""

    @property
    def key(self) -> Key: ...

    def summarize_numbers(self, values: np.ndarray) -> Any:
        """The state of numbers, float64 (rows, D)."""

    def merge(self, state: Any, other: Any) -> Any: ...

    def result(self, state: Any) -> Any: ...


def read_elements(block: Block, key: Key) -> np.ndarray:
    """The numbers of a block, float64 (rows, D). A column of a rank above 2, like images, becomes (rows · …, D)."""
    if callable(key):
        return key(block)
    if isinstance(key, tuple):
        return np.concatenate([read_elements(block, one) for one in key], axis=1)
    values = raw.read_numbers(block, key)
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
