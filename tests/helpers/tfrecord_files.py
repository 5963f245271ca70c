"""TFRecord files in tests."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from components.data import TableFile
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import write_records
from components.data.tfrecord.serialize import serialize_examples
from components.types import Ragged, Strings

KINDS = {"int64": np.int64, "float": np.float32}


def open_table(path: Path | str, **options: Any) -> Any:
    return TableFile(path=str(path), **options).open()


def pack(columns: dict[str, tuple[Any, list[list[Any]]]]) -> bytes:
    """The bytes of a TFRecord file with the values of each row, by feature."""
    features = {}
    for name, (kind, rows) in columns.items():
        values = [value for row in rows for value in row]
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        stored = Strings.from_bytes(values) if kind == "bytes" else np.array(values, KINDS[kind])
        features[name] = Feature(kind, stored, offsets)
    count = len(next(iter(columns.values()))[1])
    file = io.BytesIO()
    write_records(file, serialize_examples(features, count).tolist())
    return file.getvalue()


def write_raw(path: Path, records: list[bytes]) -> Path:
    """Writes records, and returns the path."""
    file = io.BytesIO()
    write_records(file, records)
    path.write_bytes(file.getvalue())
    return path


def read_values(values: Any) -> Any:
    """The values of a column as lists. Texts are bytes."""
    if isinstance(values, Ragged):
        inner, bounds = read_values(values.values), values.offsets.tolist()
        return [inner[start:stop] for start, stop in itertools.pairwise(bounds)]
    return [*values.iterate_bytes()] if isinstance(values, Strings) else values.tolist()
