"""How many records per second are read from and written into a TFRecord file.

    python benchmarks/records.py [rounds] [records] [command of another implementation …]
    smallest: 1 100

A record is an Example with 15 features of one value each: 8 floats, 4 integers and 3 short texts. `read` parses a file
into columns as `data=table` reads it, and checks all checksums; `write` writes these columns as `mode=convert` writes
them, into another file. `wide` reads a file of the same kinds of features, of which a record has 50, and `used` reads
three of these columns, as a run does that uses no others. Prints records per second of processor time, the best and the
median of N rounds.

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
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from benchmarks.timing import parse_arguments, time_variants
from components.data import TableFile
from components.data.writing.formats import write_tables
from components.data.writing.rows import read_rows

PLACES = ("NEAR BAY", "INLAND", "<1H OCEAN", "ISLAND")


def make_table(count: int, floats: int, integers: int, texts: int) -> pyarrow.Table:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"float_{each}": random.normal(size=count).astype(np.float32) for each in range(floats)}
    columns |= {f"int_{each}": random.integers(-5, 10**6, count) for each in range(integers)}
    places = pyarrow.array(PLACES, pyarrow.large_string())
    columns |= {f"text_{each}": places.take(pyarrow.array(random.integers(0, 4, count))) for each in range(texts)}
    return pyarrow.table(columns)


def write(path: Path, tables: list[pyarrow.Table]) -> None:
    with path.open("wb") as file:
        write_tables(file, tables, "tfrecord", "none")


def read(path: Path, used: Collection[str] | None = None) -> Any:
    source: Any = TableFile(path=str(path)).open()
    return (source if used is None else source.with_used_columns(used)).table


def main(rounds: int = 3, count: int = 100_000, *peer: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, wide = Path(folder, "a.tfrecord"), Path(folder, "wide.tfrecord")
        write(path, [make_table(count, 8, 4, 3)])
        write(wide, [make_table(count, 27, 13, 10)])
        source: Any = TableFile(path=str(path)).open()
        tables = [*read_rows(source, np.arange(count))]
        rates: dict[str, list[float]] = {"read": [], "write": []}
        calls: dict[str, Callable[[], Any]] = {
            "read": lambda: read(path),
            "write": lambda: write(Path(folder, "b.tfrecord"), tables),
            "wide": lambda: read(wide),
            "used": lambda: read(wide, ["float_9", "int_5", "text_7"]),
        }

        def run_peer() -> None:
            output = subprocess.run([*peer, str(path), str(count)], check=True, capture_output=True, text=True).stdout
            found = json.loads(output.strip().splitlines()[-1])
            for name, own in rates.items():
                own.append(found[name])

        if peer:
            calls["peer"] = run_peer
        seconds = time_variants(calls, rounds, time.process_time)
        for name in ("read", "write", "wide", "used"):
            best, median = (count / each for each in (min(seconds[name]), statistics.median(seconds[name])))
            print(f"{name:6} best {best:10,.0f}  median {median:10,.0f} records per second of a processor")
            if others := rates.get(name):
                other = statistics.median(others[1:])
                print(f"{name:6} peer {max(others):10,.0f}  median {other:10,.0f}  ratio {median / other:.1f}")


if __name__ == "__main__":
    main(*parse_arguments(int, int))
