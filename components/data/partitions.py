"""The columns that folders name, such as `year=2020/month=1`, as Hive, Spark, DuckDB and Arrow write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np

from components.arrow import array_to_arrow
from components.closest import join_names
from components.input_files import data_folders
from components.types import DataError

if TYPE_CHECKING:
    import pyarrow

MISSING = ("", "__HIVE_DEFAULT_PARTITION__")  # the names of a folder for a missing value
PARTITION = re.compile(r"([^=]+)=(.*)", re.DOTALL)
WHOLE_NUMBER = re.compile(r"0|-?[1-9]\d{0,17}")


class Partitions:
    """The columns that the folders of a table's files name. All rows of a file have the same value.

    Attributes:
        values: the value of each column by name, of each file. None: it is missing.

    Raises:
        DataError: a folder of some files, but not of all, names a column.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.values: Sequence[Mapping[str, str | None]] = [_read_folders(file) for file in files]
        for file, values in zip(files, self.values, strict=True):
            if values.keys() != self.values[0].keys():
                name = min(values.keys() ^ self.values[0].keys())
                has, lacks = (file, files[0]) if name in values else (files[0], file)
                raise DataError(
                    f"{has} is in a folder {name}=…, which names a column, but {lacks} isn't. Move it into such a "
                    "folder, or set `path` to the others."
                )

    @property
    def names(self) -> Sequence[str]:
        return [*self.values[0]] if self.values else []

    @cached_property
    def types(self) -> Mapping[str, pyarrow.DataType]:
        """The types of the columns: whole numbers if all values are such, else texts."""
        import pyarrow

        is_whole = {
            name: all(WHOLE_NUMBER.fullmatch(text) for values in self.values if (text := values[name]) is not None)
            for name in self.names
        }
        return {name: pyarrow.int64() if whole else pyarrow.string() for name, whole in is_whole.items()}

    def read(self, name: str, rows: Sequence[int]) -> pyarrow.ChunkedArray:
        """A column, of which each file has some number of rows."""
        import pyarrow

        values = pyarrow.array([each[name] for each in self.values], pyarrow.string()).cast(self.types[name])
        return pyarrow.chunked_array([values.take(array_to_arrow(np.repeat(np.arange(len(rows)), rows)))])

    def describe(self) -> str:
        """The values for a digest; "" if there are none."""
        return f", {[dict(values) for values in self.values]}" if self.names else ""

    def check_names(self, columns: Mapping[str, object] | Sequence[str], label: str) -> None:
        """Raises DataError if a column of the files has the name of such a column."""
        if both := [name for name in self.names if name in columns]:
            raise DataError(
                f"{label}: `{both[0]}` is a column of the files, and a folder is named {both[0]}=…. Rename one of "
                f"them. Columns of the files: {join_names(columns)}."
            )


def _read_folders(file: Path) -> dict[str, str | None]:
    """The columns in the path of a file, from a folder of the data if it is in one."""
    parents = [folder for folder in data_folders() if file.is_relative_to(folder)]
    folders = (file.relative_to(parents[0]) if parents else file).parent.parts
    values: dict[str, str | None] = {}
    for match in filter(None, map(PARTITION.fullmatch, folders)):
        name = unquote(match[1])
        if name in values:
            raise DataError(f"{file} is in two folders that are named {name}=…. Rename one of them.")
        values[name] = None if match[2] in MISSING else unquote(match[2])
    return values
