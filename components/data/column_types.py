"""The types of the columns of a table in several files, or in several blocks, and the type that a column has in all."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.arrow import convert_numbers, decode_dictionary, find_invalid_row, is_bytes

if TYPE_CHECKING:
    import pyarrow

MAX_DIGITS = 76  # of a decimal
INTEGER_DIGITS = 20  # of a whole number of 64 bits
FLOAT_LIMITS = {"i": 2.0**63, "u": 2.0**64}  # by kind of 64-bit integers: the first float beyond them
UNITS = ("s", "ms", "us", "ns")  # of times, from coarse to fine


class Field(NamedTuple):
    """A column of a file.

    Attributes:
        path: its name, after those of the structs that hold it.
        type: its type.
    """

    path: tuple[str, ...]
    type: pyarrow.DataType


class CastError(Exception):
    """A value that a type can't hold exactly.

    Attributes:
        row: its row in the column.
        value: the value.
        kind: the type.
    """

    def __init__(self, row: int, value: Any, kind: pyarrow.DataType) -> None:
        super().__init__(f"{value!r} in row {row} can't be {kind}")
        self.row, self.value, self.kind = row, value, kind


def list_fields(schema: Any, path: tuple[str, ...] = (), files: Collection[str] = ()) -> Iterator[Field]:
    """Yields the columns of a schema or of a struct. A struct is one for each field, unless `files` has its name."""
    import pyarrow

    for field in schema:
        if pyarrow.types.is_struct(field.type) and field.type.num_fields and field.name not in files:
            yield from list_fields(field.type, (*path, field.name))
        else:
            yield Field((*path, field.name), field.type)


def select_field(column: pyarrow.ChunkedArray, path: tuple[str, ...]) -> pyarrow.ChunkedArray:
    """A field within a column of structs; without a path, the column."""
    import pyarrow.compute as compute

    return compute.struct_field(column, list(path)) if path else column


def _has_no_values(kind: pyarrow.DataType) -> bool:
    """Whether a column of a type has no values: each is null, or a struct without fields."""
    import pyarrow

    return pyarrow.types.is_null(kind) or (pyarrow.types.is_struct(kind) and not kind.num_fields)


def drop_empty_structs(fields: Collection[Field], others: Collection[Field]) -> list[Field]:
    """The fields without those that have no values where others are structs of the same path."""
    structs = {field.path[:length] for field in others for length in range(1, len(field.path))}
    return [field for field in fields if not (field.path in structs and _has_no_values(field.type))]


def find_common_type(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType | None:
    """The type that holds the values of two types of one kind. None: they differ in kind, such as texts and numbers.

    Whole numbers among floats are float64, whole numbers and decimals are decimals, and a column of dictionaries and
    plain values is one of dictionaries, whose values are categories. `cast_column` checks that no value changes.
    """
    import pyarrow

    types = pyarrow.types
    if first == second:
        return first
    if types.is_null(first) or types.is_null(second):
        return second if types.is_null(first) else first
    if types.is_dictionary(first) or types.is_dictionary(second):
        kind = find_common_type(*(each.value_type if types.is_dictionary(each) else each for each in (first, second)))
        return None if kind is None else pyarrow.dictionary(pyarrow.int32(), kind)
    if is_list(first) and is_list(second):
        return _find_common_list(first, second)
    if types.is_struct(first) and types.is_struct(second):
        return _find_common_struct(first, second)
    for is_kind, common in (
        (_is_text, pyarrow.large_string()),
        (is_bytes, pyarrow.large_binary()),
        (types.is_date, pyarrow.date32()),
    ):
        if is_kind(first) and is_kind(second):
            return common
    return _find_common_number(first, second) or _find_common_time(first, second)


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow

    types = pyarrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_list(kind: pyarrow.DataType) -> bool:
    """Whether a column of a type has lists."""
    import pyarrow

    types = pyarrow.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _find_common_list(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType | None:
    import pyarrow

    if (kind := find_common_type(first.value_type, second.value_type)) is None:
        return None
    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    sizes = [each.list_size if pyarrow.types.is_fixed_size_list(each) else None for each in (first, second)]
    return pyarrow.large_list(kind) if sizes[0] is None or sizes[0] != sizes[1] else pyarrow.list_(kind, sizes[0])


def _find_common_struct(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType | None:
    """The type with the fields of both, of which a value may lack some. Structs are columns only within lists."""
    import pyarrow

    kinds: dict[str, pyarrow.DataType | None] = {}
    for field in [*first, *second]:
        kind = find_common_type(kinds.get(field.name) or field.type, field.type)
        if kind is None:
            return None
        kinds[field.name] = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    return pyarrow.struct([*kinds.items()])


def _find_common_number(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType | None:
    import pyarrow

    types, both = pyarrow.types, (first, second)
    if not all(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) for kind in both):
        return None
    if any(map(types.is_floating, both)):
        is_short = {*map(str, both)} == {"halffloat", "float"}
        return pyarrow.float32() if is_short else pyarrow.float64()
    if not any(map(types.is_decimal, both)):
        if any(map(types.is_uint64, both)) and not all(map(types.is_unsigned_integer, both)):
            return pyarrow.int64()
        schemas = [pyarrow.schema([("", kind)]) for kind in both]
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    sizes = [(each.precision, each.scale) if types.is_decimal(each) else (INTEGER_DIGITS, 0) for each in both]
    scale = max(0, *(scale for _, scale in sizes))
    precision = max(precision - scale for precision, scale in sizes) + scale
    return pyarrow.decimal256(precision, scale) if precision <= MAX_DIGITS else pyarrow.float64()


def _find_common_time(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType | None:
    """The finer unit of times of a day, of durations, or of times which all have a zone, or none."""
    import pyarrow

    types, both = pyarrow.types, (first, second)
    if any(map(types.is_date, both)) and any(map(types.is_timestamp, both)):
        moment = second if types.is_date(first) else first
        return moment if moment.tz is None else None
    if not any(all(map(check, both)) for check in (types.is_timestamp, types.is_time, types.is_duration)):
        return None
    unit = max((kind.unit for kind in both), key=UNITS.index)
    if types.is_duration(first):
        return pyarrow.duration(unit)
    if types.is_time(first):
        return pyarrow.time64(unit) if unit in UNITS[2:] else pyarrow.time32(unit)
    has_zone = {kind.tz is not None for kind in both}
    return None if len(has_zone) > 1 else pyarrow.timestamp(unit, "UTC" if True in has_zone else None)


def cast_column(column: pyarrow.ChunkedArray, kind: pyarrow.DataType) -> pyarrow.ChunkedArray:
    """Converts a column to a type that `find_common_type` returns. A dictionary becomes its values.

    Raises:
        CastError: the type can't hold a value exactly.
    """
    import pyarrow

    types = pyarrow.types
    if column.type == kind:
        return column
    if types.is_dictionary(kind):
        return cast_column(column, kind.value_type)
    if types.is_dictionary(column.type):
        return cast_column(decode_dictionary(column), kind)
    if types.is_null(column.type):
        return pyarrow.chunked_array([pyarrow.nulls(len(column), kind)])
    if types.is_integer(column.type) and types.is_floating(kind):
        is_wrong = _find_inexact(column)
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise CastError(row, column[row].as_py(), kind)
        return column.cast(kind, safe=False)
    try:
        return column.cast(kind)
    except pyarrow.ArrowInvalid as error:
        found = find_invalid_row(column, lambda rows: rows.cast(kind))
        if found is None:
            raise
        raise CastError(found, column[found].as_py(), kind) from error


def _find_inexact(column: pyarrow.ChunkedArray) -> np.ndarray:
    """Which whole numbers float64 can't hold exactly, (rows,), bool."""
    import pyarrow

    wide = pyarrow.uint64() if pyarrow.types.is_uint64(column.type) else pyarrow.int64()
    values = convert_numbers(column.cast(wide).fill_null(0), str(wide), None, 0)
    floats = values.astype(np.float64)
    is_outside = floats >= FLOAT_LIMITS[values.dtype.kind]
    return is_outside | (np.where(is_outside, 0, floats).astype(values.dtype) != values)
