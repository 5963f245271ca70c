"""Error classes, and annotations for the parameters of parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import jax

Scalar: TypeAlias = "float | jax.Array"
"""A Python float or a traced float32 scalar. Use it in arithmetic only, never in a Python `if`."""


@dataclass(frozen=True)
class Range:
    """The allowed range of a numeric parameter, in its annotation: `Annotated[Scalar, Range(0, 1, "[)")]`.

    Infinity and NaN are never in the range.

    Attributes:
        low: the lower bound.
        high: the upper bound.
        bounds: a bracket for each bound: `[` and `]` include it, `(` and `)` exclude it.
    """

    low: float = -math.inf
    high: float = math.inf
    bounds: str = "[]"

    def __contains__(self, value: float) -> bool:
        is_above_low = value >= self.low if self.bounds[0] == "[" else value > self.low
        is_below_high = value <= self.high if self.bounds[1] == "]" else value < self.high
        return is_above_low and is_below_high and abs(value) < math.inf

    def __str__(self) -> str:
        opening = "(" if math.isinf(self.low) else self.bounds[0]
        closing = ")" if math.isinf(self.high) else self.bounds[1]
        return f"{opening}{self.low:g}, {self.high:g}{closing}"


class UserError(ValueError):
    """An error that the user can fix. Its message says what is wrong, the value, what is allowed and what to do."""


class DataError(UserError):
    """An error in the data. Its message names the source, the row and the column."""
