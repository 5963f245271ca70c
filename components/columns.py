"""Columns given from Python: arrays, lists, data frames of pandas and Polars, tables of Arrow.

pandas, Polars and Arrow are imported only for their own objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from components.arrow import convert_column
from components.types import DataError, Ragged, Strings, Values, row_count

if TYPE_CHECKING:
    import pyarrow

Frame: TypeAlias = Any  # has `columns` or Arrow's `column_names`, and `frame[name]`
ARROW = ("__arrow_c_array__", "__arrow_c_stream__", "__arrow_array__")  # methods of objects that Arrow can take
MISSING = ("NAType", "NaTType")  # the types of pandas's pd.NA and pd.NaT


class Columns(NamedTuple):
    """Columns with the same number of rows.

    Attributes:
        values: the values by column.
        valid: (rows,), bool by column: False where a value is missing. A column without a mask has all its values.
    """

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]


def is_table(given: object) -> bool:
    """Whether an object has columns by name."""
    has_names = hasattr(given, "columns") or hasattr(given, "column_names")
    return isinstance(given, Mapping) or (has_names and hasattr(given, "__getitem__"))


def as_columns(given: Mapping[str, Any] | Frame, what: str) -> Columns:
    """The columns of a mapping or of a data frame.

    Args:
        given: the columns.
        what: their name in messages.

    Raises:
        DataError: one of them is no column, or they differ in their number of rows.
    """
    if not isinstance(given, Mapping):
        given = _columns_by_name(given, what)
    found = {name: as_column(name, column) for name, column in given.items()}
    counts = {name: row_count(values) for name, (values, _) in found.items()}
    if len(set(counts.values())) > 1:
        rows = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise DataError(f"{what} must have columns with the same number of rows, got {rows}")
    valid = {name: mask for name, (_, mask) in found.items() if mask is not None}
    return Columns({name: values for name, (values, _) in found.items()}, valid)


def as_column(name: str, given: Any) -> tuple[Values, np.ndarray | None]:
    """A column's values, and which rows have one, (rows,), bool; None: all.

    Values that NumPy would change are kept in an array of objects, with None where one is missing.

    Args:
        name: the column's name in messages.
        given: `Strings`, `Ragged`, a column of pandas, Polars or Arrow, or anything that NumPy makes an array of.

    Raises:
        DataError: it has no rows, or values of a type that no column can take.
    """
    if isinstance(given, Ragged | Strings):
        return given, None
    if is_table(given):
        raise DataError(f"column `{name}` is a table ({type(given).__name__}), not a column")
    of_pandas = type(given).__module__.partition(".")[0] == "pandas"
    if of_pandas or any(hasattr(given, method) for method in ARROW):
        return convert_column(name, _to_arrow(name, given))
    if isinstance(given, np.ma.MaskedArray):
        given, masked = given.data, np.ma.getmaskarray(given)
        if masked.ndim != 1 and masked.any():
            raise DataError(f"column `{name}` is masked within its rows; a mask can leave out whole rows only")
        return _to_array(name, given), (~masked if masked.any() else None)
    return _to_array(name, given), None


def _columns_by_name(frame: Frame, what: str) -> dict[str, Any]:
    names = list(frame.column_names if hasattr(frame, "column_names") else frame.columns)
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts):
        raise DataError(f"{what} have two columns {Counter(texts).most_common(1)[0][0]}; rename one")
    return {text: frame[name] for text, name in zip(texts, names, strict=True)}


def _to_array(name: str, given: Any) -> np.ndarray:
    is_list = isinstance(given, list | tuple)
    # NumPy would drop trailing NULs of texts, and allocate the length of the longest for each.
    is_text = is_list and len(given) > 0 and isinstance(given[0], str | bytes)
    try:
        array = np.array(given, object) if is_text else np.asarray(given)
    except (ValueError, TypeError) as error:
        raise DataError(f"column `{name}` is no array; `Ragged` holds rows of different lengths") from error
    if array.ndim == 0:
        raise DataError(f"column `{name}` is {given!r}, not an array of rows")
    rounded = is_list and array.dtype == np.float64 and len(array) > 0 and all(isinstance(one, int) for one in given)
    if rounded or (is_list and array.dtype.kind in "US"):
        array = np.array(given, object)
    return _convert_objects(name, array) if array.dtype.hasobject else array


def _convert_objects(name: str, array: np.ndarray) -> np.ndarray:
    """Python objects with None for each missing value and a float for each decimal; times as datetime64."""
    values = [_convert_object(value) for value in array.flat]
    if any(isinstance(value, date) for value in values) and array.ndim == 1:
        times, _ = convert_column(name, _to_arrow(name, values))
        assert isinstance(times, np.ndarray)
        return times
    if all(before is after for before, after in zip(array.flat, values, strict=True)):
        return array
    converted = np.empty(array.shape, object)
    flat = converted.reshape(-1)
    for place, value in enumerate(values):
        flat[place] = value
    return converted


def _convert_object(value: Any) -> Any:
    if type(value).__name__ in MISSING or (isinstance(value, Real | np.datetime64) and value != value):
        return None
    if isinstance(value, Decimal):
        return None if value.is_nan() else float(value)
    return value


def _to_arrow(name: str, given: Any) -> pyarrow.ChunkedArray:
    import pyarrow

    try:
        if isinstance(given, pyarrow.ChunkedArray):
            return given
        if hasattr(given, "__arrow_c_stream__"):
            return pyarrow.chunked_array(given)
        array = pyarrow.array(given)  # of pandas it takes NaN for a missing value
        return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"column `{name}` is no column of one type: {str(error).splitlines()[0]}") from error
