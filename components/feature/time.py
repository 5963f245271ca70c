"""Parts of times, such as month, hour and elapsed days: as numbers, as points on a circle, or as categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base import raw
from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID, first_array
from components.feature.statistic import Moments, OffsetScale
from components.feature.text.string_ops import split_dictionary
from components.ragged import describe_values
from components.time_format import find_fault
from components.times import NEED_TIME, count_days, extract_part, parse_texts, parse_values
from components.types import (
    Block,
    Constants,
    DataError,
    FieldError,
    Remedy,
    Statistic,
    Strings,
    UserError,
    Values,
    bind_fields,
)

SET_FORMAT = Remedy("set `format` for other texts", "columns")
EPOCH_TIME = np.datetime64(0, "us")

CyclicPart: TypeAlias = Literal["month", "day", "day_of_year", "weekday", "hour", "minute", "second"]
Part: TypeAlias = Literal["elapsed", "year", "month", "day", "day_of_year", "weekday", "hour", "minute", "second"]

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
class Time:
    """Parts of a time as one float32 vector (D,), in the order of `parts`.

    Attributes:
        key: the raw column of timestamps or texts. A text with an offset from UTC, or Z, is converted to UTC.
        parts: the parts in order. `weekday` is 0 for Monday; `day_of_year` is 1 for 1 January; `elapsed` is the number
            of days since 1970-01-01, with their fraction, from which a network learns a trend or an age.
        encoding: `number`: the part itself. `cyclic`: sine and cosine of 2 pi (part - first) / period, so that hour 23
            is near hour 0. The periods are 12 months, 31 days of a month, 366 days of a year, 7, 24, 60 and 60.
            `year` and `elapsed` have no period and stay numbers.
        normalize: `z_score` gives each number that isn't on a circle mean 0 and (population) standard deviation 1 over
            the training split. It is computed in float64, and `elapsed` needs it: float32 would round it to minutes.
        format: the format of texts, as in Python's strptime. It is slower than ISO 8601. None: ISO 8601.
        missing: replaces each number of a row without a time, after `normalize`. None: a missing time is an error.
        indicate_missing: whether to append an element: 1 if the time is missing, else 0.
    """

    key: str
    parts: tuple[Part, ...]
    encoding: Literal["number", "cyclic"] = "number"
    normalize: Literal["z_score"] | None = None
    format: str | None = None
    missing: float | None = None
    indicate_missing: bool = False
    fills_gaps: bool = field(default=False, init=False)  # set by `filling_gaps`

    def __post_init__(self) -> None:
        _check_format(self.format)
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise FieldError("parts", f"must be one or more different parts, got {', '.join(self.parts) or 'none'}")
        numbers = self._number_parts
        if self.encoding == "cyclic" and numbers == self.parts:
            raise FieldError("encoding", f"cyclic needs a part with a period, one of {', '.join(CYCLES)}")
        if self.normalize is not None and not numbers:
            raise FieldError(
                "normalize", f"{self.normalize} does nothing, because all parts are on a circle; leave it out"
            )
        if self.normalize is None and "elapsed" in numbers:
            raise UserError("the part elapsed needs `normalize` (=z_score), because float32 would round it to minutes")
        if self.indicate_missing and self.missing is None:
            raise FieldError("indicate_missing", "needs `missing`, the replacement of missing times")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        numbers = _TimeNumbers(self.key, self._number_parts, self.format)
        return {} if self.normalize is None else {"moments": Moments(numbers)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Returns `offset` and `divisor` of the numbers on the host, float64; nothing without `normalize`."""
        if self.normalize is None:
            return Constants()
        moments: OffsetScale = results["moments"]
        if np.isnan(moments.offset).any():
            fault = f"column `{self.key}` has no times in the training split"
            raise DataError(fault, Remedy("leave it out", "leaving_out"), missing=self.key)
        return Constants(host={"offset": moments.offset, "divisor": np.where(moments.scale > 0, moments.scale, 1.0)})

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
        missing = 0.0 if self.fills_gaps else self.missing
        if missing is None and not valid_mask.all():
            raise raw.make_gap_error(block, self.key, int(np.argmin(valid_mask)), Remedy("set `missing`", "gaps"))
        numbers = _extract_numbers(times, self._number_parts)
        if self.normalize is not None:
            numbers = (numbers - constants.host["offset"]) / constants.host["divisor"]
        column_of_number = dict(zip(self._number_parts, numbers.T, strict=True))
        columns = [
            column_of_number[part][:, None]
            if part in column_of_number
            else _map_to_circle(extract_part(times, part), part)
            for part in self.parts
        ]
        values = np.concatenate(columns, axis=1, dtype=np.float64)
        if missing is not None:
            values = np.where(valid_mask[:, None], values, missing)
        if self.indicate_missing:
            values = np.concatenate([values, ~valid_mask[:, None]], axis=1, dtype=np.float64)
        return values

    @property
    def gap_value(self) -> str:
        return "the mean of the training split"

    def filling_gaps(self, constants: Constants) -> Time | None:
        """The same column with 0 for all parts of missing times, which is their mean, or the centre of their circle.

        Returns:
            The column. None: `missing` says what replaces missing times, or the parts have another mean than 0.
        """
        has_means = self.missing is None and (self.normalize is not None or not self._number_parts)
        return bind_fields(self, fills_gaps=True) if has_means else None

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B, D), float32."""
        return _get_values

    @property
    def _number_parts(self) -> tuple[Part, ...]:
        """The parts that aren't on a circle."""
        return tuple(part for part in self.parts if self.encoding == "number" or part not in CYCLES)


