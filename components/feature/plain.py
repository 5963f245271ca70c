"""Values of any kind as strings or integers of 64 bits: what a category can be."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, TypeAlias

import numpy as np

from components.feature.raw import show
from components.feature.strings import encodable, to_strings
from components.types import DataError, Strings, UserError

LARGEST = 1 << 63
NEEDED = "a category is text or a whole number from -2**63 to 2**63 - 1 (Bucketized makes one of any number)"
ONE_KIND = f"{NEEDED}, or None for a gap, all of one kind"

Where: TypeAlias = Callable[[int], str]  # names a value for a message


def plain(values: Any, where: Where) -> tuple[Strings | np.ndarray, np.ndarray | None]:
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
        raise DataError(f"{where(place)} is {show(flat[place])} ({flat.dtype}); {NEEDED}")
    return flat.astype(np.int64, copy=False), None


def _objects(values: list[Any], where: Where) -> tuple[Strings | np.ndarray, np.ndarray | None]:
    """Python's strings, bytes or integers, and NumPy's, with None for gaps."""
    kinds = set(map(type, values))
    there = np.array([value is not None for value in values], bool) if NoneType in kinds else None
    if not any(issubclass(kind, str | bytes) for kind in kinds):
        return np.array([_integer(value, place, where) for place, value in enumerate(values)], np.int64), there
    if kinds <= {str, NoneType}:
        texts = [value or "" for value in values]
    else:
        texts = [_text(value, place, where) for place, value in enumerate(values)]
    try:
        return to_strings(texts), there
    except UserError as error:
        place = next(place for place, text in enumerate(texts) if not encodable(text))
        raise DataError(f"{where(place)} is {show(texts[place])}, which has no UTF-8; mend it") from error


def _integer(value: Any, place: int, where: Where) -> int:
    if value is None:
        return 0
    if isinstance(value, int | np.integer | np.bool_) and -LARGEST <= int(value) < LARGEST:
        return int(value)
    raise DataError(f"{where(place)} is {show(value)}; {ONE_KIND}")


def _text(value: Any, place: int, where: Where) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if not isinstance(value, bytes):
        raise DataError(f"{where(place)} is {show(value)} among text; {ONE_KIND}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        fault = "which isn't UTF-8; decode it before, by the encoding that it is in"
        raise DataError(f"{where(place)} is {show(value)}, {fault}") from error
