"""What categorical columns read and give: strings or integers, one of a row, a fixed number of them, or any number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from components.closest import suggest_name
from components.feature.plain import plain
from components.feature.strings import categories, compact, shown, take, to_strings, together
from components.types import Block, DataError, Encoded, Ragged, Strings, Values

NO_ID = np.int32(np.iinfo(np.int32).min)
"""The id of a cell that holds no value: it crosses with nothing, and stands for no bucket."""

Form = np.ndarray | tuple[int, ...]  # offsets, int64 (rows + 1,), of rows of any length; else (rows,) or (rows, K)


class Cells(NamedTuple):
    """The values of a column one after the other, and how they make up rows."""

    values: Strings | np.ndarray  # integers, int64
    there: np.ndarray | None  # (values,), bool: which cells hold a value; None: all
    form: Form

    def rows(self, values: np.ndarray) -> Encoded:
        """An array with an element for each value, as rows again."""
        return values.reshape(self.form) if isinstance(self.form, tuple) else Ragged(values, self.form)

    def ids(self, found: np.ndarray) -> dict[str, Encoded]:
        """The ids of the values as `ids`, int32: NO_ID where a cell holds none."""
        ids = found.astype(np.int32, copy=False)
        return {"ids": self.rows(ids if self.there is None else np.where(self.there, ids, NO_ID))}

    @property
    def total(self) -> int:
        return self.values.rows if isinstance(self.values, Strings) else len(self.values)

    @property
    def empty(self) -> bool:
        """Whether no cell holds a value."""
        return self.total == 0 if self.there is None else not self.there.any()

    def row(self, place: int) -> int:
        """The row that a value belongs to."""
        return _row(self.form, place)


def cells(
    block: Block,
    key: str,
    parents: Mapping[str, Mapping[str, Values]] | None = None,
    *,
    missing: str | int | None = None,
    blank: bool = True,
) -> Cells:
    """The cells of a raw column, or of one of the `parents`.

    A gap is no value, nor is a NO_ID among the ids of a categorical column. As in TensorFlow, "" and -1 hold no value
    where every row has as many cells, unless `blank` is False, and are values where rows have any number of them, or
    are such ids. `missing` stands in for all of those. Raises DataError for other kinds of values.
    """
    arrays = (parents or {}).get(key)
    name, values = next(iter(arrays.items())) if arrays else (key, _raw(block, key))
    form: Form
    if isinstance(values, Ragged):
        values, form = values.values, values.offsets
    else:
        form = (values.rows,) if isinstance(values, Strings) else values.shape
    valid = None if arrays else block.valid.get(key)
    ids = name == "ids" if arrays else key in block.ids
    read, there = plain(values, lambda place: f"{block.where(_row(form, place))}: column `{key}`")
    if valid is not None and not valid.all():
        there = _both(there, np.repeat(valid, _lengths(form)))
    if ids and not isinstance(read, Strings):
        there = _both(there, read != NO_ID)
    elif blank and isinstance(form, tuple):
        there = _both(there, _filled(read))
    if there is not None and there.all():
        there = None
    found = Cells(read, there, form)
    if there is None or missing is None:
        return found
    check_kind(block, key, found, f"missing={missing!r} is of", isinstance(missing, str))
    return Cells(_replaced(found, there, missing), None, form)


def check_kind(block: Block, key: str, found: Cells, what: str, text: bool) -> None:
    """Raises DataError where values are text and what they are compared with isn't, or the other way round."""
    place = 0 if found.there is None else int(np.argmax(found.there))
    if found.empty or isinstance(found.values, Strings) == text:
        return
    held, other = ("whole numbers", "text") if text else ("text", "whole numbers")
    raise DataError(
        f"column `{key}` of {block.origin} holds {held} ({shown(found.values, place)!r}), but {what} {other}; "
        "both must be of one kind"
    )


def _raw(block: Block, key: str) -> Values:
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}; {suggest_name(key, block.columns)}")
    return block.columns[key]


def _row(form: Form, place: int) -> int:
    if isinstance(form, tuple):
        return place // max(int(np.prod(form[1:])), 1)
    return int(np.searchsorted(form, place, side="right")) - 1


def _lengths(form: Form) -> Any:
    """How many cells the rows have."""
    return int(np.prod(form[1:])) if isinstance(form, tuple) else np.diff(form)


def _filled(values: Strings | np.ndarray) -> np.ndarray | None:
    if not isinstance(values, Strings):
        return values != -1
    filled = np.diff(values.offsets) > 0
    if filled.all():
        return None
    return filled if values.indices is None else filled[values.indices]


def _both(there: np.ndarray | None, also: np.ndarray | None) -> np.ndarray | None:
    return also if there is None else there if also is None else there & also


def _replaced(found: Cells, there: np.ndarray, missing: str | int) -> Strings | np.ndarray:
    if found.empty:
        return take(categories([missing]), np.zeros(len(there), np.int64))
    if not isinstance(found.values, Strings):
        return np.where(there, found.values, np.int64(missing))
    distinct, inverse = compact(found.values)
    places = np.arange(len(there)) if inverse is None else inverse
    more = together(distinct, to_strings([str(missing)]))
    assert isinstance(more, Strings)
    return more._replace(indices=np.where(there, places, len(distinct.offsets) - 1))
