"""Conversion of columns from Python: arrays, lists, data frames of pandas and Polars, tables of Arrow.

Also the options with which a table is read, and how those of the user are merged with those that another table shows.

pandas, Polars and Arrow are imported only if the data are their objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from numbers import Integral, Real
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.arrow import check_years, convert_column, to_arrow
from components.hugging_face import SPLIT as SPLIT
from components.hugging_face import convert_data_set, is_data_set
from components.hugging_face import has_splits as has_splits
from components.image_files import ImageError, is_pillow, read_upright
from components.ragged import SAME_DEPTH, find_mixed_depths
from components.types import DataError, Ragged, Strings, Values, row_count

Frame: TypeAlias = Any  # has `columns` or Arrow's `column_names`, and `frame[name]`
ARROW_METHODS = ("__arrow_c_array__", "__arrow_c_stream__", "__arrow_array__")  # of objects that Arrow can convert
FRAME_LIBRARIES = ("pandas", "polars", "pyarrow")  # whose tables and columns aren't read as streams
PANDAS_MISSING_TYPES = ("NAType", "NaTType")  # of pd.NA and pd.NaT
ALL = ""  # the key of all columns in `dates`
ZONES = ("utc", "no_zone")  # the values of `dates` about the zone; the others are orders, formats and units of numbers
READING_OPTIONS = ("types", "dates", "marks", "nulls", "decimal", "thousands")  # of a source that reads texts


class Columns(NamedTuple):
    """Columns with the same number of rows.

    Attributes:
        values: the values by column name.
        valid: masks (rows,), bool, by column name: False where a value is missing. A column without a mask has no
            missing values.
    """

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]


def is_table(data: object) -> bool:
    """Whether an object has named columns: it is a mapping, a data frame, or a stream of Arrow, as DuckDB has them."""
    return _has_names(data) or _is_stream(data)


def as_table(data: Any) -> Any:
    """The same data, or the table of a stream of Arrow, which may be read only once.

    Raises:
        DataError: the stream can't be read, or has no columns.
    """
    if not _is_stream(data):
        return data
    import pyarrow

    kind = type(data).__name__
    try:
        return pyarrow.RecordBatchReader.from_stream(data).read_all()
    except pyarrow.ArrowException as error:
        fault = str(error).splitlines()[0]
        remedy = "Pass a table: an object whose stream has named columns"
        raise DataError(
            f"the data, of the type {kind}, can't be read by Arrow's interface: {fault}. {remedy}."
        ) from error


def _has_names(data: object) -> bool:
    has_names = hasattr(data, "columns") or hasattr(data, "column_names")
    return isinstance(data, Mapping) or (has_names and hasattr(data, "__getitem__"))


def _is_stream(data: object) -> bool:
    """Whether an object offers the rows of a table by Arrow's PyCapsule interface only. Columns do that, too."""
    if isinstance(data, Mapping | Ragged | Strings) or not hasattr(data, "__arrow_c_stream__"):
        return False
    library = type(data).__module__.partition(".")[0]
    return library not in FRAME_LIBRARIES or (library == "pyarrow" and hasattr(data, "read_all"))


def as_columns(
    table: Mapping[str, Any] | Frame, origin: str, images: Collection[str] = (), *, mixed_zones: bool = False
) -> Columns:
    """Converts the columns of a mapping or of a data frame.

    Args:
        table: the columns.
        origin: the name of the table for messages, a plural such as "the rows".
        images: the names of the columns whose images of Pillow are kept, as arrays of Python objects.
        mixed_zones: whether a column may have times with a time zone, which become UTC, and others without one.

    Raises:
        DataError: a column can't be converted, or the columns have different numbers of rows.
    """
    raw = columns_by_name(table, origin)
    columns = {name: as_column(name, column, keep_images=name in images) for name, column in raw.items()}
    for name, (values, _) in columns.items():
        if not mixed_zones and isinstance(values, np.ndarray) and values.dtype.kind == "M" and values.ndim == 1:
            _check_zones(name, raw[name], values)
    counts = {name: row_count(values) for name, (values, _) in columns.items()}
    if len(set(counts.values())) > 1:
        rows = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise DataError(f"{origin} must have columns with the same number of rows, got {rows}")
    valid = {name: mask for name, (_, mask) in columns.items() if mask is not None}
    return Columns({name: values for name, (values, _) in columns.items()}, valid)


