"""The columns that decide about splits: classes, groups, keys, times and names of splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from components.arrow import convert_column, is_bytes, read_dictionary, read_strings, to_arrow
from components.closest import suggest_name
from components.types import DataError, Strings


class KeyColumn(NamedTuple):
    """A column that decides about splits.

    Attributes:
        option: the option that names it.
        name: its name.
        values: numbers, booleans, times, `Strings`, or bytes.
        valid: (rows,), bool: False where a value is missing.
    """

    option: str
    name: str
    values: np.ndarray | Strings
    valid: np.ndarray

    def __str__(self) -> str:
        return f"`{self.option}` (={self.name})"

    def number_values(self) -> tuple[list[Any], np.ndarray]:
        """The different values, and the position of each row's value among them. A missing value is the last, None."""
        if isinstance(self.values, Strings):
            values, ids = read_dictionary(to_arrow(self.name, self.values))
        else:
            distinct, ids = np.unique(self.values, return_inverse=True)
            values = distinct.tolist()
        if self.valid.all():
            return values, ids
        # Values of missing rows alone are left out.
        used, ids = np.unique(np.where(self.valid, ids, len(values)), return_inverse=True)
        return [[*values, None][position] for position in used.tolist()], ids

    def find_values(self, wanted: Sequence[str | float | bool], *, check: bool = True) -> np.ndarray:
        """Which rows have one of some values, (rows,), bool. If `check`, raises DataError for a value of no row."""
        values, ids = self.number_values()
        found = [None if value is None else format_key(value) for value in values]
        keys = [format_key(value) for value in wanted]
        if check and (unknown := [key for key in keys if key not in found]):
            hint = suggest_name(unknown[0], [value for value in found if value is not None])
            raise DataError(f"`{self.option}` lists {unknown[0]}, but column `{self.name}` has no such value. {hint}")
        return np.array([value in keys for value in found], bool)[ids] & self.valid

    def as_texts(self) -> Strings:
        """The values as texts. Whole numbers have no decimals, so that a key stays the same as others are added."""
        values = self.values
        if isinstance(values, Strings):
            return values
        import pyarrow
        import pyarrow.compute as compute

        if values.dtype.kind == "M":
            values = values.astype("M8[us]")
        column = to_arrow(self.name, values)
        if is_bytes(column.type):  # which needn't be UTF-8
            return read_strings(column)
        texts = column.cast(pyarrow.large_string())
        if values.dtype.kind == "f":  # Arrow writes 1e16 as 1e+16
            whole = (values == np.floor(values)) & (np.abs(values) < 2**63)
            integers = pyarrow.array(np.where(whole, values, 0).astype(np.int64)).cast(pyarrow.large_string())
            texts = compute.if_else(pyarrow.array(whole), integers, texts)
        return read_strings(texts)


def join_parts(option: str, name: str, parts: Sequence[tuple[Any, np.ndarray]]) -> KeyColumn:
    """A column of several parts.

    Args:
        option: the option that names it.
        name: its name.
        parts: its values and its mask in each part.
    """
    columns, masks = [], []
    for values, valid in parts:
        if isinstance(values, np.ndarray) and values.dtype.kind in "OU":
            values, mask = convert_column(name, to_arrow(name, values))
            valid = valid if mask is None else valid & mask
            if mask is not None and isinstance(values, np.ndarray) and values.dtype.hasobject:
                values = np.where(mask, values, b"")  # bytes can't be compared with None
        if isinstance(values, np.ndarray) and values.dtype.kind in "fM":
            valid = valid & (values == values)  # NaN and NaT differ from themselves
        columns.append(values)
        masks.append(valid)
    return KeyColumn(option, name, _join(name, columns), np.concatenate(masks))


def format_key(value: object) -> str:
    """A value as a text: `0` for 0, 0.0 and "0", `true` for True."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _join(name: str, columns: Sequence[Any]) -> np.ndarray | Strings:
    if len(columns) == 1:
        return columns[0]
    if not any(isinstance(column, Strings) for column in columns):
        return np.concatenate(columns)
    import pyarrow

    chunks = [chunk for column in columns for chunk in to_arrow(name, column).cast(pyarrow.large_string()).chunks]
    values, _ = convert_column(name, pyarrow.chunked_array(chunks))
    assert isinstance(values, Strings)
    return values
