"""What categorical columns read and give: strings or integers, one of a row, a fixed number of them, or any number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.closest import suggest_name
from components.feature.base.raw import format_value
from components.feature.text.string_ops import (
    compact,
    concatenate_categories,
    format_category,
    is_encodable,
    take,
    to_categories,
    to_strings,
)
from components.types import Block, DataError, Encoded, Ragged, Strings, UserError, Values

NO_ID = np.int32(np.iinfo(np.int32).min)
"""The id of a cell that holds no value: it crosses with nothing, and stands for no bucket."""

Layout = np.ndarray | tuple[int, ...]  # offsets, int64 (rows + 1,), of rows of any length; else (rows,) or (rows, K)


class CategoryValues(NamedTuple):
    """The values of a column one after the other, and how they make up rows."""

    values: Strings | np.ndarray  # integers, int64
    valid_mask: np.ndarray | None  # (values,), bool: which cells hold a value; None: all
    layout: Layout

    def rows(self, values: np.ndarray) -> Encoded:
        """An array with an element for each value, as rows again."""
        return values.reshape(self.layout) if isinstance(self.layout, tuple) else Ragged(values, self.layout)

    def ids(self, found: np.ndarray) -> dict[str, Encoded]:
        """The ids of the values as `ids`, int32: NO_ID where a cell holds none."""
        ids = found.astype(np.int32, copy=False)
        return {"ids": self.rows(ids if self.valid_mask is None else np.where(self.valid_mask, ids, NO_ID))}

    @property
    def total(self) -> int:
        return self.values.rows if isinstance(self.values, Strings) else len(self.values)

    @property
    def empty(self) -> bool:
        """Whether no cell holds a value."""
        return self.total == 0 if self.valid_mask is None else not self.valid_mask.any()

    def row(self, place: int) -> int:
        """The row that a value belongs to."""
        return _row(self.layout, place)


def read_values(
    block: Block,
    key: str,
    parents: Mapping[str, Mapping[str, Values]] | None = None,
    *,
    missing: str | int | None = None,
    empty_is_missing: bool = True,
) -> CategoryValues:
    """The cells of a raw column, or of one of the `parents`.

    A gap is no value, nor is a NO_ID among the ids of a categorical column. As in TensorFlow, "" and -1 hold no value
    where every row has as many cells, unless `blank` is False, and are values where rows have any number of them, or
    are such ids. `missing` stands in for all of those. Raises DataError for other kinds of values.
    """
    arrays = (parents or {}).get(key)
    name, values = next(iter(arrays.items())) if arrays else (key, _raw(block, key))
    layout: Layout
    if isinstance(values, Ragged):
        values, layout = values.values, values.offsets
    else:
        layout = (values.rows,) if isinstance(values, Strings) else values.shape
    valid = None if arrays else block.valid.get(key)
    ids = name == "ids" if arrays else key in block.ids
    read, valid_mask = as_category(values, lambda place: f"{block.where(_row(layout, place))}: column `{key}`")
    if valid is not None and not valid.all():
        valid_mask = _both(valid_mask, np.repeat(valid, _lengths(layout)))
    if ids and not isinstance(read, Strings):
        valid_mask = _both(valid_mask, read != NO_ID)
    elif empty_is_missing and isinstance(layout, tuple):
        valid_mask = _both(valid_mask, _filled(read))
    if valid_mask is not None and valid_mask.all():
        valid_mask = None
    found = CategoryValues(read, valid_mask, layout)
    if valid_mask is None or missing is None:
        return found
    check_category_type(block, key, found, f"missing={missing!r} is of", isinstance(missing, str))
    return CategoryValues(_replaced(found, valid_mask, missing), None, layout)


def check_category_type(block: Block, key: str, found: CategoryValues, what: str, text: bool) -> None:
    """Raises DataError where values are text and what they are compared with isn't, or the other way round."""
    place = 0 if found.valid_mask is None else int(np.argmax(found.valid_mask))
    if found.empty or isinstance(found.values, Strings) == text:
        return
    held, other = ("whole numbers", "text") if text else ("text", "whole numbers")
    value = format_category(found.values, place)
    raise DataError(
        f"column `{key}` of {block.origin} holds {held} ({value!r}), but {what} {other}; both must be of one kind"
    )


def _raw(block: Block, key: str) -> Values:
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}; {suggest_name(key, block.columns)}")
    return block.columns[key]


