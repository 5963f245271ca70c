"""Windows of time series."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from components.arrow import read_dictionary, to_arrow
from components.closest import suggest_name
from components.times import NEED_TIME, parse_texts
from components.types import (
    Block,
    DataError,
    FieldError,
    FoundExamples,
    Ragged,
    Range,
    RowNumbers,
    RowRange,
    ScaledErrors,
    Strings,
    TargetSpec,
    UserError,
    Values,
    as_index,
    check_ranges,
    row_dtype,
)

if TYPE_CHECKING:
    import jax

PIECE_ROWS = 1 << 17  # are searched at a time
RELATIVE_PRECISION = 1e-6  # of the steps between times that are floats, which rounding changes


class SeriesRows(NamedTuple):
    """The rows of a table of time series.

    Attributes:
        splits: the number of each row's split, int8 (rows,); -1: it is in no split.
        series: the number of each row's series, int32 (rows,). None: there is one series.
        times: the time of each row: datetime64, or numbers, (rows,). None: the order of the rows is that of time.
    """

    splits: np.ndarray
    series: np.ndarray | None
    times: np.ndarray | None

    def select(self, rows: np.ndarray) -> SeriesRows:
        """Some of the rows."""
        series, times = (None if each is None else each[rows] for each in (self.series, self.times))
        return SeriesRows(self.splits[rows], series, times)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of consecutive rows: `size` rows of inputs, `gap` rows that are left out, and `horizon` rows of targets.

    The inputs of an example are sequences (size, …), and its target is a vector (horizon,). A window is always
    complete, and lies inside one series and one split. It is known by the row of its last inputs.

    Attributes:
        size: the number of rows of inputs.
        horizon: the number of rows of targets, which are numbers. None: the target is that of the last row of inputs.
        shift: the number of rows between the starts of two windows.
        stride: the distance in rows between two rows of inputs. The rows between them are left out.
        gap: the number of rows between the last row of inputs and the first row of targets.
        by: a column of series, such as one of stores. None: all rows are one series.
        time: a column of dates, times or numbers, ascending in each series. A window that covers a gap, which is a step
            other than the most frequent one of its series, is left out. Months and years count as equal steps. None:
            the rows are in the order of time, without gaps.
        known_ahead: the feature columns whose values are known before those of the target, such as holidays and weather
            forecasts. Their inputs are `size` rows up to the last row of targets.
    """

    size: Annotated[int, Range(1)]
    horizon: Annotated[int, Range(1)] | None = None
    shift: Annotated[int, Range(1)] = 1
    stride: Annotated[int, Range(1)] = 1
    gap: Annotated[int, Range(0)] = 0
    by: str | None = None
    time: str | None = None
    known_ahead: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("gap", "known_ahead"):
            if (value := getattr(self, name)) and self.horizon is None:
                text = ", ".join(value) if isinstance(value, tuple) else value
                raise FieldError(name, f"{text} needs `horizon`, the number of rows of targets")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(name for name in (self.by, self.time) if name is not None)

    def input_steps(self, column: str) -> range:
        last = self._rows_ahead if column in self.known_ahead else 0
        return range(last + (1 - self.size) * self.stride, last + 1, self.stride)

    @property
    def target_steps(self) -> range | None:
        return None if self.horizon is None else range(self.gap + 1, self.gap + 1 + self.horizon)

    @property
    def rows_of_inputs(self) -> int:
        """The number of consecutive rows from the first to the last row of inputs."""
        return (self.size - 1) * self.stride + 1

    @property
    def rows(self) -> int:
        """The number of consecutive rows of a window, with its targets."""
        return self.rows_of_inputs + self._rows_ahead

    @property
    def _rows_ahead(self) -> int:
        """The number of rows from the last row of inputs to the last row of targets."""
        return 0 if self.horizon is None else self.gap + self.horizon

    def find(
        self,
        blocks: Iterable[Block],
        splits: np.ndarray,
        locate: Callable[[int], str],
        *,
        with_targets: bool = True,
    ) -> FoundExamples:
        """The windows. They start at each `shift`-th row of a stretch of consecutive rows of one series and split.

        Without targets, the last rows of the stretch are a window, and each `shift`-th one before it. It ends with the
        rows of targets, if columns are known there.
        """
        series, times = self._read(blocks)
        rows, order = SeriesRows(splits, series, times), _order_by_series(series)
        rows = rows if order is None else rows.select(order)
        gaps = None if times is None else self._count_gaps(rows, order, locate)
        first, lengths = _find_stretches(rows)
        known_by, left_out, longest = [], [], []
        for name in range(int(splits.max(initial=-1)) + 1):  # one after another, which needs less memory
            of_split = rows.splits[first] == name
            starts = self._find_starts(first[of_split], lengths[of_split], with_targets=with_targets)
            count, longest_of_split = len(starts), int(lengths[of_split].max(initial=0))
            after = self._count_covered(with_targets) - 1  # the last row of a window, counted from the first
            if gaps is not None and count and gaps[starts[0]] != gaps[starts[-1] + after]:
                starts = starts[gaps[as_index(starts + after)] == gaps[as_index(starts)]]
            left_out.append(count - len(starts))
            longest.append(longest_of_split)
            starts += self.rows_of_inputs - 1  # the last rows of inputs
            known_by.append(starts if order is None else np.sort(order[as_index(starts)]).astype(starts.dtype))
        count_of_series = 1 if series is None else int(series.max(initial=0)) + 1
        return FoundExamples(known_by, left_out, longest, order, _invert(order), count_of_series)

    def _count_covered(self, with_targets: bool) -> int:
        return self.rows if with_targets or self.known_ahead else self.rows_of_inputs

    def _find_starts(self, first: np.ndarray, lengths: np.ndarray, *, with_targets: bool) -> RowNumbers:
        """The first rows of the windows in stretches of consecutive rows, in ascending order."""
        covered, longest = self._count_covered(with_targets), int(lengths.max(initial=1))
        shift = min(self.shift, longest)  # a larger one skips the same windows
        counts = np.where(lengths < covered, 0, (lengths - covered) // shift + 1)
        offsets = np.zeros_like(lengths) if with_targets else (lengths - covered) % shift
        if len(first) == 1:
            start = int(first[0] + offsets[0])
            return RowRange(range(start, start + int(counts[0]) * shift, shift))
        dtype = row_dtype(int((first + lengths).max(initial=0)))
        starts = np.arange(counts.sum(), dtype=dtype)
        starts *= shift
        starts += np.repeat((first + offsets - (np.cumsum(counts) - counts) * shift).astype(dtype), counts)
        return starts

    def _read(self, blocks: Iterable[Block]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The number of each row's series, and its time, as `SeriesRows` has them."""
        numbers: dict[Any, int] = {}
        series, times = [], []
        for block in blocks if self.keys else ():
            if self.by is not None:
                series.append(_number_series(block, self.by, numbers))
            if self.time is not None:
                times.append(_read_times(block, self.time))
        return (np.concatenate(series) if series else None), (np.concatenate(times) if times else None)

    def _count_gaps(self, rows: SeriesRows, order: np.ndarray | None, locate: Callable[[int], str]) -> np.ndarray:
        """The number of gaps in time up to each row, int32 (rows,), in the order of the series."""
        assert rows.times is not None
        times = _as_numbers(rows.times)
        is_next = np.ones(len(times), bool)  # the row before is of the same series
        is_next[:1] = False
        if rows.series is not None:
            is_next[1:] = rows.series[1:] == rows.series[:-1]
        steps = np.zeros_like(times)
        steps[1:] = times[1:] - times[:-1]
        if (wrong := is_next & ~(steps > 0)).any() or _find_missing(rows.times).any():
            self._raise_order_error(rows, wrong, lambda place: locate(place if order is None else int(order[place])))
        steps = _round_steps(steps, is_next)
        return np.cumsum(is_next & (steps != _find_usual_steps(steps, is_next, rows.series)), dtype=np.int32)

    def _raise_order_error(self, rows: SeriesRows, wrong: np.ndarray, locate: Callable[[int], str]) -> None:
        """Raises DataError for the first row without a time, or whose time is not after that of the row before."""
        assert rows.times is not None
        missing = _find_missing(rows.times)
        place = int(np.argmax(missing if missing.any() else wrong))
        location = f"{locate(place)}: column `{self.time}`"
        if missing.any():
            raise DataError(f"{location} has no time; {NEED_TIME}, or a number", "correct it", "remove the row")
        earlier, later = (_format_time(rows.times[number]) for number in (place - 1, place))
        of_series = "" if self.by is None else f" of the same `{self.by}`"
        raise DataError(
            f"{location} is {later}, after {earlier} in the row{of_series} before. Times must "
            "ascend in each series, and differ",
            "sort the rows",
            *([] if self.by else ["set `by` to the column of series, if there are several"]),
        )

    def explain_none(self, found: FoundExamples, number: int, split: str | None, *, with_targets: bool = True) -> str:
        place = "the new rows" if split is None else f"the {split} split"
        if found.left_out[number]:
            return (
                f"all {found.left_out[number]:,} windows of {place} cover a gap in `{self.time}`: a step other than "
                "the most frequent one of the series. Set `time=null` to allow gaps, choose smaller windows, or fill "
                "in the rows that are missing."
            )
        parts = [f"size={self.size}", f"stride={self.stride}" if self.stride > 1 else ""]
        rows, of_series = self._count_covered(with_targets), "" if self.by is None else " of a series"
        if rows > self.rows_of_inputs:
            parts += [f"gap={self.gap}" if self.gap else "", f"horizon={self.horizon}"]
        fault = (
            f"{place} {'have' if split is None else 'has'} no window: a window takes {rows:,} consecutive "
            f"rows{of_series} ({', '.join(filter(None, parts))}), and there are at most {found.longest[number]:,}"
        )
        if split is None:
            if self.known_ahead:
                return f"{fault}. Give the rows of the horizon, too, which have the values of `known_ahead`."
            return f"{fault}. Give as many rows before those that are to be predicted."
        held_out = f"`split_by={self.time}`" if self.time else "`seed=null`"
        has_enough = found.series >= len(found.rows)  # each split needs a series
        whole = f", or `group={self.by}` of the data, to hold out whole series" if self.by and has_enough else ""
        return (
            f"{fault}. Choose smaller windows or more rows. Rows that are held out at random lie apart: set {held_out} "
            f"of the data, to hold out the last ones{whole}."
        )

    def describe_left_out(self, count: int, split: str) -> str:
        windows, verbs = ("window", ("covers", "is")) if count == 1 else ("windows", ("cover", "are"))
        return f"{count:,} {windows} of {split} {verbs[0]} a gap in `{self.time}` and {verbs[1]} left out"

    def bind(self, target: TargetSpec) -> TargetSpec:
        """The target of a window: with a horizon, the numbers of its rows one after another, (horizon * outputs,)."""
        if self.horizon is None:
            return target
        if target.kind != "real" or target.is_image:
            what = "an image" if target.is_image else f"one of {len(target.classes or ())} classes"
            raise FieldError(
                "horizon",
                f"{self.horizon} needs a target of numbers, and the target is {what}. Choose a target of "
                "numbers, or set `horizon=null`: then the last row of a window has the target.",
            )
        scaled, steps = target.scaled_difference, self.horizon
        if scaled is not None:
            exponent = None if scaled.exponent is None else np.tile(scaled.exponent, steps)
            difference = functools.partial(_apply_to_steps, scaled.difference, target.outputs)
            scaled = ScaledErrors(difference, exponent, scaled.factor)
        return replace(
            target,
            shape=(steps * target.outputs,),
            decode=functools.partial(_apply_to_steps, target.decode, target.outputs),
            difference=target.difference and functools.partial(_apply_to_steps, target.difference, target.outputs),
            scaled_difference=scaled,
            positions=steps,
            encode=target.encode and functools.partial(_apply_to_steps, target.encode, target.outputs),
        )

    def join_targets(self, targets: jax.Array) -> jax.Array:
        """The numbers of the rows one after another, (B, horizon * outputs)."""
        return targets.reshape(len(targets), -1)


def _apply_to_steps(function: Callable[..., Any], outputs: int, *arrays: Any) -> Any:
    """Applies a function of arrays (B, outputs) to arrays (B, steps * outputs), step by step."""
    shape = arrays[0].shape
    result = function(*(array.reshape(-1, outputs) for array in arrays))
    return result.reshape(shape)


def _read_column(block: Block, option: str, name: str) -> np.ndarray | Strings:
    """A raw column of single values. Raises UserError if there is none."""
    if name not in block.columns:
        hint = suggest_name(name, block.columns, title="Columns")
        raise UserError(f"`{option}` (={name}): there is no column `{name}` in {block.origin}. {hint}")
    values: Values = block.columns[name]
    if isinstance(values, Ragged) or (isinstance(values, np.ndarray) and values.ndim > 1):
        raise UserError(f"`{option}` (={name}) needs a column of single values, and this one has arrays or lists.")
    return values


def _number_series(block: Block, name: str, numbers: dict[Any, int]) -> np.ndarray:
    """The number of each row's series, int32 (rows,). New series get the next `numbers`."""
    values, valid = _read_column(block, "by", name), block.valid.get(name)
    if valid is not None and not valid.all():
        fault = f"{block.locate(int(np.argmin(valid)))}: column `{name}` has no value, and `by` needs one in each row"
        raise DataError(fault, "fill it in", "remove the row")
    if isinstance(values, Strings) or values.dtype.kind in "OU":
        distinct, ids = read_dictionary(to_arrow(name, values))
    else:
        found, ids = np.unique(values, return_inverse=True)
        distinct = found.tolist()
    return np.array([numbers.setdefault(value, len(numbers)) for value in distinct], np.int32)[ids]


def _read_times(block: Block, name: str) -> np.ndarray:
    """The time of each row, datetime64 or numbers, (rows,); NaT or NaN if it is missing."""
    values, valid = _read_column(block, "time", name), block.valid.get(name)
    if isinstance(values, Strings):
        times = parse_texts(values._replace(indices=None))
        times = times if values.indices is None else times[values.indices]
    else:
        times = values
    if times.dtype.kind not in "Miuf":
        raise DataError(f"{block.locate(0)}: column `{name}` has neither a time nor a number; {NEED_TIME}")
    if valid is None or valid.all():
        return times
    times = times if times.dtype.kind in "Mf" else times.astype(np.float64)
    return np.where(valid, times, times.dtype.type("NaT" if times.dtype.kind == "M" else np.nan))


def _order_by_series(series: np.ndarray | None) -> np.ndarray | None:
    """The rows ordered by series, each in the order of the data. None: the rows of each series follow one another."""
    if series is None or not len(series):
        return None
    changes = np.count_nonzero(series[1:] != series[:-1])
    if changes + 1 == np.count_nonzero(np.bincount(series)):
        return None
    return np.argsort(series, kind="stable")


def _invert(order: np.ndarray | None) -> np.ndarray | None:
    """The position of each row in an order of all rows. None: the order is that of the rows."""
    if order is None:
        return None
    positions = np.empty(len(order), np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return positions


def _find_stretches(rows: SeriesRows) -> tuple[np.ndarray, np.ndarray]:
    """The first rows and the lengths of the stretches of consecutive rows of one series and one split."""
    changes = [np.zeros(min(len(rows.splits), 1), np.int64)]
    for start in range(1, len(rows.splits), PIECE_ROWS):  # a mask of all rows needs memory
        piece, before = slice(start, start + PIECE_ROWS), slice(start - 1, start - 1 + PIECE_ROWS)
        is_first = rows.splits[piece] != rows.splits[before][: len(rows.splits) - start]
        if rows.series is not None:
            is_first |= rows.series[piece] != rows.series[before][: len(rows.splits) - start]
        changes.append(np.flatnonzero(is_first) + start)
    first = np.concatenate(changes)
    return first, np.diff(first, append=len(rows.splits))


def _as_numbers(times: np.ndarray) -> np.ndarray:
    """Times as int64 or float64. Times that are all at the same moment of their months are counted in months."""
    if times.dtype.kind != "M":
        return times.astype(np.int64 if times.dtype.kind in "iu" else np.float64)
    for later in (np.timedelta64(0, "D"), np.timedelta64(1, "D")):  # the last days of months are those before the first
        moved = times + later
        months = moved.astype("datetime64[M]")
        if len(times) and ((moved - months) == (moved[0] - months[0])).all():
            return months.astype(np.int64)
    return times.astype(np.int64)


def _find_missing(times: np.ndarray) -> np.ndarray:
    return times != times  # NaN and NaT


def _round_steps(steps: np.ndarray, is_next: np.ndarray) -> np.ndarray:
    """Steps as int64. Those of floats are rounded, because equal steps differ in their last digits."""
    if steps.dtype.kind != "f":
        return steps
    unit = np.median(steps[is_next]) * RELATIVE_PRECISION if is_next.any() else 1.0
    return np.rint(np.minimum(steps / unit, 2.0**62)).astype(np.int64)


def _find_usual_steps(steps: np.ndarray, is_next: np.ndarray, series: np.ndarray | None) -> Any:
    """The most frequent step of the series of each row, or else the smallest; one number if it is always the same."""
    found = steps[is_next]
    if not len(found) or (found == found[0]).all():
        return found[0] if len(found) else 0
    if series is None:
        values, counts = np.unique(found, return_counts=True)
        return values[counts.argmax()]
    owners = series[is_next]
    order = np.lexsort((found, owners))
    found, owners = found[order], owners[order]
    first = np.flatnonzero(np.append(True, (found[1:] != found[:-1]) | (owners[1:] != owners[:-1])))
    counts = np.diff(first, append=len(found))
    best = np.lexsort((found[first], -counts, owners[first]))  # the best step of each series comes first
    owners, found = owners[first][best], found[first][best]
    is_best = np.append(True, owners[1:] != owners[:-1])
    usual = np.zeros(int(series.max()) + 1, np.int64)
    usual[owners[is_best]] = found[is_best]
    return usual[series]


def _format_time(time: Any) -> str:
    return str(time.astype("M8[s]")) if isinstance(time, np.datetime64) else str(time)