@dataclass(frozen=True)
class _TimeNumbers:
    """Reads parts of a time as numbers, for a statistic: float64 (rows, parts), NaN where the time is missing."""

    key: str
    parts: tuple[Part, ...]
    format: str | None

    def __call__(self, block: Block) -> np.ndarray:
        times, valid_mask = read_times(block, self.key, {}, self.format)
        return np.where(np.broadcast_to(valid_mask, times.shape)[:, None], _extract_numbers(times, self.parts), np.nan)


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


def _extract_numbers(times: np.ndarray, parts: tuple[Part, ...]) -> np.ndarray:
    """Parts of times, float64 (rows, parts)."""
    numbers = np.empty((len(times), len(parts)))
    for position, part in enumerate(parts):
        numbers[:, position] = count_days(times) if part == "elapsed" else extract_part(times, part)
    return numbers


def _map_to_circle(numbers: np.ndarray, part: str) -> np.ndarray:
    """Computes sine and cosine of a part, (rows, 2)."""
    first, period = CYCLES[part]
    angles = 2 * np.pi * np.arange(period) / period
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)[numbers - first]


def _check_format(format: str | None) -> None:
    if format is not None and (fault := find_fault(format)):
        raise UserError(f"`format` (={format}) {fault}")


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
    values: Any = first_array(parents[key]) if key in parents else block.columns.get(key)
    if values is None:
        raw.read_column(block, key)  # raises
    valid = np.True_ if key in parents else block.valid.get(key, np.True_)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "M":
        valid_mask = ~np.isnat(values) & valid
        return np.where(valid_mask, values, np.zeros(1, values.dtype)), valid_mask
    unparsed, row_positions = _list_unparsed(block, key, values)
    if isinstance(unparsed, Strings):
        parsed, is_given = parse_texts(unparsed, format), np.diff(unparsed.offsets) > 0
    else:
        parsed = parse_values(unparsed, format)
        is_given = np.array([value is not None and value != "" for value in unparsed], bool)
    times = np.where(np.isnat(parsed), EPOCH_TIME, parsed)[row_positions]
    valid_mask = is_given[row_positions] & valid
    invalid = (np.isnat(parsed) & is_given)[row_positions] & valid_mask
    if invalid.any():
        row = int(np.argmax(invalid))
        fault = f"is {raw.format_value(values.tolist()[row])}"
        if format is None:
            raise raw.make_value_error(block, key, row, f"{fault}; {NEED_TIME}", SET_FORMAT)
        raise raw.make_value_error(block, key, row, fault, f"a text in the format {format} is needed")
    return times, valid_mask


def _list_unparsed(block: Block, key: str, values: Any) -> tuple[Strings | list[Any], Any]:
    """Returns the values to parse, and the position of each row's value among them. A dictionary is parsed once."""
    if isinstance(values, Strings):
        strings, string_of_row = split_dictionary(values)
        if not len(strings.offsets) - 1 and values.rows:  # the dictionary may be empty where all values are missing
            strings = Strings.from_bytes([b""])
        return strings, slice(None) if string_of_row is None else string_of_row
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "UO":
        fault = f"column `{key}` of {block.origin} has {describe_values(values)}; {NEED_TIME}"
        is_whole = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu"
        declare = Remedy(f"set `types.{key}=timestamp` of the data", "columns", "for the times of a table")
        raise DataError(fault, *([declare] if is_whole else []))
    return values.tolist(), slice(None)
