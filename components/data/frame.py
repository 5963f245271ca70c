"""The source for tables from Python: mappings of columns, and data frames."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from components.arrow import convert_column, to_arrow
from components.columns import Columns as RawColumns
from components.columns import as_columns, as_table, columns_by_name, is_table, list_index_levels
from components.data.arrays import list_arrays, update_digest
from components.data.typed_table import NAME_INDEX, TypedTable
from components.types import DataError, TableProfile, Values


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame(TypedTable):
    """A table from Python. Its columns of text are read like those of a CSV file.

    Columns of numbers, booleans and times keep their type, unless `types` lists them. Columns of categories of pandas
    or Polars are text. Columns of arrays, such as images, are kept as they are.

    Attributes:
        columns: a mapping of columns by name, a data frame of pandas, Polars or Arrow, or a table of another library
            with Arrow's PyCapsule interface, such as a relation of DuckDB. A column is anything that NumPy converts to
            an array whose first axis is the rows, `Strings`, `Ragged`, or a column of pandas, Polars or Arrow. An index
            of pandas is a column if it has a name.
        name: the name of the table for messages, a plural.
    """

    has: ClassVar[str] = "have"
    columns: Mapping[str, Any] | Any = None
    name: str = "the data"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", as_table(self.columns))

    def __repr__(self) -> str:
        columns = columns_by_name(self.columns, self.name) if is_table(self.columns) else ()
        return f"Frame({self.name}: {', '.join(columns)})"

    def content_digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name, values in self._raw.values.items():
            masks = [self._raw.valid[name]] if name in self._raw.valid else []
            for array in [*list_arrays(values), *masks]:
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                update_digest(digest, array)
        for name in self._text_decimals:  # float64 has 17 of their digits
            digest.update(f"{name} {self._texts[name].to_pylist()}".encode())
        options = (self._types, self.nulls, self.dates, self.marks, self.decimal, self.thousands, self.drop)
        required = self._targets if self.on_missing_target == "drop" else ()
        zoned = f", {sorted(self._zoned)}" if self._zoned else ""
        return f"{digest.hexdigest()}, {options}, {required}{zoned}"

    @property
    def label(self) -> str:
        return self.name

    @cached_property
    def _stored(self) -> Mapping[str, Any]:
        if not is_table(self.columns):
            found = type(self.columns).__name__
            raise DataError(
                f"{self.name} are of the type {found}. A mapping of columns by name, or a data frame of pandas, Polars "
                "or Arrow is needed."
            )
        levels = list_index_levels(self.columns)
        if len(levels) > 1 and any(name is None for _, name in levels):
            names = ", ".join("without a name" if name is None else f"`{name}`" for _, name in levels)
            raise DataError(
                f"{self.name} have an index with several levels, and not all have a name of their own: {names}. Name "
                "them by `frame.rename_axis([…])`, or drop them by `frame.reset_index(drop=True)`"
            )
        return columns_by_name(self.columns, self.name)

    def profile(self) -> TableProfile:
        profile = super().profile()
        if not any(name is None for _, name in list_index_levels(self.columns)):
            return profile
        note = f"the index is left out: it has no name of its own. {NAME_INDEX}"
        return replace(profile, notes=(*profile.notes, note))

    @cached_property
    def _raw(self) -> RawColumns:
        """The columns as they were passed. Columns of Python's numbers and times have NumPy's types."""
        raw = as_columns(self._stored, self.name, mixed_zones=True)
        if not raw.values:
            raise DataError(f"{self.name} must have columns")
        values, valid = dict(raw.values), dict(raw.valid)
        for name, column in raw.values.items():
            if _has_python_values(column):
                values[name], mask = convert_column(name, to_arrow(name, column))
                valid |= {} if mask is None else {name: mask}
        return RawColumns(values, valid)


def _has_python_values(column: Values) -> bool:
    """Whether a column has Python's objects, other than arrays and bytes, or texts of NumPy."""
    if not isinstance(column, np.ndarray) or column.ndim != 1:
        return False
    if column.dtype.kind in "UT":
        return True
    example = next((value for value in column if value is not None), None) if column.dtype.hasobject else b""
    return not isinstance(example, bytes | np.ndarray | list | tuple | Mapping)
