"""Error classes, and annotations for the parameters of parts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from components.cache_folder import name_addresses

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
    """An error that the user can fix. Its message says what is wrong, the value, what is allowed and what to do.

    A message names the address of a fetched file, and not its place in the cache.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(name_addresses(each) if isinstance(each, str) else each for each in arguments))


class FieldError(UserError):
    """A problem of one parameter of a part.

    Args:
        field: the name of the parameter, dotted for a value in it.
        message: what is wrong with its value.
        part: the path of the inner part that has the parameter, which starts `field`. "": it is the part itself.
    """

    def __init__(self, field: str, message: str, part: str = "") -> None:
        super().__init__(field, message, part)
        self.field, self.message, self.part = self.args

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@contextmanager
def error_field(name: str) -> Iterator[None]:
    """Adds the name of a parameter to the errors of a part that is its value, or in it.

    Args:
        name: the name, dotted for a value in a mapping or a list.

    Raises:
        FieldError: a UserError was raised. Those of the data already name a row.
    """
    try:
        yield
    except FieldError as error:
        part = f"{name}.{error.part}" if error.part else name
        raise FieldError(f"{name}.{error.field}", error.message, part) from error
    except UserError as error:
        if type(error) is not UserError:
            raise
        raise FieldError(name, str(error), name) from error


Change: TypeAlias = Literal["rows", "files", "reading", "columns", "gaps", "skipping", "leaving_out", "predicting"]


class Remedy(NamedTuple):
    """What the user can do about an error in the data.

    Attributes:
        action: the action, such as "correct it" or "set `missing`".
        changes: what it changes, so that a caller can keep the remedies that it allows, or has another way.
            `rows`: values or rows of the data.
            `files`: the files that rows refer to, such as images.
            `reading`: how the source reads values.
            `columns`: the feature columns, the types of their values, or the source. Those of a finished run are fixed.
            `gaps`: what a feature column does with a missing value.
            `skipping`: the source leaves out rows that can't be read.
            `leaving_out`: the column of the data isn't used.
            `predicting`: a finished run predicts the rows, instead of a training or an evaluation with them.
        purpose: what it is for, such as "to skip such rows". "": it is one of the usual alternatives.
    """

    action: str
    changes: Change = "rows"
    purpose: str = ""


class DataError(UserError):
    """An error in the data. Its message names the source, the row and the column, and ends with the remedies.

    Args:
        fault: what is wrong, or the whole message.
        remedies: what the user can do about it. A text is a remedy that changes the rows.
        missing: the column of the data that has no value, if that is the fault.
    """

    def __init__(self, fault: str, *remedies: Remedy | str, missing: str | None = None) -> None:
        all_remedies = (Remedy(each) if isinstance(each, str) else each for each in remedies)
        super().__init__(fault, *(each._replace(action=name_addresses(each.action)) for each in all_remedies))
        self.missing = missing

    @property
    def fault(self) -> str:
        """What is wrong."""
        return str(self.args[0])

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What the user can do about it."""
        return self.args[1:]

    def replace_remedies(self, remedies: Iterable[Remedy], fault: str | None = None) -> None:
        """Replaces the remedies, by those of the caller's situation. `fault`: another text of the fault."""
        self.args = (self.fault if fault is None else fault, *remedies)

    def __str__(self) -> str:
        *others, last = [each.action for each in self.remedies if not each.purpose] or [""]
        usual = f"{', '.join(others)}, or {last}" if others else last
        text = "; ".join(
            filter(None, [usual, *(f"{each.purpose}, {each.action}" for each in self.remedies if each.purpose)])
        )
        if not text:
            return self.fault
        if self.fault.endswith((".", "?")):
            return f"{self.fault} {text[0].upper()}{text[1:]}."
        return f"{self.fault}; {text}"


class MissingFileError(DataError):
    """A file or folder that a configuration names doesn't exist.

    Attributes:
        paths: the alternative paths of the file or folder, as the configuration has them.
    """

    def __init__(self, message: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


def bind_fields(part: T, **values: Any) -> T:
    """A copy of a frozen part with other values of the fields that its `bind` sets: `field(init=False)`.

    They are no parameters of the part, which a configuration could set without any effect. Values of cached properties
    aren't copied, because they may depend on these fields.
    """
    bound: T = object.__new__(type(part))
    for name, value in {**vars(part), **values}.items():
        if not isinstance(getattr(type(part), name, None), cached_property):
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


def is_above(first: Scalar, second: Scalar) -> bool:
    """Whether a number is above another one. A traced number has no value to compare, so it is not."""
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first > second
    import jax  # here, because a configuration is checked without JAX

    return not isinstance(first, jax.core.Tracer) and not isinstance(second, jax.core.Tracer) and bool(first > second)


def shortest_decimal(number: Scalar) -> float:
    """The Python float with the fewest digits that a number is the closest one of its type to.

    So it is 0.01 for the float32 closest to 0.01, where `float` returns 0.009999999776. The number isn't traced.
    """
    return float(number if isinstance(number, int | float) else str(number))
