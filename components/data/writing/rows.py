"""Reads the rows of any source as Arrow tables, a block at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.arrow import mask_column, strings_to_arrow, to_arrow
from components.data.csv.selection import take_rows
from components.image_files import encode_png, is_pillow
from components.types import Block, DataError, LazyColumns, Ragged, Source, Strings, Values, row_count

if TYPE_CHECKING:
    import pyarrow

ARROW_UNITS = ("D", "s", "ms", "us", "ns")  # of times
CHANNELS = (1, 3)  # of an image
UTC = "UTC"


def read_rows(
    source: Source, rows: np.ndarray, zoned: Collection[str] = (), names: Sequence[str] | None = None
) -> Iterator[pyarrow.Table]:
    """Yields some rows of a source, in the order of the source.

    Images, which are uint8 arrays (H, W), (H, W, 1) or (H, W, 3), become the bytes of PNG files; other arrays become
    lists of a fixed size. Files keep their bytes. A missing value is null.

    Args:
        source: the rows.
        rows: their numbers, counted over all parts: sorted int64.
        zoned: the columns of times that have a zone; their values are in UTC.
        names: the columns, in this order. None: all.

    Raises:
        DataError: a column has values that no file can hold, or the source has another number of rows than before.
    """
    start = 0
    schema: pyarrow.Schema | None = None
    for part, size in source.sizes().items():
        stop = start + size
        for block in source.blocks(part):
            count = row_count(next(iter(block.columns.values())))
            low, high = np.searchsorted(rows, [start, start + count])
            if high > low:
                table = make_table(block, rows[low:high] - start, zoned, names)
                schema = schema or table.schema
                yield table if table.schema == schema else table.cast(schema)
            start += count
            if high == len(rows):
                return
        if start != stop:
            raise DataError(f"the part {part} of the data had {size:,} rows, and has {start - stop + size:,} now")


def split_tables(tables: Iterable[pyarrow.Table], sizes: Iterable[int]) -> Iterator[Iterator[pyarrow.Table]]:
    """Cuts consecutive tables into pieces with some numbers of rows.

    Each piece is an iterator of tables, which must be exhausted before the next piece is asked for.
    """
    iterator = iter(tables)
    rest: pyarrow.Table | None = None

    def take(count: int) -> Iterator[pyarrow.Table]:
        nonlocal rest
        while count:
            table = next(iterator) if rest is None else rest
            piece = table.slice(0, count)
            rest = table.slice(count) if len(table) > count else None
            count -= len(piece)
            yield piece

    return map(take, sizes)


def make_table(
    block: Block, rows: np.ndarray, zoned: Collection[str] = (), names: Sequence[str] | None = None
) -> pyarrow.Table:
    """Some rows of a block; the arguments are those of `read_rows`."""
    import pyarrow

    columns, masks = block.columns, block.valid
    names = [*columns] if names is None else names
    if len(rows) < row_count(next(iter(block.columns.values()))):
        masks = {name: mask[rows] for name, mask in masks.items()}
        if isinstance(columns, LazyColumns):
            columns = columns.select(rows, take_rows)
        else:
            columns = {name: take_rows(columns[name], rows) for name in names}
    arrays = {}
    for name in names:
        column = _to_arrow(name, columns[name], is_file=name in block.files, is_zoned=name in zoned)
        mask = masks.get(name)
        arrays[name] = column if mask is None or mask.all() else mask_column(column, mask)
    return pyarrow.table(arrays)


def _to_arrow(name: str, values: Values, *, is_file: bool = False, is_zoned: bool = False) -> pyarrow.ChunkedArray:
    """Converts a column, whose masked rows have any values."""
    import pyarrow

    if isinstance(values, Strings):
        texts = strings_to_arrow(values)
        return pyarrow.chunked_array([texts.view(pyarrow.large_binary()) if is_file else texts])
    if isinstance(values, Ragged):
        inner = _to_arrow(name, values.values).combine_chunks()
        offsets = pyarrow.array(values.offsets.astype(np.int64))
        return pyarrow.chunked_array([pyarrow.LargeListArray.from_arrays(offsets, inner)])
    array = np.asarray(values)
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.hasobject and array.ndim == 1:
        return _convert_objects(name, array)
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in CHANNELS)):
        images = array if array.ndim == 4 else array[..., None]
        return pyarrow.chunked_array([pyarrow.array(map(encode_png, images), pyarrow.large_binary())])
    if array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] not in ARROW_UNITS:
        array = array.astype("M8[s]")
    flat_values = array.reshape(-1)  # Arrow cuts texts of NumPy at a NUL
    column = _widen(to_arrow(name, flat_values.tolist() if array.dtype.kind == "U" else flat_values))
    if is_zoned and array.dtype.kind == "M":
        unit = np.datetime_data(array.dtype)[0]
        column = column.cast(pyarrow.timestamp("s" if unit == "D" else unit)).cast(
            pyarrow.timestamp("s" if unit == "D" else unit, UTC)
        )
    flat = column.combine_chunks()
    for length in reversed(array.shape[1:]):
        flat = pyarrow.FixedSizeListArray.from_arrays(flat, length)
    return pyarrow.chunked_array([flat])


def _widen(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """A column whose texts and bytes have offsets of 64 bits, as all others."""
    import pyarrow

    types = pyarrow.types
    wide = pyarrow.large_string() if types.is_string(column.type) else pyarrow.large_binary()
    return column.cast(wide) if types.is_string(column.type) or types.is_binary(column.type) else column


def _convert_objects(name: str, array: np.ndarray) -> pyarrow.ChunkedArray:
    """Converts an array of objects: bytes, images of Pillow, arrays of images, or texts."""
    import pyarrow

    first = next((value for value in array if value is not None), b"")
    is_image = isinstance(first, np.ndarray) and first.dtype == np.uint8 and first.ndim in (2, 3)
    if is_image or is_pillow(first):
        array = np.array([None if value is None else _encode(value) for value in array], object)
    elif not isinstance(first, bytes | bytearray):
        return _widen(to_arrow(name, array.tolist()))
    return pyarrow.chunked_array([pyarrow.array(array.tolist(), pyarrow.large_binary())])


def _encode(image: Any) -> bytes:
    return encode_png(np.atleast_3d(image) if isinstance(image, np.ndarray) else image)


def list_columns(schema: pyarrow.Schema, names: Sequence[str] = ()) -> list[str]:
    """The names of the columns of files and images, which are bytes."""
    import pyarrow

    return [field.name for field in schema if pyarrow.types.is_large_binary(field.type) and field.name not in names]
