"""How many rows per second become arrays for the training step: the columns of California housing, and a CSV file.

    python benchmarks/columns.py [rounds] [million rows of the CSV file] [another checkout, or -] [path of housing.csv]
    smallest: 1 0.001

By default, the path is $TITRATE_DATA/california_housing/housing.csv. The columns are those of tf.feature_column's
benchmark: a standardized income, six buckets of age, the vocabulary of ocean_proximity, age x ocean in 100 buckets,
and latitude x longitude, 20 buckets each, in 1,000 buckets.

Prints the best and the median of N rounds after one warm-up round, in million rows per second. Variants alternate, so
that a busy machine slows all of them. `x 10` is ten copies of the file's rows. Strings are encoded faster where Arrow
has dictionary-encoded them.

A CSV file of 5 million rows and 220 MB is then encoded into an empty cache, and loaded from it, in processes of their
own; likewise the same rows as Parquet. Prints the seconds and the peak memory of each, the seconds in which the arrays
get to the device, and the same of the code of another checkout, whose processes alternate with ours. The file's own
digest is computed beforehand.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks.housing import COLUMNS, HousingSource, read_housing
from benchmarks.timing import format_rates, parse_arguments, time_variants
from components.feature import Label
from runner.data.encode import encode_source
from runner.data.load import Features, load_encoded
from runner.data.workers import Workers

OUTPUTS = ("income", "age_bucket", "kind", "age_x_ocean", "place")  # the columns that the step takes
SIZES = ((8192, 10), (8192, 1), (32, 1))  # rows of a block, copies of the file


LOAD = """
import json, sys, time
from pathlib import Path
from components import data
from components.feature import Label, Numeric, Vocabulary
from runner.data.load import Features, load_encoded

columns = {f"x{number}": Numeric(key=f"x{number}", normalize="z_score") for number in range(5)}
columns |= {name: Vocabulary(key=name) for name in ("city", "kind")}
features = Features({"target": Label(key="label")}, columns, {"inputs": tuple(columns)})
is_csv = sys.argv[1].endswith(".csv")
options = {"path": sys.argv[1], "valid": 0.1, "test": 0.1}
source = data.Csv(**options) if is_csv else data.TableFile(**options).open()
source.fingerprint()
start = time.perf_counter()
data = load_encoded(source, features, identity="benchmark", cache=Path(sys.argv[2]))
loaded = time.perf_counter()
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
import jax
from runner.data.batches import Batches
jax.devices()
imported = time.perf_counter()
jax.block_until_ready(Batches(data).device_data)
device = time.perf_counter() - imported
print(json.dumps({"seconds": loaded - start, "peak_mb": peak, "to_device_seconds": device}))
"""


def write_tables(folder: Path, rows: int) -> list[Path]:
    """Writes a CSV file and a Parquet file with the same rows."""
    random = np.random.default_rng(0)
    columns = {f"x{number}": np.round(random.normal(size=rows), 4) for number in range(5)}
    columns["city"] = np.array(["Oslo", "Rome", "Kyiv", "Lima"])[random.integers(0, 4, rows)]
    columns["kind"] = random.integers(0, 100, rows)
    columns["label"] = random.integers(0, 2, rows)
    csv, parquet = folder / "table.csv", folder / "table.parquet"
    pyarrow.csv.write_csv(pa.table(columns), csv, pyarrow.csv.WriteOptions(quoting_style="needed"))
    pyarrow.parquet.write_table(pa.table(columns), parquet)
    return [csv, parquet]


def load_table(path: Path, cache: Path, checkout: Path) -> dict[str, float]:
    """Loads the file in a process of its own, by the code of a checkout."""
    command = [sys.executable, "-c", LOAD, str(path), str(cache)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure_cache(rows: int, rounds: int, checkouts: Sequence[Path]) -> None:
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        paths = write_tables(Path(name), rows)
        print(", ".join(f"{path.name} of {rows:,} rows, {path.stat().st_size / 1e6:.0f} MB" for path in paths))
        for _, path, checkout in itertools.product(range(rounds), paths, checkouts):
            cache = Path(name, "cache")
            for what in (f"{path.name} encoded into the cache", f"{path.name} loaded from the cache"):
                results.setdefault((what, str(checkout)), []).append(load_table(path, cache, checkout))
            shutil.rmtree(cache)
    for (what, checkout), measured in sorted(results.items()):
        medians = {key: round(statistics.median(each[key] for each in measured), 3) for key in measured[0]}
        print(f"{what}, {checkout}: {json.dumps(medians)}")


def main(rounds: int = 9, millions: float = 5, checkout: str = "-", path: str | None = None) -> None:
    features = Features({"target": Label(key="label")}, COLUMNS, {"inputs": OUTPUTS})
    sources, variants = {}, {}
    for (block_rows, copies), dictionary, workers in itertools.product(SIZES, (True, False), (1, 2)):
        source = HousingSource(read_housing(copies, path, dictionary=dictionary), block_rows)
        constants = load_encoded(source, features, identity="", cache=None).constants
        strings = "dictionary" if dictionary else "plain"
        name = f"blocks of {block_rows:4}, {strings:10} x {copies:<2}, {workers} threads"
        sources[name] = source
        variants[name] = partial(
            encode_source, source, COLUMNS, constants, OUTPUTS, workers=Workers(workers, start_seconds=math.inf)
        )
    for name, seconds in time_variants(variants, rounds).items():
        print(f"{name}: {format_rates(sources[name].rows, seconds)}")
    checkouts = [Path(__file__).parent.parent, *([] if checkout == "-" else [Path(checkout)])]
    measure_cache(int(millions * 1e6), rounds, checkouts)


if __name__ == "__main__":
    main(*parse_arguments(int, float))
