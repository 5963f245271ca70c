"""How many rows per second row operations take: the housing table, parsed from CSV, scaled and filtered.

    TITRATE_DATA=folder python benchmarks/pipelines.py [rounds] [rows] [command of another implementation ...]
    smallest: 1 5000

The rows are those of california_housing/housing.csv that have all numbers, repeated to `rows` (by default 1,000,000),
in one file: 8 numbers and the target. A pipeline scales the numbers by their means and standard deviations and keeps
the rows whose target is below 500,001: by `derive` and `filter`, or by a `function` of NumPy and `filter`.

Prints, for each round, the rows per second of each pipeline from the file and from arrays in memory, and of the
operations alone, in the pipeline from the file. At last, a process of its own runs the pipeline from the file, and
prints its peak memory beside that of the file without operations. The other command, which does this work with tf.data
for instance, runs before and after ours. It is called with the path of the file, and its last line is JSON with
`from_file` and `from_arrays`, in rows per second. The ratios are those of our medians to its best rates.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import parse_arguments
from components.data import Arrays, Csv, OperatedSource
from components.operation import Derive, Filter, Function
from components.ragged import concatenate
from components.types import RowOperation, Source, row_count

NUMBERS = ("a", "b", "c", "d", "e", "f", "g", "h")
MEANS = dict(zip(NUMBERS, (-119.57, 35.63, 28.6, 2636.5, 537.9, 1424.9, 499.4, 3.87), strict=True))
STDS = dict(zip(NUMBERS, (2.0, 2.14, 12.6, 2185.3, 421.4, 1133.2, 382.3, 1.9), strict=True))
CHEAP = Filter(where="y < 500001")


def scale(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: (columns[name] - MEANS[name]) / STDS[name] for name in NUMBERS}


PIPELINES: dict[str, tuple[RowOperation, ...]] = {
    "derive, filter": (Derive(columns={name: f"({name} - {MEANS[name]}) / {STDS[name]}" for name in NUMBERS}), CHEAP),
    "function, filter": (Function(function=scale, columns=NUMBERS), CHEAP),
}


def write_table(table: Path, path: Path, rows: int) -> None:
    """Writes the rows of a table with all numbers, repeated, into a file."""
    with open(table, newline="") as file:
        lines = [
            ",".join(fields[:9]) + "\n" for fields in itertools.islice(csv.reader(file), 1, None) if all(fields[:9])
        ]
    with open(path, "w") as file:
        file.write(",".join([*NUMBERS, "y"]) + "\n")
        for _ in range(rows // len(lines)):
            file.writelines(lines)
        file.writelines(lines[: rows % len(lines)])


def count_rows(source: Source) -> int:
    return sum(
        row_count(next(iter(block.columns.values()))) for part in source.sizes() for block in source.blocks(part)
    )


def read_arrays(path: Path) -> Arrays:
    """The columns of the file in memory."""
    blocks = [*Csv(path=str(path)).blocks("all")]
    return Arrays(columns={name: concatenate([block.columns[name] for block in blocks]) for name in (*NUMBERS, "y")})


def measure(open_source: Callable[[], Source], operations: tuple[RowOperation, ...], rows: int) -> dict[str, float]:
    """The rows per second of a pipeline, and of its operations alone."""
    start = time.perf_counter()
    source = OperatedSource(source=open_source(), operations=operations)
    kept = count_rows(source)
    seconds = time.perf_counter() - start
    assert 0 < kept <= rows
    return {"whole": rows / seconds, "operations": rows / sum(report.seconds for report in source.result.reports)}


MEASURE_MEMORY = """
import sys
from benchmarks.pipelines import PIPELINES, count_rows
from components.data import Csv, OperatedSource
source = Csv(path=sys.argv[1])
if sys.argv[2] in PIPELINES:
    source = OperatedSource(source=source, operations=PIPELINES[sys.argv[2]])
count_rows(source)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measure_memory(path: Path, pipeline: str) -> float:
    """The peak memory in MB of a process that runs a pipeline from a file."""
    command = [sys.executable, "-c", MEASURE_MEMORY, str(path), pipeline]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return int(done.stdout) * 1024 / 1e6


def run_other(command: tuple[str, ...], path: Path) -> list[dict[str, float]]:
    """The rows per second of another implementation; none if there is no command."""
    if not command:
        return []
    done = subprocess.run([*command, str(path)], stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout.strip(), flush=True)
    return [json.loads(done.stdout.splitlines()[-1])]


def main(rounds: int = 5, rows: int = 1_000_000, *other: str) -> None:
    table = Path(os.environ.get("TITRATE_DATA", "."), "california_housing/housing.csv")
    measured: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "housing.csv")
        write_table(table, path, rows)
        arrays = read_arrays(path)
        sources: dict[str, Callable[[], Source]] = {
            "from_file": lambda: Csv(path=str(path)),
            "from_arrays": lambda: arrays,
        }
        others = run_other(other, path)
        for _ in range(rounds):
            for (kind, open_source), (title, operations) in itertools.product(sources.items(), PIPELINES.items()):
                rates = measure(open_source, operations, rows)
                found = {key: round(rate) for key, rate in rates.items()}
                print(json.dumps({"pipeline": title, "source": kind, "rows": rows} | found), flush=True)
                measured.setdefault((title, kind), []).append(rates["whole"])
                if kind == "from_file":
                    measured.setdefault((title, "operations"), []).append(rates["operations"])
        others += run_other(other, path)
        _print_rates(measured, others)
        for title in ("none", *PIPELINES):
            print(f"{title:16}  peak memory {measure_memory(path, title):7.1f} MB")


def _print_rates(measured: Mapping[tuple[str, str], list[float]], others: list[dict[str, Any]]) -> None:
    for (title, kind), rates in measured.items():
        median, best = statistics.median(rates), max((each[kind] for each in others if kind in each), default=None)
        ratio = f"  {median / best:7.1f} times the other" if best else ""
        print(f"{title:16}  {kind:11}  median {median / 1e6:6.2f} million rows/s{ratio}")


if __name__ == "__main__":
    main(*parse_arguments(int, int))
