"""Error classes, and annotations for the parameters of parts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    import jax

T = TypeVar("T")

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
        low, high = (str(bound) if isinstance(bound, int) else f"{bound:g}" for bound in (self.low, self.high))
        return f"{opening}{low}, {high}{closing}"


class UserError(ValueError):
    """An error that the user can fix. Its message says what is wrong, the value, what is allowed and what to do."""


class FieldError(UserError):
    """A problem of one parameter of a part.

    Attributes:
        field: the name of the parameter, dotted for a value in it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class DataError(UserError):
    """An error in the data. Its message names the source, the row and the column."""


class MissingFileError(DataError):
    """A file or folder that a configuration names doesn't exist."""


class NoValueError(DataError):
    """A column has no value in the training split, so that nothing can be learned from it.

    Attributes:
        column: the name of the column in the data.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


def bind_fields(part: T, **values: Any) -> T:
    """A copy of a frozen part with other values of the fields that its `bind` sets: `field(init=False)`.

    They are no parameters of the part, which a configuration could set without any effect.
    """
    bound: T = object.__new__(type(part))
    for name, value in {**vars(part), **values}.items():
        object.__setattr__(bound, name, value)
    return bound


class Clock(NamedTuple):
    """Where a run is. The fields are Python numbers, or traced scalars inside the compiled step.

    Attributes:
        step: the step, counted from 0.
        total_steps: the number of steps of the whole run.
        steps_per_epoch: the number of steps of an epoch.
    """

    step: Scalar
    total_steps: Scalar
    steps_per_epoch: Scalar


DURATION = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(ep|st)")
UNITS: dict[str, Literal["epoch", "step"]] = {"ep": "epoch", "st": "step"}


@dataclass(frozen=True)
class Duration:
    """A length of training. In YAML, `0.3` is a share of the run, `5ep` are epochs, `2000st` are steps.

    Attributes:
        value: the share of the run, 0 to 1, or the number of epochs or steps, such as 0.5. It may be traced.
        unit: what `value` counts. It is static.
    """

    value: Scalar
    unit: Literal["run", "epoch", "step"] = "run"

    @classmethod
    def parse(cls, text: str | float) -> Duration:
        """Reads a duration as it is written in YAML. Raises UserError if it isn't one."""
        if isinstance(text, str) and (match := DURATION.fullmatch(text)):
            return cls(float(match[1]), UNITS[match[2]])
        if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text <= 1:
            return cls(float(text))
        raise UserError(
            f"{text!r} is not a duration. Write 0.3 for a share of the run, 5ep for epochs, 2000st for steps."
        )

    def steps(self, clock: Clock) -> jax.Array:
        """The number of steps, float32 and not rounded."""
        import jax.numpy as jnp  # here, because a configuration is checked without JAX

        length = {"run": clock.total_steps, "epoch": clock.steps_per_epoch, "step": 1}[self.unit]
        return jnp.asarray(self.value, jnp.float32) * jnp.asarray(length, jnp.float32)

    def written(self) -> str | float:
        """The duration as it is written in YAML."""
        number = shortest_decimal(self.value)
        if self.unit == "run":
            return number
        return repr(number).removesuffix(".0") + {"epoch": "ep", "step": "st"}[self.unit]


def shortest_decimal(number: Scalar) -> float:
    """The Python float with the fewest digits that a number is the closest one of its type to.

    So it is 0.01 for the float32 closest to 0.01, where `float` returns 0.009999999776. The number isn't traced.
    """
    return float(number if isinstance(number, int | float) else str(number))
