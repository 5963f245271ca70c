"""Writes a table as a CSV, Parquet or JSON file, by the suffix of its name, atomically."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from components.types import UserError
from runner.files import replace_atomically

Columns = Mapping[str, np.ndarray]  # each (rows,); an array of objects may hold lists
LIST_SEPARATOR = "|"  # in CSV files


def write_table(path: Path, columns: Columns) -> None:
    """Writes a table to a path that `check_output` accepts. Raises UserError if writing fails."""
    try:
        with replace_atomically(path, path.with_name(f".{path.name}.{os.getpid()}.tmp")) as file:
            WRITERS[path.suffix](columns, file)
    except OSError as error:
        raise UserError(f"output={path} can't be written: {error.strerror or error}. Choose another path.") from error


def _write_csv(columns: Columns, file: BinaryIO) -> None:
    from pyarrow import csv

    csv.write_csv(_to_arrow({name: _join_lists(values) for name, values in columns.items()}), file)


def _write_parquet(columns: Columns, file: BinaryIO) -> None:
    from pyarrow import parquet

    parquet.write_table(_to_arrow(columns), file)


def _write_json(columns: Columns, file: BinaryIO) -> None:
    """Writes a list of records, with null in place of NaN and infinity, which JSON can't express."""
    rows = zip(*(_to_json_values(values) for values in columns.values()), strict=True)
    records = (json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False) for row in rows)
    file.write(b"[" + ",\n".join(records).encode() + b"]\n")


WRITERS: dict[str, Callable[[Columns, BinaryIO], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
}


def _to_arrow(columns: Columns) -> Any:
    import pyarrow

    return pyarrow.table(dict(columns))


def _join_lists(values: np.ndarray) -> np.ndarray:
    """Joins lists to texts, which CSV can express: ["a", "b"] becomes "a|b". Raises UserError for a text with "|"."""
    lists = [value for value in values.tolist() if isinstance(value, list)] if values.dtype.hasobject else []
    if not lists:
        return values
    if ambiguous := [text for value in lists for text in value if LIST_SEPARATOR in str(text)]:
        raise UserError(
            f"the class {ambiguous[0]!r} has the separator of lists in CSV files, {LIST_SEPARATOR}. "
            "Write a .json or .parquet file instead."
        )
    joined = [LIST_SEPARATOR.join(map(str, value)) if isinstance(value, list) else value for value in values]
    return np.array(joined, object)


def _to_json_values(values: np.ndarray) -> list[Any]:
    """The values for JSON. A float32 such as 0.1 becomes 0.1, the shortest decimal that is the same float32.

    A time becomes a text such as 2024-01-31T12:00:00.
    """
    if values.dtype.kind == "M":
        return [None if text == "NaT" else text for text in np.datetime_as_string(values).tolist()]
    if values.dtype.kind != "f":
        return values.tolist()
    shortest = values.astype(str).astype(np.float64)
    return [number if math.isfinite(number) else None for number in shortest.tolist()]
