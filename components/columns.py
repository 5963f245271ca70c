"""Columns given from Python: arrays, lists, data frames of pandas and Polars, Arrow's tables; a gap is one as in files.

Neither pandas, Polars nor Arrow is imported for what isn't theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from components import arrow
from components.types import DataError, Ragged, Strings, Values, row_count

if TYPE_CHECKING:
    import pyarrow

Frame: TypeAlias = Any  # what has columns by name: `frame.columns` or Arrow's `column_names`, and `frame[name]`
ARROW = ("__arrow_c_array__", "__arrow_c_stream__", "__arrow_array__")  # methods of what Arrow can take over
MARKS = ("NAType", "NaTType")  # the types of pandas's pd.NA and pd.NaT


class Columns(NamedTuple):
    """Columns of as many rows each; `valid` marks the rows where one has no gap."""

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]


def is_table(given: object) -> bool:
    """Whether something has columns by name."""
    named = hasattr(given, "columns") or hasattr(given, "column_names")
    return isinstance(given, Mapping) or (named and hasattr(given, "__getitem__"))


def as_columns(given: Mapping[str, Any] | Frame, what: str) -> Columns:
    """The columns of a mapping or of a data frame; raises DataError where one is none, or has other rows than another.

    `what` names them for messages.
    """
    if not isinstance(given, Mapping):
        given = _by_name(given, what)
    found = {name: as_column(name, column) for name, column in given.items()}
    counts = {name: row_count(values) for name, (values, _) in found.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{what} must have columns with as many rows each, not {counts}")
    valid = {name: mask for name, (_, mask) in found.items() if mask is not None}
    return Columns({name: values for name, (values, _) in found.items()}, valid)


def as_column(name: str, given: Any) -> tuple[Values, np.ndarray | None]:
    """A column, and which of its rows have a value (None: all).

    It may be `Strings`, `Ragged`, a column of pandas, Polars or Arrow, or anything that NumPy makes an array of. What
    NumPy would change stays as it was given, in an array of objects, with None for gaps. Raises DataError where it has
    no rows, or values that nothing here can take.
    """
    if isinstance(given, Ragged | Strings):
        return given, None
    if is_table(given):
        raise DataError(f"column `{name}` is a table ({type(given).__name__}), not a column")
    of_pandas = type(given).__module__.partition(".")[0] == "pandas"
    if of_pandas or any(hasattr(given, method) for method in ARROW):
        return _of_arrow(name, _arrow(name, given))
    if isinstance(given, np.ma.MaskedArray):
        given, masked = given.data, np.ma.getmaskarray(given)
        if masked.ndim != 1 and masked.any():
            raise DataError(f"column `{name}` is masked within its rows; a mask can leave out whole rows only")
        return _array(name, given), (~masked if masked.any() else None)
    return _array(name, given), None


def _by_name(frame: Frame, what: str) -> dict[str, Any]:
    names = list(frame.column_names if hasattr(frame, "column_names") else frame.columns)
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts):
        raise DataError(f"{what} have two columns {Counter(texts).most_common(1)[0][0]}; rename one")
    return {text: frame[name] for text, name in zip(texts, names, strict=True)}


def _array(name: str, given: Any) -> np.ndarray:
    listed = isinstance(given, list | tuple)
    # NumPy would cut NULs off text, and give each as much memory as the longest.
    text = listed and len(given) > 0 and isinstance(given[0], str | bytes)
    try:
        array = np.array(given, object) if text else np.asarray(given)
    except (ValueError, TypeError) as error:
        raise DataError(f"column `{name}` is no array; `Ragged` holds rows of different lengths") from error
    if array.ndim == 0:
        raise DataError(f"column `{name}` is {given!r}, not an array of rows")
    rounded = listed and array.dtype == np.float64 and len(array) > 0 and all(isinstance(one, int) for one in given)
    if rounded or (listed and array.dtype.kind in "US"):
        array = np.array(given, object)
    return _objects(name, array) if array.dtype.hasobject else array


def _objects(name: str, array: np.ndarray) -> np.ndarray:
    """Python's objects with None for every mark of a gap, and a float for a decimal; times as NumPy has them."""
    values = [_plain(value) for value in array.flat]
    if any(isinstance(value, date) for value in values) and array.ndim == 1:
        times, _ = _of_arrow(name, _arrow(name, values))
        assert isinstance(times, np.ndarray)
        return times
    if all(before is after for before, after in zip(array.flat, values, strict=True)):
        return array
    plain = np.empty(array.shape, object)
    flat = plain.reshape(-1)
    for place, value in enumerate(values):
        flat[place] = value
    return plain


