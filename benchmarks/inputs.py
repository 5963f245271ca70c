"""How many rows per second become the dense inputs of a model: the columns of California housing.

    TITRATE_DATA=folder python benchmarks/inputs.py [copies] [rounds] [command of another implementation ...]
    smallest: 1 1

The rows are those of california_housing/housing.csv, `copies` times (by default 10). The columns are a standardized
income, six buckets of age, the vocabulary of ocean_proximity, age x ocean in 100 buckets, and latitude x longitude in
1,000 buckets, embedded in 8 numbers. All rows are encoded once, in blocks of 131,072. Then a compiled loop gathers
batch after batch and concatenates each into one dense array, as a training step does.

Prints the best of N rounds of encoding for 1 and 2 threads, and every round of encoding and dense inputs together, in
rows per second. The other command, which measures the same with tf.feature_column for instance, runs before and after
ours, so that both are measured on an equally busy machine.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from benchmarks.housing import COLUMNS, HousingSource, read_housing
from benchmarks.timing import parse_arguments, time_variants
from components.feature import Embedding, Label
from components.types import Output
from runner.data.encode import TARGET, encode_source
from runner.data.load import Data, Features, load_encoded, program_column_names, used_columns
from runner.data.workers import Workers
from runner.platform import count_cores
from runner.program.model import Model

BLOCK_ROWS = 1 << 17
INPUT = ("income", "age_bucket", "kind", "age_x_ocean", "place_embedding")
FEATURES = Features(
    {"target": Label(key="label")},
    COLUMNS | {"place_embedding": Embedding(key="place", dimension=8)},
    {"inputs": INPUT},
)
INPUT_COLUMNS = {name: column for name, column in used_columns(FEATURES).items() if name != TARGET}


class _NoArchitecture(nn.Module):
    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        return Output(None)


def measure_inputs(source: HousingSource, batch_size: int) -> tuple[float, float]:
    """Returns the rows per second of encoding alone, and of encoding and dense inputs together."""
    data = load_encoded(source, FEATURES, identity="", cache=None)
    kept = [name for name in program_column_names(FEATURES) if name != TARGET]
    make_inputs, variables = compile_inputs(data, batch_size)
    for _ in range(2):  # the first pass compiles and warms the caches
        start = time.perf_counter()
        encoded = encode_source(source, INPUT_COLUMNS, data.constants, kept)
        encoded_at = time.perf_counter()
        arrays = jax.tree.map(jax.device_put, encoded)
        jax.block_until_ready(make_inputs(variables, arrays))
        end = time.perf_counter()
    whole_batches = source.rows // batch_size * batch_size
    return source.rows / (encoded_at - start), whole_batches / (end - start)


def compile_inputs(data: Data, batch_size: int) -> tuple[Any, Any]:
    """Returns a function that makes the dense input of one batch after the other, and the model's variables."""
    layers = {name: FEATURES.columns[name].layer(data.constants[name].static) for name in INPUT}
    model = Model(layers, dict(FEATURES.inputs), frozenset(), {}, _NoArchitecture())
    constants = {name: dict(data.constants[name].device) for name in INPUT}
    arrays = {name: dict(data.encoded[name]) for name in INPUT}
    first_batch = jax.tree.map(lambda leaf: leaf[:batch_size], arrays)
    variables = model.init(jax.random.key(0), first_batch, constants, train=False)

    @jax.jit
    def make_inputs(variables: Any, arrays: Any) -> jax.Array:
        def add_batch(batch: jax.Array, total: jax.Array) -> jax.Array:
            rows = batch * batch_size + jnp.arange(batch_size)
            gathered = jax.tree.map(lambda leaf: leaf[rows], arrays)
            batch, _ = model.apply(variables, gathered, constants, train=False)
            dense = jax.lax.optimization_barrier(batch.inputs["inputs"])  # XLA must write the array, as for a layer
            return total + dense[0, 0]

        return jax.lax.fori_loop(0, len(arrays["income"]["values"]) // batch_size, add_batch, jnp.float32(0))

    return make_inputs, variables


def measure_encoding(source: HousingSource, rounds: int) -> Mapping[int, float]:
    """Returns the rows per second of encoding alone, the best of the rounds, by number of threads."""
    constants = load_encoded(source, FEATURES, identity="", cache=None).constants
    encode = partial(encode_source, source, INPUT_COLUMNS, constants, INPUT)
    seconds = time_variants(
        {workers: partial(encode, workers=Workers(workers, start_seconds=math.inf)) for workers in (1, 2)}, rounds
    )
    return {workers: source.rows / min(durations) for workers, durations in seconds.items()}


def run_other(command: tuple[str, ...]) -> None:
    if command:
        subprocess.run(command, check=True)


def main(copies: int = 10, rounds: int = 5, *other: str) -> None:
    for times in (copies, 10 * copies):
        source = HousingSource(read_housing(times), BLOCK_ROWS)
        for workers, rate in measure_encoding(source, rounds).items():
            print(json.dumps({"rows": source.rows, "workers": workers, "encode_rows_per_s": round(rate)}), flush=True)
    if not other:
        print("no command of another implementation given: nothing is compared", flush=True)
    source = HousingSource(read_housing(copies), BLOCK_ROWS)
    run_other(other)
    for batch_size in (min(8192, source.rows), 32):
        for _ in range(rounds):
            encoding, together = measure_inputs(source, batch_size)
            rates = {"batch": batch_size, "encode_rows_per_s": round(encoding), "dense_rows_per_s": round(together)}
            print(json.dumps({"cores": count_cores(), **rates}), flush=True)
    run_other(other)


if __name__ == "__main__":
    main(*parse_arguments(int, int))
