"""How many records per second are read from and written into a TFRecord file.

    python benchmarks/records.py [rounds] [records] [command of another implementation …]
    smallest: 1 100

A record is an Example with 15 features of one value each: 8 floats, 4 integers and 3 short texts. `read` parses a file
into columns as `data=table` reads it, and checks all checksums; `write` writes these columns as `mode=convert` writes
them, into another file. Prints records per second of processor time, the best and the median of N rounds.

The command gets the path of the file and the number of records. Its last line is JSON with `read`, the records that it
reads, checks and parses in batches per second of processor time, and `write`, those that it serializes and writes. It
runs once in each round, and the ratios are those of the medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from benchmarks.timing import parse_arguments, time_variants
from components.data import TableFile
from components.data.writing.formats import write_tables
from components.data.writing.rows import read_rows

PLACES = ("NEAR BAY", "INLAND", "<1H OCEAN", "ISLAND")


def make_table(count: int) -> pyarrow.Table:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"float_{number}": random.normal(size=count).astype(np.float32) for number in range(8)}
    columns |= {f"int_{number}": random.integers(-5, 10**6, count) for number in range(4)}
    texts = pyarrow.array(PLACES, pyarrow.large_string())
    columns |= {f"text_{number}": texts.take(pyarrow.array(random.integers(0, 4, count))) for number in range(3)}
    return pyarrow.table(columns)


def write(path: Path, tables: list[pyarrow.Table]) -> None:
    with path.open("wb") as file:
        write_tables(file, tables, "tfrecord", "none")


def read(path: Path) -> Any:
    source: Any = TableFile(path=str(path)).open()
    return source.table


def main(rounds: int = 3, count: int = 100_000, *peer: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tfrecord")
        write(path, [make_table(count)])
        source: Any = TableFile(path=str(path)).open()
        tables = [*read_rows(source, np.arange(count))]
        rates: dict[str, list[float]] = {"read": [], "write": []}
        calls: dict[str, Callable[[], Any]] = {
            "read": lambda: read(path),
            "write": lambda: write(Path(folder, "b.tfrecord"), tables),
        }

        def run_peer() -> None:
            output = subprocess.run([*peer, str(path), str(count)], check=True, capture_output=True, text=True).stdout
            found = json.loads(output.strip().splitlines()[-1])
            for name, own in rates.items():
                own.append(found[name])

        if peer:
            calls["peer"] = run_peer
        seconds = time_variants(calls, rounds, time.process_time)
        for name, others in rates.items():
            best, median = (count / each for each in (min(seconds[name]), statistics.median(seconds[name])))
            print(f"{name:6} best {best:10,.0f}  median {median:10,.0f} records per second of a processor")
            if peer:
                other = statistics.median(others[1:])
                print(f"{name:6} peer {max(others):10,.0f}  median {other:10,.0f}  ratio {median / other:.1f}")


if __name__ == "__main__":
    main(*parse_arguments(int, int))
