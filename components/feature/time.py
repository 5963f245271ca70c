"""Parts of times, such as month and hour: as numbers, as points on a circle, or as categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base import raw
from components.feature.base.column import Categorical, Stateless
from components.feature.base.values import NO_ID, first_array
from components.feature.text.string_ops import split_dictionary
from components.types import Block, Constants, DataError, Strings, UserError, Values

NEED_TIME = "a time is a timestamp or text such as 2026-10-25 or 2026-10-25T13:45:00; set `format` for other texts"
EPOCH, MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)

CyclicPart: TypeAlias = Literal["month", "day", "day_of_year", "weekday", "hour", "minute", "second"]
Part: TypeAlias = Literal["year", "month", "day", "day_of_year", "weekday", "hour", "minute", "second"]

CYCLES: dict[str, tuple[int, int]] = {  # (first value, period) of each part
    "month": (1, 12),
    "day": (1, 31),
    "day_of_year": (1, 366),
    "weekday": (0, 7),  # Monday is 0
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
}


@dataclass(frozen=True, kw_only=True)
class Time(Stateless):
    """Parts of a time as one float32 vector (D,), in the order of `parts`.

    Attributes:
        key: the raw column of timestamps or texts. A text with an offset from UTC, or Z, is converted to UTC.
        parts: the parts in order. `weekday` is 0 for Monday; `day_of_year` is 1 for 1 January.
        encoding: `number`: the part itself. `cyclic`: sine and cosine of 2 pi (part - first) / period, so that hour 23
            is near hour 0. The periods are 12 months, 31 days of a month, 366 days of a year, 7, 24, 60 and 60.
        format: the format of texts, as in Python's strptime. It is slower than ISO 8601. None: ISO 8601.
        missing: replaces each number of a row without a time. None: a missing time is an error.
    """

    key: str
    parts: tuple[Part, ...]
    encoding: Literal["number", "cyclic"] = "number"
    format: str | None = None
    missing: float | None = None

    def __post_init__(self) -> None:
        _check_format(self.format)
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise UserError(f"`parts` must be one or more different parts, got {', '.join(self.parts) or 'none'}")
        if self.encoding == "cyclic" and "year" in self.parts:
            raise UserError("`encoding` (=cyclic) isn't possible for the part year; list year in a column of its own")

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, D)."""
        return {"values": self.host_output(block, parents, constants).astype(np.float32)}

    def host_output(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> np.ndarray:
        """The parts, float64 (rows, D)."""
        times, valid_mask = read_times(block, self.key, parents, self.format)
        if self.missing is None and not valid_mask.all():
            remedy = "fill it in, remove the row, or set `missing`"
            raise raw.make_value_error(block, self.key, int(np.argmin(valid_mask)), "has no value", remedy)
        cyclic = self.encoding == "cyclic"
        numbers = {part: extract_part(times, part) for part in self.parts}
        columns = [_map_to_circle(n, part) if cyclic else n[:, None] for part, n in numbers.items()]
        values = np.concatenate(columns, axis=1, dtype=np.float64)
        return values if self.missing is None else np.where(valid_mask[:, None], values, self.missing)

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B, D), float32."""
        return _get_values


@dataclass(frozen=True, kw_only=True)
class TimePart(Categorical):
    """A part of a time as a category, for embeddings and crosses. The smallest number of the part has id 0.

    Attributes:
        key: the raw column of timestamps or texts. A text with an offset from UTC, or Z, is converted to UTC.
        part: the part. A row without a time has no id.
        format: the format of texts, as in Python's strptime. It is slower than ISO 8601. None: ISO 8601.
    """

    key: str
    part: CyclicPart
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
        times, valid_mask = read_times(block, self.key, parents, self.format)
        ids = (extract_part(times, self.part) - CYCLES[self.part][0]).astype(np.int32)
        return {"ids": np.where(valid_mask, ids, NO_ID)}


def _map_to_circle(numbers: np.ndarray, part: str) -> np.ndarray:
    """Computes sine and cosine of a part, (rows, 2)."""
    first, period = CYCLES[part]
    angles = 2 * np.pi * np.arange(period) / period
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)[numbers - first]


def _check_format(format: str | None) -> None:
    try:
        if format is not None:
            datetime.strptime(datetime(2000, 1, 2).strftime(format), format)
    except ValueError as error:
        raise UserError(f"`format` (={format!r}) is no format of Python's strptime: {error}") from None


def _get_values(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["values"])


def read_times(
    block: Block, key: str, parents: Mapping[str, Mapping[str, Values]], format: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a column of times.

    Returns:
        The times, datetime64 (rows,), and a mask (rows,), bool: False where a time is missing or "".

    Raises:
        DataError: a value is no time; the message names the row.
    """
    values = first_array(parents[key]) if key in parents else block.columns.get(key)
    if values is None:
        raw.read_column(block, key)  # raises
    valid = np.True_ if key in parents else block.valid.get(key, np.True_)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "M":
        valid_mask = ~np.isnat(values) & valid
        return np.where(valid_mask, values, np.zeros(1, values.dtype)), valid_mask
    unparsed, position_of_row = _list_unparsed(block, key, values)
    valid_mask = np.array([value is not None and value != "" for value in unparsed], bool)[position_of_row] & valid
    times = [_parse(value, format) for value in unparsed]
    invalid = np.array([time is None for time in times], bool)[position_of_row] & valid_mask
    if invalid.any():
        row = int(np.argmax(invalid))
        needed = NEED_TIME if format is None else f"a text in the format {format} is needed"
        value = unparsed[int(position_of_row[row])]
        raise raw.make_value_error(block, key, row, f"is {raw.format_value(value)}", needed)
    # NumPy's own conversion takes six times as long.
    microseconds = np.array([0 if time is None else (time - EPOCH) // MICROSECOND for time in times], np.int64)
    return microseconds.view("datetime64[us]")[position_of_row], valid_mask


def _list_unparsed(block: Block, key: str, values: Any) -> tuple[list[Any], np.ndarray]:
    """Returns the values to parse, and the position of each row's value among them. A dictionary is parsed once."""
    if isinstance(values, Strings):
        strings, string_of_row = split_dictionary(values)
        texts = strings.tolist() or [""]  # the dictionary may be empty where all values are missing
        return texts, np.arange(values.rows) if string_of_row is None else string_of_row
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "UO":
        kind = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else "of different lengths"
        raise DataError(f"column `{key}` of {block.origin} is {kind}; {NEED_TIME}")
    return values.tolist(), np.arange(len(values))


def _parse(value: Any, format: str | None) -> datetime | None:
    """Parses a time and converts it to UTC. None: the value is no time."""
    if isinstance(value, date):
        value, format = value.isoformat(), None
    try:
        time = datetime.fromisoformat(value) if format is None else datetime.strptime(value, format)
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, TypeError, OverflowError):
        return None


def extract_part(times: np.ndarray, part: str) -> np.ndarray:
    """Extracts a part of times, datetime64 (rows,), as int64."""
    years, months, days = (times.astype(f"datetime64[{unit}]") for unit in "YMD")
    if part == "year":
        return years.astype(np.int64) + 1970
    if part == "month":
        return (months - years.astype(months.dtype)).astype(np.int64) + 1
    if part in ("day", "day_of_year"):
        start = months if part == "day" else years
        return (days - start.astype(days.dtype)).astype(np.int64) + 1
    if part == "weekday":
        return (days.astype(np.int64) + 3) % 7  # 1 January 1970 was a Thursday
    seconds = (times.astype("datetime64[s]") - days.astype("datetime64[s]")).astype(np.int64)
    return {"hour": seconds // 3600, "minute": seconds // 60 % 60, "second": seconds % 60}[part]
