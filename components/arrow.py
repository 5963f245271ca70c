"""Arrow's columns as arrays, without copies where there are none in Arrow; its own ways import pandas, for seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components.types import Strings

if TYPE_CHECKING:
    import pyarrow


def valid(column: pyarrow.ChunkedArray) -> np.ndarray | None:
    """Which values are there, (rows,), bool; None: all."""
    import pyarrow

    return numbers(column.is_valid().cast(pyarrow.uint8()), "?", None, False) if column.null_count else None


def numbers(column: pyarrow.ChunkedArray | pyarrow.Array, dtype: str, valid: np.ndarray | None, gap: Any) -> np.ndarray:
    """A column of fixed width as an array, with `gap` where it has none."""
    import pyarrow

    array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    values = np.frombuffer(array.buffers()[1] or b"", dtype)[array.offset : array.offset + len(array)]
    return values if valid is None else np.where(valid, values, gap)


def strings(column: pyarrow.ChunkedArray, valid: np.ndarray | None) -> Strings:
    """Strings; as a dictionary, in the order in which they occur, where most occur more than once."""

    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    distinct = len(encoded.dictionary)
    if 2 * distinct > len(column):
        return plain(column)
    data, offsets, _ = plain(encoded.dictionary)
    if valid is not None:
        offsets = np.append(offsets, offsets[-1])
    return Strings(data, offsets, numbers(encoded.indices, "i4", valid, np.int32(distinct)))


def plain(column: pyarrow.ChunkedArray | pyarrow.Array) -> Strings:
    """Strings without a dictionary; a gap has no bytes in what the reader of CSV makes."""
    import pyarrow

    large = column.cast(pyarrow.large_string())
    array = large.combine_chunks() if isinstance(large, pyarrow.ChunkedArray) else large
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Strings(np.frombuffer(data or b"", np.uint8), bounds)