def _plain(value: Any) -> Any:
    if type(value).__name__ in MARKS or (isinstance(value, Real | np.datetime64) and value != value):
        return None
    if isinstance(value, Decimal):
        return None if value.is_nan() else float(value)
    return value


def _arrow(name: str, given: Any) -> pyarrow.ChunkedArray:
    import pyarrow

    try:
        if isinstance(given, pyarrow.ChunkedArray):
            return given
        if hasattr(given, "__arrow_c_stream__"):
            return pyarrow.chunked_array(given)
        array = pyarrow.array(given)  # knows pandas: its NaN is a gap
        return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"column `{name}` is no column of one kind: {str(error).splitlines()[0]}") from error


def _of_arrow(name: str, column: pyarrow.ChunkedArray) -> tuple[Values, np.ndarray | None]:
    import pyarrow

    types, kind = pyarrow.types, column.type
    if types.is_dictionary(kind):
        return _of_arrow(name, column.cast(kind.value_type))
    valid = arrow.valid(column)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return arrow.strings(column.cast(pyarrow.large_string()).fill_null(""), valid), valid
    if types.is_binary(kind) or types.is_large_binary(kind):
        return np.array([*column.to_pylist(), None], object)[:-1], valid
    if types.is_boolean(kind):
        return arrow.numbers(column.cast(pyarrow.uint8()), "?", valid, False), valid
    if types.is_integer(kind):
        return arrow.numbers(column, str(kind), valid, 0), valid
    if types.is_floating(kind) or types.is_decimal(kind):
        column = column.cast(pyarrow.float64()) if types.is_decimal(kind) else column
        return arrow.numbers(column, f"f{column.type.bit_width // 8}", valid, np.nan), valid
    if types.is_temporal(kind) and not (types.is_time(kind) or types.is_duration(kind)):
        return _times(column, valid), valid
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(name, column), valid
    raise DataError(f"column `{name}` is of Arrow's type {kind}, which no column can take")


def _times(column: pyarrow.ChunkedArray, valid: np.ndarray | None) -> np.ndarray:
    """Days or instants; those with a time zone are in UTC, as a text with an offset is."""
    import pyarrow

    unit = "D" if pyarrow.types.is_date(column.type) else column.type.unit
    if unit == "D":
        column = column.cast(pyarrow.date32()).cast(pyarrow.int32()).cast(pyarrow.int64())
    return arrow.numbers(column, f"M8[{unit}]", valid, np.array("NaT", f"M8[{unit}]"))


def _lists(name: str, column: pyarrow.ChunkedArray) -> Ragged | np.ndarray:
    """Rows of any length; an array with an axis more where the type says that all are as long."""
    import pyarrow
    import pyarrow.compute as compute

    values, valid = _of_arrow(name, compute.list_flatten(column))
    if valid is not None:
        raise DataError(f"column `{name}` has gaps within its lists; leave them out")
    if pyarrow.types.is_fixed_size_list(column.type) and not column.null_count and isinstance(values, np.ndarray):
        return values.reshape(len(column), column.type.list_size, *values.shape[1:])
    lengths = compute.list_value_length(column).fill_null(0).to_numpy()
    return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]))
