"""Conversion of Arrow columns to NumPy arrays and `Strings`. A column without missing values isn't copied.

Arrow's own `to_numpy` imports pandas, which takes seconds.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from components.ragged import SAME_DEPTH, find_mixed_depths, offsets_of
from components.types import DataError, Ragged, Strings, Values

if TYPE_CHECKING:
    import pyarrow


MIN_LONG_BYTES = 128  # of a long text
FINE_UNITS = ("us", "ns", "ps", "fs", "as")  # of times, which always fit
EXTENSIONS = ("arrow.uuid", "arrow.json", "arrow.bool8")  # types of Arrow that are read; others may mean anything
MAX_YEARS = 292_000  # from 1970, in 64 bits of microseconds


class GapInListsError(DataError):
    """A column of lists has a missing value, or a missing list, within a row."""


def convert_column(
    name: str, column: pyarrow.ChunkedArray, *, pack_bytes: bool = False
) -> tuple[Values, np.ndarray | None]:
    """Converts a column of Arrow.

    Times with a time zone are converted to UTC, and times of a day to seconds. Decimals are int64 if all of the column
    are whole, else float64.

    Args:
        name: the column's name for messages.
        column: the column.
        pack_bytes: whether bytes are packed as `Strings`, which take less memory than Python's.

    Returns:
        The values, where a missing value is 0, False, NaN, NaT, "" or (in an array of bytes) None, and a mask (rows,),
        bool: False where a value is missing. The mask is None if no value is missing.

    Raises:
        DataError: the type of the column isn't supported, a whole decimal exceeds 64 bits, a time is too far from 1970,
            or values are missing within lists.
    """
    import pyarrow

    types, kind = pyarrow.types, column.type
    if isinstance(kind, pyarrow.BaseExtensionType) and kind.extension_name in EXTENSIONS:
        return convert_column(name, _convert_extension(column), pack_bytes=pack_bytes)
    if types.is_dictionary(kind):
        return convert_column(name, decode_dictionary(column), pack_bytes=pack_bytes)
    if types.is_decimal(kind):
        return convert_column(name, _convert_decimals(name, column))
    valid = read_valid_mask(column)
    if types.is_string_view(kind) or types.is_null(kind):
        column, kind = column.cast(pyarrow.large_string()), pyarrow.large_string()
    if types.is_string(kind) or types.is_large_string(kind):
        return _convert_strings(column, valid), valid
    if is_bytes(kind) and pack_bytes:
        return read_strings(column if valid is None else column.cast(pyarrow.large_binary()).fill_null(b"")), valid
    if is_bytes(kind):
        return np.array(column.to_pylist(), object), valid
    if types.is_boolean(kind):
        return convert_numbers(column.cast(pyarrow.uint8()), "?", valid, False), valid
    if types.is_integer(kind):
        return convert_numbers(column, str(kind), valid, 0), valid
    if types.is_floating(kind):
        return convert_numbers(column, f"f{kind.bit_width // 8}", valid, np.nan), valid
    if types.is_time(kind):
        return _convert_times_of_day(column, valid), valid
    if types.is_temporal(kind):
        return _convert_times(name, column, valid), valid
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _convert_lists(name, column), valid
    raise DataError(
        f"column `{name}` has Arrow's type {kind}, which isn't supported; convert the column first, or leave it out"
    )


def is_bytes(kind: pyarrow.DataType) -> bool:
    """Whether a column of a type has bytes, such as images, also in a dictionary."""
    import pyarrow

    types = pyarrow.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    checks = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(check(kind) for check in checks)


def decode_dictionary(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The values of a column with a dictionary. Arrow can't cast dictionaries of string_view, which Polars has."""
    import pyarrow

    kind = column.type.value_type
    kind = pyarrow.large_string() if pyarrow.types.is_string_view(kind) else kind
    return pyarrow.chunked_array([chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks], kind)


