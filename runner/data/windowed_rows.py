"""Views of encoded rows, in which an example has several rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Steps(NamedTuple):
    """The rows of examples that have several: (B, steps, …). For JAX, it is a pytree of one array."""

    values: Any


class WindowedRows:
    """A view of encoded rows, in which an example has several of them. No row is copied before it is gathered.

    For JAX, it is a pytree of its arrays.

    Args:
        base: the rows, (rows, …).
        steps: the rows of an example, counted from the row by which it is known.
        positions: the position in `order` of the row of each example. None: example i is known by row i.
        order: the rows in the order of their series. None: it is that of the rows.
    """

    def __init__(self, base: Any, steps: range, positions: Any = None, order: Any = None) -> None:
        self.base, self.steps, self.positions, self.order = base, steps, positions, order

    @property
    def shape(self) -> tuple[int, ...]:
        """(examples, steps, …)."""
        return (len(self), len(self.steps), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.base.dtype)

    def __len__(self) -> int:
        return len(self.base if self.positions is None else self.positions)

    def __getitem__(self, examples: np.ndarray) -> Steps:
        return self.gather(examples, _take)

    def gather(self, examples: Any, take: Callable[[Any, Any], Any]) -> Steps:
        """The rows of some examples.

        Args:
            examples: the numbers of the examples, (B,). Those of padding may be any.
            take: (array, indices) -> the elements there. Indices that are too small or too large may have any.
        """
        return Steps(take(self.base, self._find_rows(examples, take)))

    def find_rows(self, examples: np.ndarray) -> np.ndarray:
        """The numbers of the rows of some examples, (B, steps)."""
        return np.asarray(self._find_rows(examples, _take))

    def _find_rows(self, examples: Any, take: Callable[[Any, Any], Any]) -> Any:
        positions = examples if self.positions is None else take(self.positions, examples)
        rows = positions[:, None] + np.asarray(self.steps, np.int32)[None]
        return rows if self.order is None else take(self.order, rows)


def _take(array: Any, rows: np.ndarray) -> Any:
    return array[rows.clip(0, len(array) - 1)]
