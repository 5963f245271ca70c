"""How many rows per second come out of 20 CSV files as shuffled batches of 32.

    TITRATE_DATA=folder python benchmarks/csv_shards.py [rounds] [copies] [command of another implementation ...]
    smallest: 1 1

The rows are those of california_housing/housing.csv that have all numbers, `copies` times (by default 10), each time a
ten-thousandth of a degree further east, dealt out to 20 files: 8 numbers and the target. They are read as
`data=csv data.path=FOLDER/*.csv` reads them, encoded, and put on the device. Then a compiled loop gathers the batches
of an epoch in a random order and concatenates the columns of each, as a training step does.

Prints, for each round, the rows per second of an epoch that starts with the files (into an empty cache), of one that
starts with the cache, and of a later epoch of the same run; and the same for a single file of these rows. The other
command, which does this work with tf.data for instance, runs before and after ours. It is called with the path of
housing.csv, and its last line is JSON with `rows_per_s`. The ratios are those of our medians to its best rate.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import parse_arguments
from components.data import Csv
from components.feature import Numeric
from runner.data.batches import Batches, Chunk
from runner.data.load import Data, Features, load_encoded
from runner.data.order import epoch_order

FILES, BATCH, STEPS = 20, 32, 1024  # STEPS: of a chunk
NUMBERS = ("a", "b", "c", "d", "e", "f", "g", "h")
FEATURES = Features({"target": Numeric(key="y")}, {name: Numeric(key=name) for name in NUMBERS}, {"inputs": NUMBERS})


def write_files(table: Path, folder: Path, copies: int) -> int:
    """Writes the rows into FILES files, and into one file `whole.csv` beside the folder. Returns their number."""
    with open(table, newline="") as file:
        rows = [fields[:9] for fields in itertools.islice(csv.reader(file), 1, None) if all(fields[:9])]
    folder.mkdir()
    header = ",".join([*NUMBERS, "y"]) + "\n"
    shards = []
    for number in range(FILES):
        own = itertools.product(range(copies), rows[number::FILES])
        # The longitude tells copies apart, as equal rows in two splits are looked for and described.
        shards.append(
            "".join(f"{float(first) + copy / 10_000:.4f},{','.join(others)}\n" for copy, (first, *others) in own)
        )
    for number, text in enumerate(shards):
        (folder / f"{number:02d}.csv").write_text(header + text)
    folder.with_name("whole.csv").write_text(header + "".join(shards))
    return len(rows) * copies


def load(path: str, cache: Path) -> Batches:
    data: Data = load_encoded(Csv(path=path), FEATURES, identity="benchmark", cache=cache)
    return Batches(data)


@jax.jit
def consume(arrays: Any, rows: jax.Array, steps: int) -> jax.Array:
    """Makes the dense batches of the first `steps` of some rows (S, B), and returns a number that needs all of them."""

    def add_batch(step: jax.Array, total: jax.Array) -> jax.Array:
        gathered = jax.tree.map(lambda leaf: leaf[rows[step]], arrays)
        inputs = jnp.concatenate([gathered[name]["values"] for name in NUMBERS], axis=1)
        inputs, target = jax.lax.optimization_barrier((inputs, gathered["target"]["values"]))  # XLA must write both
        return total + inputs[0, 0] + target[0, 0]

    return jax.lax.fori_loop(0, steps, add_batch, jnp.float32(0))


def run_epoch(batches: Batches, rows: int, epoch: int) -> None:
    def consume_chunk(chunk: Chunk) -> jax.Array:
        return consume(chunk.data, chunk.rows, chunk.steps)

    order = epoch_order(np.arange(rows), 0, epoch)
    jax.block_until_ready([consume_chunk(chunk) for chunk in batches.chunks(order, BATCH, STEPS, seed=(0, epoch))])


def measure(path: str, rows: int, epoch: int) -> dict[str, float]:
    """The rows per second of an epoch from the files, from the cache, and later in the run."""

    def rate(call: Callable[[], None]) -> float:
        start = time.perf_counter()
        call()
        return rows / (time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        rates = {
            "from_files": rate(lambda: run_epoch(load(path, cache), rows, epoch)),
            "from_cache": rate(lambda: run_epoch(load(path, cache), rows, epoch)),
        }
        batches = load(path, cache)
        return rates | {"later_epoch": rate(lambda: run_epoch(batches, rows, epoch + 1))}


def run_other(command: tuple[str, ...], table: Path) -> list[float]:
    """The rows per second of another implementation; none if there is no command."""
    if not command:
        return []
    done = subprocess.run([*command, str(table)], stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout.strip(), flush=True)
    return [json.loads(done.stdout.splitlines()[-1])["rows_per_s"]]


def main(rounds: int = 5, copies: int = 10, *other: str) -> None:
    table = Path(os.environ.get("TITRATE_DATA", "."), "california_housing/housing.csv")
    measured: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "shards")
        rows = write_files(table, folder, copies)
        paths = {f"{FILES} files": f"{folder}/*.csv", "one file": str(folder.with_name("whole.csv"))}
        measure(paths["one file"], rows, 0)  # compiles
        others = run_other(other, table)
        for number in range(rounds):
            for files, path in paths.items():
                rates = measure(path, rows, number)
                print(json.dumps({"files": files, "rows": rows} | {key: round(rate) for key, rate in rates.items()}))
                for key, rate in rates.items():
                    measured.setdefault((files, key), []).append(rate)
        others += run_other(other, table)
    medians = {key: statistics.median(rates) for key, rates in measured.items()}
    for (files, key), rate in medians.items():
        ratio = f"  {rate / max(others):7.1f} times the other" if others else ""
        print(f"{files:8}  {key:11}  median {rate / 1e6:6.2f} million rows/s{ratio}")
    shards, whole = medians[f"{FILES} files", "from_files"], medians["one file", "from_files"]
    print(f"{FILES} files have {shards / whole:.2f} times the rate of one file of the same rows")


if __name__ == "__main__":
    main(*parse_arguments(int, int))
