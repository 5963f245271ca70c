"""Declared shapes of columns of lists: arrays of fixed lengths, or lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.data.column_types import is_list
from components.types import DataError

if TYPE_CHECKING:
    import pyarrow

Shape = Sequence[int | None]


def convert_shape(column: pyarrow.ChunkedArray, shape: Shape, locate: Callable[[int], str]) -> pyarrow.ChunkedArray:
    """Converts a column of lists or arrays, and of those within them, to a shape with as many axes.

    Args:
        column: the column. Its gaps are kept.
        shape: the length of each axis. None: lists have any length.
        locate: describes the location of a row, and the column.

    Raises:
        DataError: a list has another length than its axis.
    """
    import pyarrow
    import pyarrow.compute as compute

    start = 0
    for chunk in column.chunks:
        level, rows = chunk, start + np.arange(len(chunk))
        for axis, length in enumerate(shape):
            lengths = np.asarray(compute.list_value_length(level).fill_null(-1 if length is None else length))
            if length is not None and (wrong := lengths != length).any():
                first = int(wrong.argmax())
                raise DataError(
                    f"{locate(int(rows[first]))} has a list of length {lengths[first]}"
                    f"{' within its list' if axis else ''}, not {length}, for the declared shape "
                    f"[{','.join('null' if each is None else str(each) for each in shape)}]",
                    "correct it",
                    "remove the row",
                )
            rows = rows[np.asarray(compute.list_parent_indices(level))]
            level = compute.list_flatten(level)
        start += len(chunk)
    kind = column.type
    while is_list(kind):
        kind = kind.value_type
    for length in reversed(shape):
        kind = pyarrow.large_list(kind) if length is None else pyarrow.list_(kind, length)
    return column.cast(kind)
