"""Selects the rows and columns of a CSV file that are used, and finds columns without a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.closest import closest_name, format_name, join_names
from components.types import DataError

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


class Selection(NamedTuple):
    """The rows and columns that are used.

    Attributes:
        table: these rows and columns.
        records: the record of each row; None: all rows are used.
        nameless: the columns without a name.
    """

    table: pyarrow.Table
    records: np.ndarray | None
    nameless: tuple[Nameless, ...]


def select(table: pyarrow.Table, drop: Collection[str], targets: Collection[str]) -> Selection:
    """Selects rows and columns of a table.

    A column without a name is not selected if it has no value, or if another one has the same name.

    Args:
        table: all rows and columns.
        drop: the names of columns that aren't selected.
        targets: the columns of which a row must have a value of at least one. Empty: all rows are selected.
    """
    nameless = tuple(_find_nameless(table, drop))
    repeated = Counter(column.name for column in nameless)
    unusable = {column.position for column in nameless if column.record is None or repeated[column.name] > 1}
    used = [index for index, name in enumerate(table.column_names) if name not in drop and index + 1 not in unusable]
    table, records = _select_rows(table, [name for name in targets if name in table.column_names])
    return Selection(table.select(used), records, nameless)


def check_drop(origin: str, drop: Collection[str], names: Collection[str], targets: Collection[str]) -> None:
    """Raises DataError for a name in `drop` that isn't a column, or is a target."""
    for name in drop:
        if name in targets:
            raise DataError(f"{origin}: `drop` lists the target, {format_name(name)}. Take it out of the list.")
        if name not in names:
            nearest = closest_name(name, names)
            hint = f"Did you mean {format_name(nearest)}? " if nearest is not None else ""
            raise DataError(
                f"{origin} has no column {format_name(name)}, which `drop` lists. {hint}Columns: {join_names(names)}."
            )


def _find_nameless(table: pyarrow.Table, drop: Collection[str]) -> list[Nameless]:
    found = []
    for position, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True), start=1):
        if name.strip() or name in drop:
            continue
        record = None if column.null_count == len(column) else column.is_valid().index(True).as_py()
        found.append(Nameless(name, position, record, None if record is None else column[record].as_py()))
    return found


def _select_rows(table: pyarrow.Table, targets: Sequence[str]) -> tuple[pyarrow.Table, np.ndarray | None]:
    """The rows with a value of at least one target, and their records; None: all rows."""
    from pyarrow import compute

    if not targets or any(not table[name].null_count for name in targets):
        return table, None
    has_target = table[targets[0]].is_valid()
    for name in targets[1:]:
        has_target = compute.or_(has_target, table[name].is_valid())
    if compute.all(has_target).as_py():
        return table, None
    return table.filter(has_target), np.flatnonzero(has_target.to_numpy())
