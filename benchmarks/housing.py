"""California housing in memory, and feature columns for it. The benchmarks import this file; it measures nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.feature import Bucketized, Crossed, Numeric, Vocabulary
from components.types import Block, Strings

NUMBERS = {"income": "median_income", "age": "housing_median_age", "lat": "latitude", "lon": "longitude"}
OCEAN = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
# The columns of tf.feature_column's own benchmark.
COLUMNS: dict[str, Any] = {
    "income": Numeric(key="income", normalize="z_score"),
    "age_bucket": Bucketized(key="age", boundaries=(10.0, 20.0, 30.0, 40.0, 50.0)),
    "kind": Vocabulary(key="ocean", values=OCEAN),
    "age_x_ocean": Crossed(keys=("age_bucket", "kind"), buckets=100),
    "lat_bucket": Bucketized(key="lat", boundaries=tuple(np.linspace(32, 42, 19).tolist())),
    "lon_bucket": Bucketized(key="lon", boundaries=tuple(np.linspace(-125, -114, 19).tolist())),
    "place": Crossed(keys=("lat_bucket", "lon_bucket"), buckets=1000),
}


def read_housing(copies: int, path: str | None = None, *, dictionary: bool = True) -> dict[str, Any]:
    """Reads the columns that `COLUMNS` needs, and makes up a label.

    Args:
        copies: how many times the rows of the file are repeated.
        path: a CSV file; by default `$TITRATE_DATA/california_housing/housing.csv`.
        dictionary: whether the strings of `ocean` are dictionary-encoded.
    """
    table = pyarrow.csv.read_csv(path or Path(os.environ["TITRATE_DATA"], "california_housing", "housing.csv"))
    table = pa.concat_tables([table] * copies).combine_chunks()
    ocean = table["ocean_proximity"].cast(pa.large_string()).combine_chunks()
    numbers = {name: table[header].to_numpy() for name, header in NUMBERS.items()}
    return numbers | {"ocean": _to_strings(ocean, dictionary), "label": np.arange(len(table)) % 2}


def _to_strings(array: pa.LargeStringArray, dictionary: bool) -> Strings:
    indices = None
    if dictionary:
        encoded = array.dictionary_encode()
        array, indices = encoded.dictionary, encoded.indices.to_numpy()
    _, offsets, data = array.buffers()
    return Strings(np.frombuffer(data, np.uint8), np.frombuffer(offsets, np.int64)[: len(array) + 1], indices)


class HousingSource:
    """A source whose rows are all in the part `all` and in the training split.

    Attributes:
        rows: the number of rows.
    """

    def __init__(self, columns: Mapping[str, Any], block_rows: int) -> None:
        self.rows = len(columns["label"])
        self._blocks = []
        for first in range(0, self.rows, block_rows):
            rows = slice(first, first + block_rows)
            self._blocks.append(
                Block({name: _slice(column, rows) for name, column in columns.items()}, first_row=first)
            )

    def fingerprint(self) -> str:
        return "housing"

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.rows}

    def blocks(self, part: str) -> Iterator[Block]:
        return iter(self._blocks)

    def splits(self) -> Mapping[str, np.ndarray]:
        return {"train": np.arange(self.rows)}


def _slice(column: Any, rows: slice) -> Any:
    if not isinstance(column, Strings):
        return column[rows]
    if column.indices is None:
        return column._replace(offsets=column.offsets[rows.start : rows.stop + 1])
    return column._replace(indices=column.indices[rows])
