"""Rows per second of categorical columns, from Arrow's blocks to the arrays that a step takes.

    python benchmarks/columns.py [rounds] [housing.csv or nothing: $TITRATE_DATA/california_housing/housing.csv]
    smallest: 1

The columns are those of tf.feature_column's benchmark: a standardized income, six buckets of age, ocean's vocabulary,
age x ocean in 100 buckets, and latitude x longitude, 20 buckets each, in 1,000. Prints the best and the median of the
rounds, one that isn't counted before; the kinds take turns, so that a busy machine slows all alike. `repeated` strings
are dictionary-encoded by Arrow, `plain` ones are not; `x 1` is the file once, `x 10` ten times, as elsewhere.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.feature.bucketized import Bucketized
from components.feature.crossed import Crossed
from components.feature.numeric import Numeric
from components.feature.vocabulary import Vocabulary
from components.types import Block, Strings
from runner.data.encode import encode_source

OCEAN = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
NUMBERS = {"income": "median_income", "age": "housing_median_age", "lat": "latitude", "lon": "longitude"}
COLUMNS: dict[str, Any] = {
    "income": Numeric(key="income", normalize="z_score"),
    "age_bucket": Bucketized(key="age", boundaries=(10.0, 20.0, 30.0, 40.0, 50.0)),
    "kind": Vocabulary(key="ocean", values=OCEAN),
    "age_x_ocean": Crossed(keys=("age_bucket", "kind"), buckets=100),
    "lat_bucket": Bucketized(key="lat", boundaries=tuple(np.linspace(32, 42, 19).tolist())),
    "lon_bucket": Bucketized(key="lon", boundaries=tuple(np.linspace(-125, -114, 19).tolist())),
    "place": Crossed(keys=("lat_bucket", "lon_bucket"), buckets=1000),
}
KEPT = ("income", "age_bucket", "kind", "age_x_ocean", "place")


class Rows:
    """The file, so many times over, in blocks of a size."""

    def __init__(self, table: pa.Table, size: int) -> None:
        self.rows = len(table)
        self.parts = [_block(batch) for batch in table.combine_chunks().to_batches(max_chunksize=size)]

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.rows}

    def blocks(self, part: str) -> Iterator[Block]:
        return iter(self.parts)


def _block(batch: pa.RecordBatch) -> Block:
    columns: dict[str, Any] = {name: batch[key].to_numpy() for name, key in NUMBERS.items()}
    return Block({**columns, "ocean": _strings(batch["ocean_proximity"])})


def _strings(column: Any) -> Strings:
    if isinstance(column, pa.DictionaryArray):
        return _strings(column.dictionary)._replace(indices=column.indices.to_numpy())
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return Strings(np.frombuffer(data, np.uint8), bounds.astype(np.int64))


def _constants(rows: Rows) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in COLUMNS.items():
        states = [[one.summarize(block) for block in rows.parts] for one in column.statistics().values()]
        merged = [_merged(one, of) for one, of in zip(column.statistics().values(), states, strict=True)]
        parents = {key: found[key] for key in column.keys if key in found}
        found[name] = column.fit(dict(zip(column.statistics(), merged, strict=True)), parents)
    return found


def _merged(statistic: Any, states: list[Any]) -> Any:
    *_, total = itertools.accumulate(states, statistic.merge)
    return statistic.result(total)


def main(rounds: int = 9, path: str | None = None) -> None:
    table = pyarrow.csv.read_csv(path or Path(os.environ["TITRATE_DATA"], "california_housing", "housing.csv"))
    place = table.schema.get_field_index("ocean_proximity")
    repeated = table.set_column(place, "ocean_proximity", table["ocean_proximity"].dictionary_encode())
    timed: dict[str, tuple[Rows, int]] = {}
    for size, strings, copies in (
        (8192, repeated, 10),
        (8192, repeated, 1),
        (8192, table, 10),
        (8192, table, 1),
        (32, repeated, 1),
        (32, table, 1),
    ):
        rows = Rows(pa.concat_tables([strings] * copies).unify_dictionaries(), size)
        kind = f"{'repeated' if strings is repeated else 'plain':8} x {copies:<2}"
        timed |= {f"blocks of {size:4}, {kind}, {workers} workers": (rows, workers) for workers in (1, 2)}
    constants = _constants(timed[next(iter(timed))][0])
    rates: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, (rows, workers) in timed.items():
            begun = time.perf_counter()
            encode_source(rows, COLUMNS, constants, KEPT, workers=workers)  # type: ignore[arg-type]
            if number:
                rates[name].append(rows.rows / (time.perf_counter() - begun) / 1e6)
    for name, of in rates.items():
        print(f"{name}: best {max(of):6.2f}  median {statistics.median(of):6.2f} million rows a second")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