def _convert_extension(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The values of a type that Arrow defines by another one: texts of UUIDs and JSON, and booleans of a byte."""
    import pyarrow

    kind = column.type
    if kind.extension_name == "arrow.uuid":
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pyarrow.chunked_array([pyarrow.array(texts, pyarrow.large_string())])
    stored = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    return stored.cast(pyarrow.bool_()) if kind.extension_name == "arrow.bool8" else stored


def find_invalid_row(column: pyarrow.ChunkedArray | pyarrow.Array, check: Callable[[Any], object]) -> int | None:
    """The first row of a column that a function can't take, which raises ArrowInvalid. None: it takes all of them.

    Args:
        column: the column.
        check: the function, of some rows of it.
    """
    import pyarrow

    def is_valid(rows: Any) -> bool:
        try:
            check(rows)
        except pyarrow.ArrowInvalid:
            return False
        return True

    low, high = 0, len(column)  # the first `low` rows are valid, the first `high` aren't
    if is_valid(column):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_valid(column.slice(low, middle - low)) else (low, middle)
    return low


def check_values(values: pyarrow.Array) -> None:
    """Raises ArrowInvalid if a text isn't UTF-8, or another value isn't valid, also within lists and dictionaries."""
    import pyarrow

    types = pyarrow.types
    if isinstance(values, pyarrow.ExtensionArray):
        check_values(values.storage)
    elif types.is_dictionary(values.type):
        check_values(decode_dictionary(pyarrow.chunked_array([values])).combine_chunks())
    elif isinstance(values, pyarrow.ListArray | pyarrow.LargeListArray | pyarrow.FixedSizeListArray):
        check_values(values.flatten())
    else:
        values.validate(full=True)


def to_arrow(name: str, column: Any) -> pyarrow.ChunkedArray:
    """Converts a column of pandas, Polars or Arrow, an array, a list or `Strings`.

    Args:
        name: the column's name for messages.
        column: the column.

    Raises:
        DataError: the values aren't of one type, or an integer exceeds 64 bits.
    """
    import pyarrow

    try:
        if isinstance(column, pyarrow.ChunkedArray):
            return column
        if isinstance(column, Strings):
            return pyarrow.chunked_array([strings_to_arrow(column)])
        if hasattr(column, "__arrow_c_stream__"):
            return pyarrow.chunked_array(column)
        if hasattr(column, "to_series"):  # an index of pandas, which would lose its time zone
            return to_arrow(name, column.to_series())
        array = pyarrow.array(column)  # for objects of pandas, Arrow treats NaN as missing
        return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])
    except OverflowError as error:
        raise _make_integer_error(name) from error
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        if depths := find_mixed_depths(column):
            raise DataError(f"column `{name}` has {depths}. {SAME_DEPTH}") from error
        reason = _describe_types(column) or str(error).splitlines()[0]
        raise DataError(f"column `{name}` doesn't have values of one type: {reason}. Convert them to one") from error


def _describe_types(column: Any) -> str:
    """The first two rows of a column of objects whose values have types of different kinds; "": there are none."""
    if not isinstance(column, Iterable):
        return ""
    first: tuple[int, Any] | None = None
    for row, value in enumerate(column):
        if value is None or (isinstance(value, float) and math.isnan(value)):  # a missing value
            continue
        first = first or (row, value)
        if isinstance(value, numbers.Number) and isinstance(first[1], numbers.Number):
            continue
        if type(value) is not type(first[1]):
            return " and ".join(f"row {at} is {each!r} ({type(each).__name__})" for at, each in (first, (row, value)))
    return ""


def _make_integer_error(name: str) -> DataError:
    return DataError(f"column `{name}` has an integer beyond 64 bits. Convert the column to floats or texts.")


def strings_to_arrow(strings: Strings) -> pyarrow.Array:
    """Converts `Strings` to Arrow's large_string, whether or not they are UTF-8."""
    import pyarrow

    offsets, data = (
        pyarrow.py_buffer(np.ascontiguousarray(array)) for array in (strings.offsets.astype(np.int64), strings.data)
    )
    texts = pyarrow.Array.from_buffers(pyarrow.large_string(), len(strings.offsets) - 1, [None, offsets, data])
    return texts if strings.indices is None else texts.take(array_to_arrow(strings.indices))


def array_to_arrow(values: np.ndarray) -> pyarrow.Array:
    """Converts an array of numbers without gaps. Unlike `pyarrow.array`, it doesn't import pandas."""
    import pyarrow

    buffer = pyarrow.py_buffer(np.ascontiguousarray(values))
    return pyarrow.Array.from_buffers(pyarrow.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def copy_bytes(content: bytes) -> pyarrow.Buffer:
    """Copies bytes into Arrow's memory.

    If one of Arrow's threads drops bytes of Python while the interpreter ends, the process aborts.
    """
    import pyarrow

    stream = pyarrow.BufferOutputStream()
    stream.write(content)
    return stream.getvalue()


def mask_column(column: pyarrow.ChunkedArray, valid: np.ndarray) -> pyarrow.ChunkedArray:
    """A column whose values are missing where a mask, (rows,), is False."""
    import pyarrow
    import pyarrow.compute as compute

    mask = array_to_arrow(valid.view(np.uint8)).cast(pyarrow.bool_())
    return compute.if_else(mask, column, pyarrow.nulls(len(column), column.type))


def read_valid_mask(column: pyarrow.ChunkedArray) -> np.ndarray | None:
    """The mask of a column, (rows,), bool: False where a value is missing. None: no value is missing."""
    import pyarrow

    return convert_numbers(column.is_valid().cast(pyarrow.uint8()), "?", None, False) if column.null_count else None


def convert_numbers(
    column: pyarrow.ChunkedArray | pyarrow.Array, dtype: str, valid: np.ndarray | None, missing: Any
) -> np.ndarray:
    """Converts a column of fixed-width values to an array of `dtype`, with `missing` where `valid` is False."""
    import pyarrow

    array = _join_chunks(column) if isinstance(column, pyarrow.ChunkedArray) else column
    values = np.frombuffer(array.buffers()[1] or b"", dtype)[array.offset : array.offset + len(array)]
    return values if valid is None else np.where(valid, values, missing)


def read_strings(column: pyarrow.ChunkedArray | pyarrow.Array) -> Strings:
    """Converts a column of strings, or of bytes, to `Strings` without a dictionary."""
    import pyarrow

    large = column.cast(pyarrow.large_binary() if is_bytes(column.type) else pyarrow.large_string())
    array = _join_chunks(large) if isinstance(large, pyarrow.ChunkedArray) else large
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Strings(np.frombuffer(data or b"", np.uint8), bounds)


def _join_chunks(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    """The values of a column in one array. Arrow's `combine_chunks` would also copy a single chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def read_dictionary(column: pyarrow.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Returns the distinct strings of a column, and the position of each row's string, (rows,); -1 if it is missing."""
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return encoded.dictionary.to_pylist(), convert_numbers(encoded.indices, "i4", read_valid_mask(column), np.int32(-1))


def _convert_strings(column: pyarrow.ChunkedArray, valid: np.ndarray | None) -> Strings:
    """Converts a column of strings. If at most half of the values are distinct, the result has a dictionary of them."""
    if column.nbytes > MIN_LONG_BYTES * len(column):  # Arrow's dictionary would take several times their memory
        strings = read_strings(column if valid is None else column.fill_null(""))
        hashes = np.fromiter(map(hash, strings.iterate_bytes()), np.int64, len(column))
        if 2 * len(np.unique(hashes if valid is None else hashes[valid])) > len(column):
            return strings
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    distinct = len(encoded.dictionary)
    if 2 * distinct > len(column):
        return read_strings(column if valid is None else column.fill_null(""))
    data, offsets, _ = read_strings(encoded.dictionary)
    if valid is not None:  # the last string of the dictionary is "", for missing values
        offsets = np.append(offsets, offsets[-1])
    return Strings(data, offsets, convert_numbers(encoded.indices, "i4", valid, np.int32(distinct)))


def _convert_decimals(name: str, column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Converts decimals to int64 if all are whole, since different ones may be the same float64; else to float64."""
    import pyarrow

    if column.null_count == len(column):
        return column.cast(pyarrow.float64())
    try:
        whole = column.cast(pyarrow.decimal256(76, 0))
    except pyarrow.ArrowInvalid:  # it would lose decimals
        return column.cast(pyarrow.float64())
    try:
        return whole.cast(pyarrow.int64())
    except pyarrow.ArrowInvalid as error:
        raise _make_integer_error(name) from error


def check_years(name: str, times: np.ndarray) -> None:
    """Raises DataError for a time that 64 bits of microseconds can't hold, as NumPy would wrap it."""
    if np.datetime_data(times.dtype)[0] in FINE_UNITS:
        return
    too_far = ~np.isnat(times) & (np.abs(times.astype("M8[Y]").astype(np.int64)) > MAX_YEARS)
    if too_far.any():
        raise DataError(
            f"column `{name}` has {times[too_far][0]} in row {np.argwhere(too_far)[0][0]}. Times are within "
            f"{MAX_YEARS:,} years of 1970, in 64 bits of microseconds; convert the column to numbers"
        )


def _convert_times(name: str, column: pyarrow.ChunkedArray, valid: np.ndarray | None) -> np.ndarray:
    """Converts a column of dates, times or durations."""
    import pyarrow

    is_date = pyarrow.types.is_date(column.type)
    unit = "D" if is_date else column.type.unit
    if is_date:  # days, which NumPy has as int64; Arrow casts date32 only to int32
        column = column.cast(pyarrow.date32()).cast(pyarrow.int32()).cast(pyarrow.int64())
    dtype = f"{'m8' if pyarrow.types.is_duration(column.type) else 'M8'}[{unit}]"
    times = convert_numbers(column, dtype, valid, np.array("NaT", dtype))
    if times.dtype.kind == "M":
        check_years(name, times)
    return times


def _convert_times_of_day(column: pyarrow.ChunkedArray, valid: np.ndarray | None) -> np.ndarray:
    """Converts a column of times of a day to seconds since midnight, as such texts are read."""
    import pyarrow

    integers = {32: pyarrow.int32(), 64: pyarrow.int64()}[column.type.bit_width]
    numbers = convert_numbers(column.cast(integers), str(integers), None, 0)
    seconds = numbers / {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
    return seconds if valid is None else np.where(valid, seconds, np.nan)


def find_gap_in_lists(column: pyarrow.ChunkedArray) -> int | None:
    """The first row of a column of lists with a missing value or list within a list. None: there is none."""
    import pyarrow
    import pyarrow.compute as compute

    level = column.combine_chunks()
    rows = np.arange(len(level))
    while pyarrow.types.is_nested(level.type):
        parents = compute.list_parent_indices(level)
        rows = rows[convert_numbers(parents, str(parents.type), None, 0)]
        level = compute.list_flatten(level)
        valid = read_valid_mask(pyarrow.chunked_array([level]))
        if valid is not None:
            return int(rows[np.argmin(valid)])
    return None


def _convert_lists(name: str, column: pyarrow.ChunkedArray) -> Ragged | np.ndarray:
    """Converts a column of lists to `Ragged`, or to an array with one more axis if the lists have a fixed size."""
    import pyarrow
    import pyarrow.compute as compute

    values, valid = convert_column(name, compute.list_flatten(column))
    if valid is not None:
        raise GapInListsError(f"column `{name}` has missing values within its lists; remove them")
    if pyarrow.types.is_fixed_size_list(column.type) and not column.null_count and isinstance(values, np.ndarray):
        return values.reshape(len(column), column.type.list_size, *values.shape[1:])
    lengths = compute.list_value_length(column).fill_null(0)
    sizes = convert_numbers(lengths, str(lengths.type), None, 0)
    return Ragged(values, offsets_of(sizes))
