"""The types of the columns of a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from components.arrow import convert_numbers, read_valid_mask
from components.types import ColumnType, Values

if TYPE_CHECKING:
    import pyarrow

PIECE_ROWS = 2**16  # rows that are compared at a time: most columns need no more, and none needs much memory


def convert_type(kind: pyarrow.DataType) -> ColumnType:
    """Converts a type of Arrow."""
    import pyarrow

    types = pyarrow.types
    if types.is_string(kind):
        return "string"
    if types.is_boolean(kind):
        return "bool"
    if can_be_timestamp(kind):
        return "timestamp"
    return "int" if types.is_integer(kind) else "float"


def can_be_timestamp(kind: pyarrow.DataType) -> bool:
    """Whether a column of this Arrow type can be read as timestamps. Null, the type of a column without values, can."""
    import pyarrow

    return pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) or pyarrow.types.is_null(kind)


def has_wrong_years(column: pyarrow.ChunkedArray) -> bool:
    """Whether some times are before the year 1 or after 9999, which Arrow accepts."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    if not (types.is_date(column.type) or types.is_timestamp(column.type)) or column.null_count == len(column):
        return False
    return compute.year(compute.min(column)).as_py() < 1 or compute.year(compute.max(column)).as_py() > 9999


def are_whole(column: pyarrow.ChunkedArray) -> bool:
    """Whether all numbers are whole, as float64, or infinite. Missing values and NaN don't count."""
    count = 0
    for numbers in _iterate_numbers(column):
        if (numbers != np.floor(numbers)).any():
            return False
        count += len(numbers)
    return count > 0


def may_have_thousands(column: pyarrow.ChunkedArray) -> bool:
    """Whether the points in a column of floats may separate thousands, as in 1.234 and 56.

    Then the numbers without a point are below 1,000, and all others have three decimals and are at least 1.
    """
    import pyarrow

    if not pyarrow.types.is_floating(column.type):
        return False
    whole = fractions = 0
    for numbers in _iterate_numbers(column):
        sizes = np.abs(numbers)
        parts = sizes[sizes != np.floor(sizes)]
        if (sizes >= 1000).any() or (parts <= 1).any() or has_decimal_point(parts):
            return False
        whole += len(sizes) - len(parts)
        fractions += len(parts)
    return whole > 0 and fractions > 0


def _iterate_numbers(column: pyarrow.ChunkedArray) -> Iterator[np.ndarray]:
    """The numbers of a column as float64, piece by piece, without missing values and NaN."""
    for first in range(0, len(column), PIECE_ROWS):
        piece = column.slice(first, PIECE_ROWS)
        values = convert_numbers(piece, "f8", read_valid_mask(piece), np.nan)
        yield values[~np.isnan(values)]


def has_decimal_point(values: Values) -> bool:
    """Whether some number is below 1 or doesn't have exactly three decimals, so that its point separates decimals."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        return False
    return any(_has_decimal_point(values[first : first + PIECE_ROWS]) for first in range(0, len(values), PIECE_ROWS))


def _has_decimal_point(values: np.ndarray) -> bool:
    sizes = np.abs(values[np.isfinite(values)])
    sizes = sizes[sizes != np.floor(sizes)]
    thousandths = sizes * 1000
    return bool(((sizes < 1) | (np.abs(thousandths - np.round(thousandths)) > 1e-9 * thousandths)).any())