def _row(layout: Layout, place: int) -> int:
    if isinstance(layout, tuple):
        return place // max(int(np.prod(layout[1:])), 1)
    return int(np.searchsorted(layout, place, side="right")) - 1


def _lengths(layout: Layout) -> Any:
    """How many cells the rows have."""
    return int(np.prod(layout[1:])) if isinstance(layout, tuple) else np.diff(layout)


def _filled(values: Strings | np.ndarray) -> np.ndarray | None:
    if not isinstance(values, Strings):
        return values != -1
    filled = np.diff(values.offsets) > 0
    if filled.all():
        return None
    return filled if values.indices is None else filled[values.indices]


def _both(valid_mask: np.ndarray | None, also: np.ndarray | None) -> np.ndarray | None:
    return also if valid_mask is None else valid_mask if also is None else valid_mask & also


def _replaced(found: CategoryValues, valid_mask: np.ndarray, missing: str | int) -> Strings | np.ndarray:
    if found.empty:
        return take(to_categories([missing]), np.zeros(len(valid_mask), np.int64))
    if not isinstance(found.values, Strings):
        return np.where(valid_mask, found.values, np.int64(missing))
    distinct, inverse = compact(found.values)
    places = np.arange(len(valid_mask)) if inverse is None else inverse
    more = concatenate_categories(distinct, to_strings([str(missing)]))
    assert isinstance(more, Strings)
    return more._replace(indices=np.where(valid_mask, places, len(distinct.offsets) - 1))


LARGEST = 1 << 63
NEEDED = "a category is text or a whole number from -2**63 to 2**63 - 1 (Bucketized makes one of any number)"
ONE_KIND = f"{NEEDED}, or None for a gap, all of one kind"

Where: TypeAlias = Callable[[int], str]  # names a value for a message


def as_category(values: Any, where: Where) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Values as strings or int64, one after the other, and which of them are there; None: all.

    Bytes are text in UTF-8. Raises DataError for other kinds of values, and for text that has no UTF-8.
    """
    if isinstance(values, Strings):
        empty = values.indices is not None and len(values.offsets) < 2  # the dictionary of a column of gaps alone
        return (values._replace(offsets=np.zeros(2, np.int64)) if empty else values), None
    flat = values.reshape(-1)
    if flat.dtype.hasobject or flat.dtype.kind in "US":
        return _objects(flat.tolist(), where)
    if not len(flat):
        return np.zeros(0, np.int64), None
    large = flat.dtype == np.uint64 and bool((flat >> np.uint64(63)).any())
    if flat.dtype.kind not in "biu" or large:
        place = int(np.argmax(flat)) if large else 0
        raise DataError(f"{where(place)} is {format_value(flat[place])} ({flat.dtype}); {NEEDED}")
    return flat.astype(np.int64, copy=False), None


def _objects(values: list[Any], where: Where) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Python's strings, bytes or integers, and NumPy's, with None for gaps."""
    kinds = set(map(type, values))
    valid_mask = np.array([value is not None for value in values], bool) if NoneType in kinds else None
    if not any(issubclass(kind, str | bytes) for kind in kinds):
        return np.array([_integer(value, place, where) for place, value in enumerate(values)], np.int64), valid_mask
    if kinds <= {str, NoneType}:
        texts = [value or "" for value in values]
    else:
        texts = [_text(value, place, where) for place, value in enumerate(values)]
    try:
        return to_strings(texts), valid_mask
    except UserError as error:
        place = next(place for place, text in enumerate(texts) if not is_encodable(text))
        raise DataError(f"{where(place)} is {format_value(texts[place])}, which has no UTF-8; mend it") from error


def _integer(value: Any, place: int, where: Where) -> int:
    if value is None:
        return 0
    if isinstance(value, int | np.integer | np.bool_) and -LARGEST <= int(value) < LARGEST:
        return int(value)
    raise DataError(f"{where(place)} is {format_value(value)}; {ONE_KIND}")


def _text(value: Any, place: int, where: Where) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if not isinstance(value, bytes):
        raise DataError(f"{where(place)} is {format_value(value)} among text; {ONE_KIND}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        fault = "which isn't UTF-8; decode it before, by the encoding that it is in"
        raise DataError(f"{where(place)} is {format_value(value)}, {fault}") from error
