"""The options with which a written table is read, so that its columns have the types and values of the source.

A text such as 01000 or 2024-01-31, a float such as 2.0 and a text such as NA don't show in a file what they are. While
rows are written, flags of the columns are collected, by which such columns are recognized.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.csv.reader import NULLS
from components.data.csv.types import has_decimal_point
from components.data.partitions import Partitions
from components.data.tfrecord.parts import RECORD
from components.data.writing.formats import DEFAULTS, FileKind, RecordOptions
from components.image_files import is_image_file

if TYPE_CHECKING:
    import pyarrow

DIGIT = "digit"  # a text has a digit, or is another spelling of a number or a boolean
NULL = "null"  # a text is one of those that stand for a missing value
EMPTY = "empty"  # a text is empty
GAP = "gap"  # a value is missing
SOME = "some"  # a value isn't missing
FRACTION, WHOLE = "fraction", "whole"  # a float has decimals, or none
LARGE = "large"  # a float is at least 1,000, or at most -1,000
POINT = "point"  # a float has another number of decimals than three, so that its point doesn't separate thousands
BINARY = "binary"  # bytes are no text
IMAGE = "image"  # the first bytes are an image file
LENGTH = "length "  # starts the flag of the length of a list, of which two are kept
NUMBER = r"[\p{N}]|(?i)^\W*(true|false|inf|infinity|nan)\W*$"

Flags = dict[str, set[str]]
"""The flags of each column."""


def add_flags(flags: Flags, table: pyarrow.Table) -> None:
    """Adds the flags of some rows."""
    import pyarrow
    import pyarrow.compute as compute

    for name, column in zip(table.column_names, table.columns, strict=True):
        own = flags.setdefault(name, set())
        if column.null_count:
            own.add(GAP)
        if column.null_count < len(column):
            own.add(SOME)
        if pyarrow.types.is_large_string(column.type):
            if DIGIT not in own and compute.any(compute.match_substring_regex(column, NUMBER)).as_py():
                own.add(DIGIT)
            if NULL not in own and compute.any(compute.is_in(column, pyarrow.array(NULLS, column.type))).as_py():
                own.add(NULL)
            if EMPTY not in own and compute.any(compute.equal(column, "")).as_py():
                own.add(EMPTY)
        elif pyarrow.types.is_large_binary(column.type) and BINARY not in own:
            own.update([] if _are_texts(column) else [BINARY])
            first = compute.first(column).as_py()  # that isn't null
            own.update([IMAGE] if first is not None and is_image_file(first) else [])
        elif pyarrow.types.is_large_list(column.type):
            lengths = compute.unique(compute.list_value_length(column.drop_null()))
            own.update([f"{LENGTH}{each}" for each in lengths.to_pylist()][:2])
        elif pyarrow.types.is_floating(column.type) and POINT not in own:
            numbers = np.asarray(column.drop_null().cast(pyarrow.float64()).combine_chunks())
            finite = numbers[np.isfinite(numbers)]
            is_whole = finite == np.floor(finite)
            own.update([WHOLE] if is_whole.any() else [])
            own.update([FRACTION] if not is_whole.all() else [])
            own.update([LARGE] if (np.abs(finite) >= 1000).any() else [])
            hundredths = np.abs(finite[~is_whole]) * 100
            is_short = np.abs(hundredths - np.round(hundredths)) <= 1e-9 * hundredths  # at most two decimals
            own.update([POINT] if is_short.any() or has_decimal_point(finite) else [])


def _are_texts(column: pyarrow.ChunkedArray) -> bool:
    """Whether bytes are read as texts, if nothing says what they are."""
    import pyarrow
    import pyarrow.compute as compute

    try:
        column.cast(pyarrow.large_string())
    except pyarrow.ArrowInvalid:
        return False
    return not compute.any(compute.match_substring(column, b"\0")).as_py()


def find_reading_options(
    schema: pyarrow.Schema,
    flags: Mapping[str, Collection[str]],
    kind: FileKind,
    options: RecordOptions = DEFAULTS,
) -> dict[str, Any]:
    """The options of `TableFile` with which a written table is read, such as `types`, `nulls` and `shapes`.

    Args:
        schema: the columns that were written.
        flags: their flags.
        kind: the format of the files.
        options: how TFRecord files were written.
    """
    import pyarrow

    if options.raw:  # the only column has another name there
        flags = {RECORD: flags.get(schema.names[0], ())}
        schema = pyarrow.schema([schema.field(0).with_name(RECORD)])
    types: dict[str, str] = {}
    nulls: dict[str, list[str]] = {}
    shapes: dict[str, list[int | None]] = {}
    bytes_as: dict[str, str] = {}
    needs_point = False
    for field in schema:
        own = set(flags.get(field.name, ()))
        if kind == "tfrecord" and SOME not in own:
            continue  # the files don't have the column
        if pyarrow.types.is_large_string(field.type):
            types |= {field.name: "string"} if DIGIT in own or SOME not in own else {}
            nulls |= {field.name: [""] if GAP in own and kind == "csv" else []} if NULL in own else {}
        elif pyarrow.types.is_floating(field.type):
            if kind == "csv" or (kind == "tfrecord" and options.float64 == "text" and field.type == pyarrow.float64()):
                types |= {field.name: "float"} if FRACTION not in own and SOME in own else {}
                needs_point |= own.issuperset({FRACTION, WHOLE}) and own.isdisjoint({POINT, LARGE})
        elif kind == "tfrecord" and pyarrow.types.is_boolean(field.type):
            types[field.name] = "bool"  # which are 0 and 1 there
        elif kind == "tfrecord" and pyarrow.types.is_large_binary(field.type):
            bytes_as |= {} if BINARY in own else {field.name: "bytes"}
        elif kind == "tfrecord" and (shape := find_shape(field.type)):
            shapes[field.name] = _add_length(shape, own)
            bytes_as |= {field.name: "tensor"} if options.tensors else {}
    found = {
        "records": "raw" if options.raw else None,
        "types": types,
        "nulls": nulls,
        "decimal": "point" if needs_point else None,
        "shapes": shapes,
        "bytes_as": bytes_as,
    }
    return {name: value for name, value in found.items() if value}


def _add_length(shape: list[int | None], flags: Collection[str]) -> list[int | None]:
    """The shape of arrays, if all rows have lists of one length."""
    lengths = [int(flag.removeprefix(LENGTH)) for flag in flags if flag.startswith(LENGTH)]
    if None in shape[1:] or len(lengths) != 1 or 0 in lengths or GAP in flags:
        return shape
    return [lengths[0], *shape[1:]]


def list_folder_columns(file: Path) -> Sequence[str]:
    """The columns that the folders of a file name, such as `year=2020`, when it is read."""
    return Partitions([file]).names


def is_float64(kind: pyarrow.DataType) -> bool:
    """Whether the numbers of a column, or of its arrays and lists, are float64."""
    import pyarrow

    while pyarrow.types.is_fixed_size_list(kind) or pyarrow.types.is_large_list(kind):
        kind = kind.value_type
    return bool(kind == pyarrow.float64())


def find_shape(kind: pyarrow.DataType) -> list[int | None]:
    """The shape of the values of a row. The length of a list is None."""
    import pyarrow

    shape: list[int | None] = []
    while pyarrow.types.is_fixed_size_list(kind) or pyarrow.types.is_large_list(kind):
        shape.append(kind.list_size if pyarrow.types.is_fixed_size_list(kind) else None)
        kind = kind.value_type
    return shape
