"""Times: their parts as numbers, as points of a circle, or as categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from components.feature import raw
from components.feature.calendar import part_of, times
from components.feature.categorical import Categorical
from components.feature.cells import NO_ID
from components.feature.unlearned import Unlearned
from components.types import Block, Constants, UserError, Values

Cycle: TypeAlias = Literal["month", "day", "day_of_year", "weekday", "hour", "minute", "second"]
Part: TypeAlias = Literal["year", "month", "day", "day_of_year", "weekday", "hour", "minute", "second"]

CYCLES: dict[str, tuple[int, int]] = {  # the first number of each, and how many there are
    "month": (1, 12),
    "day": (1, 31),
    "day_of_year": (1, 366),
    "weekday": (0, 7),  # Monday is 0
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
}


@dataclass(frozen=True, kw_only=True)
class Time(Unlearned):
    """Parts of a time as one float32 vector (D,), in the order given.

    Attributes:
        key: the raw column, of timestamps or text. A text with an offset from UTC, or Z, is taken in UTC.
        parts: weekday counts from Monday, 0; day_of_year from 1.
        encoding: `number`: the part itself. `cyclic`: sine and cosine of 2 pi (part - first) / period, so that 23
            o'clock is near 0; the periods are 12 months, 31 days, 366 days of the year, 7, 24, 60 and 60.
        format: of texts, in the words of Python's strptime (slow beside ISO); None: ISO 8601.
        missing: what each number of a row without a time is; None: such a row is an error.
    """

    key: str
    parts: tuple[Part, ...]
    encoding: Literal["number", "cyclic"] = "number"
    format: str | None = None
    missing: float | None = None

    def __post_init__(self) -> None:
        _check_format(self.format)
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise UserError(f"`parts` (={', '.join(self.parts)}) must be at least one, and each once")
        if self.encoding == "cyclic" and "year" in self.parts:
            raise UserError("`parts`: a year has no period to be `cyclic` over; list it in a column of its own")

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, D)."""
        found, there = times(block, self.key, parents, self.format)
        if self.missing is None and not there.all():
            remedy = "fill it in, leave the row out, or say what stands for it in `missing`"
            raise raw.error(block, self.key, int(np.argmin(there)), "has no value", remedy)
        cyclic = self.encoding == "cyclic"
        numbers = {part: part_of(found, part) for part in self.parts}
        parts = [_cyclic(of, part) if cyclic else of[:, None] for part, of in numbers.items()]
        values = np.concatenate(parts, axis=1, dtype=np.float32)
        return {"values": values if there.all() else np.where(there[:, None], values, np.float32(self.missing))}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B, D), float32."""
        return _values


@dataclass(frozen=True, kw_only=True)
class TimePart(Categorical):
    """A part of a time as a category, to be embedded or crossed: its first number is id 0.

    Attributes:
        key: the raw column, of timestamps or text. A text with an offset from UTC, or Z, is taken in UTC.
        part: what becomes an id; a row without a time has none.
        format: of texts, in the words of Python's strptime (slow beside ISO); None: ISO 8601.
    """

    key: str
    part: Cycle
    format: str | None = None

    def __post_init__(self) -> None:
        _check_format(self.format)

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(static={"buckets": CYCLES[self.part][1]})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`ids`: int32 (rows,)."""
        found, there = times(block, self.key, parents, self.format)
        ids = (part_of(found, self.part) - CYCLES[self.part][0]).astype(np.int32)
        return {"ids": np.where(there, ids, NO_ID)}


def _cyclic(numbers: np.ndarray, part: str) -> np.ndarray:
    """Sine and cosine, (rows, 2)."""
    first, period = CYCLES[part]
    angles = 2 * np.pi * np.arange(period) / period
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)[numbers - first]


def _check_format(format: str | None) -> None:
    try:
        if format is not None:
            datetime.strptime(datetime(2000, 1, 2).strftime(format), format)
    except ValueError as error:
        raise UserError(f"`format` (={format!r}) is not one of Python's strptime: {error}") from None


def _values(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["values"])
