"""Columns for functions of the user, and those that they return."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from components.arrow import convert_column, is_bytes, to_arrow
from components.columns import as_column, keep_lists
from components.ragged import take_rows
from components.types import Ragged, Strings, Values, row_count

MISSING: dict[str, Any] = {"f": np.nan, "c": np.nan, "M": "NaT", "m": "NaT", "O": None}


class ReadColumn(NamedTuple):
    """A column that a function returned.

    Attributes:
        values: the values.
        valid: the mask of those that aren't missing. None: none is missing.
        has_bytes: whether it has the bytes of files.
        has_type: whether its type is known. Otherwise all values are missing.
    """

    values: Values
    valid: np.ndarray | None
    has_bytes: bool = False
    has_type: bool = True


def make_python_column(values: Values, valid: np.ndarray | None, *, has_bytes: bool) -> Any:
    """A column as a function gets it: a read-only array, or a list of Python's lists.

    Missing values are NaN, NaT or None. Whole numbers and booleans are a masked array if some are missing.
    """
    if isinstance(values, Ragged):
        rows = _list_rows(values)
        return rows if valid is None else [row if known else None for row, known in zip(rows, valid, strict=True)]
    array = _make_object_array(values, has_bytes=has_bytes) if isinstance(values, Strings) else values.view()
    array = array.astype(object) if array.dtype.kind == "U" else array
    if valid is not None:
        mask = np.broadcast_to(valid.reshape(-1, *[1] * (array.ndim - 1)), array.shape)
        if array.dtype.kind in MISSING:
            array = np.where(mask, array, np.array(MISSING[array.dtype.kind], array.dtype))
        else:
            array = np.ma.MaskedArray(array, ~mask)
    array.flags.writeable = False
    return array


def _make_object_array(strings: Strings, *, has_bytes: bool) -> np.ndarray:
    distinct = strings._replace(indices=None)
    array = np.empty(distinct.rows, object)
    array[:] = [*distinct.iterate_bytes()] if has_bytes else distinct.tolist()
    return array if strings.indices is None else array[strings.indices]


def _list_rows(values: Any) -> list[Any]:
    if not isinstance(values, Ragged):
        listed: list[Any] = values.tolist()
        return listed
    elements = _list_rows(values.values)
    return [elements[start:stop] for start, stop in itertools.pairwise(values.offsets.tolist())]


def read_column(name: str, column: Any) -> ReadColumn:
    """Converts a column that a function returned. Raises DataError if it can't be one."""
    if isinstance(column, list | tuple) and column and all(value is None for value in column):
        return ReadColumn(Strings.from_bytes([b""] * len(column)), np.zeros(len(column), bool), has_type=False)
    values, valid = as_column(name, keep_lists(name, column))
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "OUS" or values.ndim > 1:
        return ReadColumn(values, valid)
    objects = values.tolist()
    if valid is not None:
        objects = [value if known else None for value, known in zip(objects, valid, strict=True)]
    if any(isinstance(value, np.ndarray) for value in objects):  # images of different sizes
        return ReadColumn(values, valid)
    arrow = to_arrow(name, objects)
    values, valid = convert_column(name, arrow, pack_bytes=True)
    return ReadColumn(values, valid, is_bytes(arrow.type), arrow.null_count < len(arrow))


def make_missing(like: Values, rows: int) -> ReadColumn:
    """A column of the type of another one, in which all rows are missing."""
    return ReadColumn(_make_empty(like, rows), np.zeros(rows, bool))


def _make_empty(like: Any, rows: int) -> Values:
    if isinstance(like, Ragged):
        return Ragged(take_rows(like.values, np.zeros(0, np.int64)), np.zeros(rows + 1, np.int64))
    if isinstance(like, Strings):
        return Strings.from_bytes([b""] * rows)
    return np.full((rows, *like.shape[1:]), MISSING.get(like.dtype.kind, 0), like.dtype)


def describe_row_count(name: str, column: ReadColumn) -> str:
    """The number of rows of a column, for messages."""
    count = row_count(column.values)
    return f"`{name}` with {count:,} {'row' if count == 1 else 'rows'}"
