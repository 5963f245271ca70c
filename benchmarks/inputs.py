"""Rows per second of the housing columns, from blocks to the dense inputs of a step.

    TITRATE_DATA=folder python benchmarks/inputs.py [copies] [rounds] [word of a peer's command ...]
    smallest: 1 1

The file is california_housing/housing.csv, ten times over, or as many times as said. The columns: a standardized
income, six buckets of age, ocean's vocabulary, age x ocean in 100 buckets, and latitude x longitude in 1,000,
embedded in 8. Rows are encoded once, in blocks of 131,072; then the compiled step gathers a batch and makes one dense
array of it, many batches a dispatch, as in training. A peer's command, which does the like with tf.feature_column, is
run before and after ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.csv
from flax import linen as nn

from components.feature import Bucketized, Crossed, Embedding, Label, Numeric, Vocabulary
from components.types import Block, Output, Strings
from runner.data.encode import TARGET, encode_source
from runner.data.load import Data, Features, load_encoded, program_column_names, used_columns
from runner.platform import cores
from runner.program.model import Model

BLOCK_ROWS = 1 << 17
OCEAN = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
GRID = {"lat": (32.0, 42.0), "lon": (-125.0, -114.0)}
INPUT = ("income", "age_bucket", "kind", "age_x_ocean", "place_embedding")


@dataclass(frozen=True, eq=False)
class Housing:
    """The rows as blocks."""

    columns: Mapping[str, Any]

    def fingerprint(self) -> str:
        return "housing"

    def sizes(self) -> Mapping[str, int]:
        return {"all": len(self.columns["age"])}

    def blocks(self, part: str) -> Iterator[Block]:
        for first in range(0, self.sizes()[part], BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            yield Block({name: _slice(values, rows) for name, values in self.columns.items()}, first=first)

    def splits(self) -> Mapping[str, np.ndarray]:
        return {"train": np.arange(self.sizes()["all"])}


def _slice(values: Any, rows: slice) -> Any:
    return values._replace(indices=values.indices[rows]) if isinstance(values, Strings) else values[rows]


class _NoArchitecture(nn.Module):
    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        return Output(None)


def columns() -> dict[str, Any]:
    grid = {
        key: Bucketized(key=key, boundaries=tuple(np.linspace(low, high, 19).tolist()))
        for key, (low, high) in GRID.items()
    }
    return {
        "income": Numeric(key="income", normalize="z_score"),
        "age_bucket": Bucketized(key="age", boundaries=(10.0, 20.0, 30.0, 40.0, 50.0)),
        "kind": Vocabulary(key="ocean", values=OCEAN),
        "age_x_ocean": Crossed(keys=("age_bucket", "kind"), buckets=100),
        "lat_bucket": grid["lat"],
        "lon_bucket": grid["lon"],
        "place": Crossed(keys=("lat_bucket", "lon_bucket"), buckets=1000),
        "place_embedding": Embedding(key="place", dimension=8),
    }


def rows_of(copies: int) -> dict[str, Any]:
    """The columns of the file, so many times over, as a source of Arrow tables has them."""
    table = pyarrow.csv.read_csv(Path(os.environ["TITRATE_DATA"], "california_housing", "housing.csv"))
    table = pa.concat_tables([table] * copies).combine_chunks()
    names = {"income": "median_income", "age": "housing_median_age", "lat": "latitude", "lon": "longitude"}
    found: dict[str, Any] = {name: table[key].to_numpy() for name, key in names.items()}
    ocean = table["ocean_proximity"].combine_chunks().dictionary_encode()
    words = ocean.dictionary.cast(pa.large_string())
    _, offsets, data = words.buffers()
    found["ocean"] = Strings(np.frombuffer(data, np.uint8), np.frombuffer(offsets, np.int64), ocean.indices.to_numpy())
    return found | {"label": np.arange(len(table)) % 2}


def measure(raw: Mapping[str, Any], size: int) -> tuple[float, float]:
    """Rows per second of encoding alone, and with the dense inputs of batches of that size."""
    features = Features(Label(key="label"), columns(), {"inputs": INPUT})
    source = Housing(raw)
    data = load_encoded(source, features, identity="", cache=None)
    named = {name: column for name, column in used_columns(features).items() if name != TARGET}
    kept = [name for name in program_column_names(features) if name != TARGET]
    dense, state = compiled(data, features, size)
    for _ in range(2):  # the first compiles, and warms caches
        start = time.perf_counter()
        encoded = encode_source(source, named, data.constants, kept)
        between = time.perf_counter()
        arrays = jax.tree.map(jax.device_put, encoded)
        jax.block_until_ready(dense(state, arrays))
        end = time.perf_counter()
    rows = len(raw["age"]) // size * size
    return len(raw["age"]) / (between - start), rows / (end - start)


def compiled(data: Data, features: Features, size: int) -> tuple[Any, Any]:
    """A function that makes the dense input of one batch after the other, and the model's variables."""
    layers = {name: features.columns[name].layer(data.constants[name].static) for name in INPUT}
    model = Model(layers, dict(features.inputs), frozenset(), _NoArchitecture())
    constants = {name: dict(data.constants[name].device) for name in INPUT}
    arrays = {name: dict(data.encoded[name]) for name in INPUT}
    few = jax.tree.map(lambda leaf: leaf[:size], arrays)
    variables = model.init(jax.random.key(0), few, constants, train=False)

    @jax.jit
    def dense(variables: Any, arrays: Any) -> jax.Array:
        def one(batch: jax.Array, total: jax.Array) -> jax.Array:
            rows = batch * size + jnp.arange(size)
            taken = jax.tree.map(lambda leaf: leaf[rows], arrays)
            inputs, *_ = model.apply(variables, taken, constants, train=False)
            whole = jax.lax.optimization_barrier(inputs["inputs"])  # it is made in memory, as for a layer to take
            return total + whole[0, 0]

        return jax.lax.fori_loop(0, len(arrays["income"]["values"]) // size, one, jnp.float32(0))

    return dense, variables


def encode_rate(raw: Mapping[str, Any], workers: int, rounds: int) -> float:
    """Rows per second of encoding alone, the best of so many rounds."""
    features = Features(Label(key="label"), columns(), {"inputs": INPUT})
    source = Housing(raw)
    constants = load_encoded(source, features, identity="", cache=None).constants
    named = {name: column for name, column in used_columns(features).items() if name != TARGET}
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        encode_source(source, named, constants, list(INPUT), workers=workers)
        seconds.append(time.perf_counter() - start)
    return len(raw["age"]) / min(seconds)


def main(copies: int = 10, rounds: int = 5, *peer: str) -> None:
    for times in (copies, 10 * copies):
        many = rows_of(times)
        for workers in (1, 2):
            rate = encode_rate(many, workers, rounds)
            figures = {"rows": len(many["age"]), "workers": workers, "encode_rows_per_s": round(rate)}
            print(json.dumps(figures), flush=True)
    if not peer:
        print("a peer is missing: its command would be run before and after ours", flush=True)
    raw = rows_of(copies)
    run_peer(peer)
    for size in (min(8192, len(raw["age"])), 32):
        for _ in range(rounds):
            encoding, whole = measure(raw, size)
            figures = {"batch": size, "encode_rows_per_s": round(encoding), "dense_rows_per_s": round(whole)}
            print(json.dumps({"cores": cores(), **figures}), flush=True)
    run_peer(peer)


def run_peer(command: tuple[str, ...]) -> None:
    if command:
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
