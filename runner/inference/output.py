"""Tables as files, in a format that the suffix of their name says: there whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from components.closest import suggest_name
from components.types import UserError
from runner.files import replacing

Columns = Mapping[str, np.ndarray]  # each (rows,)


def check_output_path(path: Path) -> None:
    """Raises UserError where a table can't be written to a path."""
    if path.suffix not in WRITERS:
        found = f"{path.suffix} is no format" if path.suffix else "its name must end with its format"
        raise UserError(f"output={path}: {found}; {suggest_name(path.suffix, WRITERS)}")
    if path.exists():
        raise UserError(f"output={path} is there already; remove it, or choose another name")
    if not path.parent.is_dir():
        raise UserError(f"output={path}: there is no folder {path.parent}; make it first, or choose another")


def write_table(path: Path, columns: Columns) -> None:
    """Writes a table to a path that `check` allows; raises UserError where that can't be done."""
    try:
        with replacing(path, path.with_name(f".{path.name}.{os.getpid()}.tmp")) as file:
            WRITERS[path.suffix](columns, file)
    except OSError as error:
        raise UserError(f"output={path} can't be written ({error.strerror or error}); choose another place") from error


def _csv(columns: Columns, file: BinaryIO) -> None:
    from pyarrow import csv

    csv.write_csv(_table(columns), file)


def _parquet(columns: Columns, file: BinaryIO) -> None:
    from pyarrow import parquet

    parquet.write_table(_table(columns), file)


def _json(columns: Columns, file: BinaryIO) -> None:
    """A list of records; null stands for what isn't finite, which JSON can't say."""
    lists = [_plain(values) for values in columns.values()]
    records = (json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False) for row in zip(*lists, strict=True))
    file.write(b"[" + ",\n".join(records).encode() + b"]\n")


WRITERS: dict[str, Callable[[Columns, BinaryIO], None]] = {".csv": _csv, ".parquet": _parquet, ".json": _json}


def _table(columns: Columns) -> Any:
    import pyarrow

    return pyarrow.table(dict(columns))


def _plain(values: np.ndarray) -> list[Any]:
    """As JSON's own values: a float as the shortest decimal that is it, in its own precision."""
    if values.dtype.kind != "f":
        return values.tolist()
    shortest = values.astype(str).astype(np.float64)
    return [number if math.isfinite(number) else None for number in shortest.tolist()]