def as_column(name: str, column: Any, *, keep_images: bool = False) -> tuple[Values, np.ndarray | None]:
    """Converts a column.

    Args:
        name: the column's name for messages.
        column: `Strings`, `Ragged`, a column of pandas, Polars or Arrow, or anything that NumPy converts to an array.
        keep_images: whether images of Pillow are kept, in an array of Python objects. Otherwise they become arrays of
            the numbers of their mode, turned as EXIF says.

    Returns:
        The values, and a mask (rows,), bool: False where a value is missing. None: the column has no mask. An array of
        Python objects has None for missing values.

    Raises:
        DataError: the column isn't a sequence of rows, or the type of its values isn't supported.
    """
    if isinstance(column, Ragged | Strings):
        return column, None
    if _has_names(column):
        raise DataError(f"column `{name}` is a table ({type(column).__name__}), not a column")
    is_pandas = type(column).__module__.partition(".")[0] == "pandas"
    column = _convert_pandas(column) if is_pandas else column
    is_pandas = is_pandas and not isinstance(column, np.ndarray)
    if is_pandas and column.dtype == object and any(isinstance(value, date) for value in column):
        return _to_array(name, column.to_numpy()), None
    if (is_pandas and column.dtype == object) or isinstance(column, list | tuple):
        values = list(column)
        if any(map(is_pillow, values)):
            return (_as_objects(values) if keep_images else _read_images(name, values)), None
    if is_pandas or any(hasattr(column, method) for method in ARROW_METHODS):
        return convert_column(name, to_arrow(name, column))
    if isinstance(column, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(column)
        if masked.ndim != 1 and masked.any():
            raise DataError(f"column `{name}` is masked within its rows; only whole rows can be masked")
        return _to_array(name, column.data), (~masked if masked.any() else None)
    if _holds_lists(column):
        return convert_column(name, to_arrow(name, column))
    return _to_array(name, column), None


def _holds_lists(column: Any) -> bool:
    """Whether the rows of a column are lists that no array can hold, because some lists have other lengths."""
    if not _are_lists(column):
        return False
    try:
        np.asarray(column)
    except ValueError:
        return True
    return False


def keep_lists(name: str, column: Any) -> Any:
    """A column of Python's lists as one of Arrow, so that they are lists also if an array could hold them."""
    return to_arrow(name, column) if _are_lists(column) else column


def _are_lists(column: Any) -> bool:
    """Whether the rows of a column are Python's lists, or missing."""
    return isinstance(column, list | tuple) and all(isinstance(row, list | tuple | NoneType) for row in column)


def columns_by_name(table: Mapping[str, Any] | Frame, origin: str) -> dict[str, Any]:
    """The columns of a mapping or of a data frame, as they are. The arguments are those of `as_columns`.

    The levels of pandas' index that have names are columns, as they are in files that pandas writes.
    """
    table = convert_data_set(table) if is_data_set(table) else as_table(table)
    if isinstance(table, Mapping):
        labels = list(table)
    else:
        labels = list(table.column_names if hasattr(table, "column_names") else table.columns)
        if (depth := getattr(getattr(table, "columns", None), "nlevels", 1)) > 1:
            first = labels[0] if labels else ()
            raise DataError(
                f"{origin} have names of columns with {depth} levels, such as {first}. Join them: "
                "`frame.columns = ['_'.join(map(str, name)) for name in frame.columns]`"
            )
    levels = [(name, level) for level, name in list_index_levels(table) if name is not None]
    names = [str(label) for label in (*labels, *(name for name, _ in levels))]
    if len(set(names)) < len(names):
        raise DataError(f"{origin} have two columns {Counter(names).most_common(1)[0][0]}; rename one")
    columns = [*(table[label] for label in labels), *(table.index.get_level_values(level) for _, level in levels)]
    return dict(zip(names, columns, strict=True))


def list_index_levels(table: Any) -> list[tuple[int, Any]]:
    """The levels of the index of a data frame of pandas, each with its name. None: it has none of its own.

    An index that counts the rows has no level, and neither has another table.
    """
    index: Any = getattr(table, "index", None)
    if not hasattr(index, "nlevels") or hasattr(index, "step"):  # of `RangeIndex`
        return []
    return [(level, None if name in table.columns else name) for level, name in enumerate(index.names)]


def have_zone(name: str, column: Any, rows: int) -> np.ndarray:
    """Which rows of a column of times have a time zone, (rows,), bool. `column` is as it was passed."""
    if isinstance(column, list | tuple) or str(getattr(column, "dtype", "")) == "object":
        return np.array([getattr(value, "tzinfo", None) is not None for value in column], bool)
    kind = None if isinstance(column, np.ndarray) else to_arrow(name, column).type
    return np.full(rows, getattr(kind, "tz", None) is not None)


def _check_zones(name: str, column: Any, values: np.ndarray) -> None:
    """Raises DataError if some times of a column have a time zone and others don't."""
    is_known = ~np.isnat(values)
    zoned = have_zone(name, column, len(values)) & is_known
    if zoned.any() and (plain := is_known & ~zoned).any():
        rows = f"row {plain.argmax()} has none, row {zoned.argmax()} has one"
        raise DataError(f"column `{name}` has times with and without a time zone: {rows}. Convert all of them to UTC")


def merge_options(inferred: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a source, and what it inferred from its rows, so that other rows are read like these."""
    merged = {**inferred, **data}
    for option, by_column in inferred.items():
        if not isinstance(by_column, dict):
            continue
        own = data.get(option)
        if option == "dates":
            own = {ALL: own} if isinstance(own, str) else own
            if own and ALL in own:
                by_column = {name: dates for name, dates in by_column.items() if not _is_replaced(dates, own[ALL])}
        if isinstance(own, dict):
            merged[option] = {**by_column, **own}
    return merged


def _is_replaced(dates: str, by: str) -> bool:
    """Whether a column's `dates` don't hold beside those of all columns, since both tell the order, or the zone."""
    return dates in ZONES if by in ZONES else dates.endswith("_first") or "%" in dates


def _convert_pandas(column: Any) -> Any:
    """Converts a column of pandas of a type that Arrow doesn't support."""
    kind = str(column.dtype)
    if kind.startswith("Sparse"):
        return getattr(column, "sparse", column).to_dense()
    if kind.startswith("complex") or (kind == "object" and column.dtype != object):  # the latter is `pandas.array`
        return column.to_numpy()
    categories: Any = getattr(column.dtype, "categories", None)
    if str(getattr(categories, "dtype", "")).startswith(("interval", "period")):
        return getattr(column, "cat", column).rename_categories(categories.astype(str))
    return column


def _to_array(name: str, column: Any) -> np.ndarray:
    is_list = isinstance(column, list | tuple)
    masked = next((row for row, value in enumerate(column) if _is_masked(value)), None) if is_list else None
    if masked is not None:
        remedy = "None is a missing value" if column[masked] is np.ma.masked else "only whole rows can be masked"
        raise DataError(f"column `{name}` has masked values in row {masked}, which would lose their mask; {remedy}")
    # NumPy would drop trailing NULs of texts, and use the memory of the longest text for each text.
    is_text = is_list and len(column) > 0 and isinstance(column[0], str | bytes)
    try:
        array = np.array(column, object) if is_text else np.asarray(column)
    except (ValueError, TypeError) as error:
        if not is_list or not all(isinstance(value, np.ndarray) for value in column):
            if depths := find_mixed_depths(column):
                raise DataError(f"column `{name}` has {depths}. {SAME_DEPTH}") from error
            raise DataError(f"column `{name}` is no array; use `Ragged` for rows of different lengths") from error
        array = _as_objects(column)  # images of different sizes
    if array.ndim == 0:
        raise DataError(f"column `{name}` is {column!r}, not an array of rows; a single row is [{column!r}]")
    # NumPy converts integers without a common 64-bit type to float64, and numbers among texts to texts.
    is_rounded = is_list and array.dtype == np.float64 and len(array) > 0 and all(isinstance(v, int) for v in column)
    if is_rounded or (is_list and array.dtype.kind in "US"):
        array = np.array(column, object)
    array = _convert_objects(name, array) if array.dtype.hasobject else array
    if array.dtype.kind == "M":
        check_years(name, array)
    return array


def _is_masked(value: Any) -> bool:
    return isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)


def _as_objects(values: Sequence[Any]) -> np.ndarray:
    """An array of Python objects. NumPy would take arrays and images apart."""
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    return array


def _read_images(name: str, values: Sequence[Any]) -> np.ndarray:
    """Converts images of Pillow to arrays, and joins these if all have the same shape."""
    arrays = []
    for row, value in enumerate(values):
        try:
            arrays.append(read_upright(value) if is_pillow(value) else value)
        except ImageError as error:
            raise DataError(f"column `{name}`: the image of row {row} {error}") from error
    return np.stack(arrays) if len({np.shape(each) for each in arrays}) == 1 else _as_objects(arrays)


def _convert_objects(name: str, array: np.ndarray) -> np.ndarray:
    """Replaces missing values by None, and decimals by integers if all are whole, else by floats. Converts times."""
    values = [_convert_object(value) for value in array.flat]
    if any(isinstance(value, Decimal) for value in values):
        convert = int if all(map(_is_whole, values)) else float
        values = [convert(value) if isinstance(value, Decimal) else value for value in values]
    if any(isinstance(value, date) for value in values) and array.ndim == 1:
        if any(isinstance(value, datetime) for value in values):  # Arrow takes the type of the first, such as a date
            values = [datetime.combine(value, time()) if type(value) is date else value for value in values]
        times, _ = convert_column(name, to_arrow(name, values))
        assert isinstance(times, np.ndarray)
        return times
    if all(before is after for before, after in zip(array.flat, values, strict=True)):
        return array
    return _as_objects(values).reshape(array.shape)


def _convert_object(value: Any) -> Any:
    is_nan = isinstance(value, Real | np.datetime64) and value != value
    if is_nan or type(value).__name__ in PANDAS_MISSING_TYPES:
        return None
    return None if isinstance(value, Decimal) and value.is_nan() else value


def _is_whole(value: Any) -> bool:
    """Whether a value is an integer, a whole decimal, or missing."""
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return value is None or isinstance(value, Integral)
