"""Selects the rows and columns of a CSV file that are used, and describes columns without a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.arrow import array_to_arrow, read_strings, strings_to_arrow
from components.ragged import select_lists
from components.types import Ragged, Strings

if TYPE_CHECKING:
    import pyarrow

MAX_LISTED = 5  # positions in a message


class Nameless(NamedTuple):
    """A column whose name is empty or blank.

    Attributes:
        name: its name, "" or blanks.
        position: its position among the columns, from 1.
        record: the record of its first value, from 0 for the first row; None: it has no value.
        example: this value.
    """

    name: str
    position: int
    record: int | None
    example: object


def select_columns(table: pyarrow.Table, drop: Collection[str]) -> tuple[pyarrow.Table, tuple[Nameless, ...]]:
    """Selects the columns of a table that are used, and describes those without a name.

    A column without a name is not selected if it has no value, or if another one has the same name.

    Args:
        table: all columns.
        drop: the names of columns that aren't selected.
    """
    nameless = tuple(_find_nameless(table, drop))
    repeated = Counter(column.name for column in nameless)
    unusable = {column.position for column in nameless if column.record is None or repeated[column.name] > 1}
    used = [index for index, name in enumerate(table.column_names) if name not in drop and index + 1 not in unusable]
    return table.select(used), nameless


def find_rows_with_target(valid: Mapping[str, np.ndarray], targets: Collection[str]) -> np.ndarray | None:
    """The rows with a value of at least one target, from 0. None: all rows.

    Args:
        valid: the masks of the columns with missing values.
        targets: the names of the targets.
    """
    if not targets or any(name not in valid for name in targets):
        return None
    return np.flatnonzero(np.logical_or.reduce([valid[name] for name in targets]))


def take_rows(values: Any, rows: np.ndarray) -> Any:
    """Some rows of a column. A dictionary of strings keeps only the strings of these rows."""
    if isinstance(values, Ragged):
        elements, offsets = select_lists(values.offsets, rows)
        return Ragged(take_rows(values.values, elements), offsets)
    if not isinstance(values, Strings):
        return values[rows]
    if values.indices is None:
        return read_strings(strings_to_arrow(values).take(array_to_arrow(rows)))
    used, indices = np.unique(values.indices[rows], return_inverse=True)
    return take_rows(values._replace(indices=None), used)._replace(indices=indices)


def _find_nameless(table: pyarrow.Table, drop: Collection[str]) -> list[Nameless]:
    found = []
    for position, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True), start=1):
        if name.strip() or name in drop:
            continue
        record = None if column.null_count == len(column) else column.is_valid().index(True).as_py()
        found.append(Nameless(name, position, record, None if record is None else column[record].as_py()))
    return found
