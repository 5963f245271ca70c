"""How much memory the windows of a long time series take, beside its rows alone.

    python benchmarks/windows.py [rows]
    smallest: 20000

The series has 10 million numbers in float32, 38 MB, which are the inputs and the target. A window has 168 rows of
inputs and 24 of targets, and starts at each row. Each kind of examples is loaded in a process of its own, without a
cache, and all batches of an epoch are gathered, but not trained on. Prints the megabytes (2^20 bytes) of the series, of
the encoded rows, of the numbers of the examples of each split, and the most that the process has needed at once, when
the data is loaded and when its batches are gathered, above what it needs for a small series. The series is included.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from components.data import Arrays
from components.examples import Windows
from components.feature import Numeric
from components.types import Examples
from runner.data.batches import Batches
from runner.data.load import Data, Features, load_encoded
from runner.data.order import epoch_order
from runner.data.steps import WindowedRows, take_examples

KINDS = ("rows alone", "windows")
BATCH, STEPS = 256, 16
WINDOWS = Windows(size=168, horizon=24)


def load(rows: int, examples: Examples | None) -> tuple[Arrays, Data]:
    values = np.random.default_rng(0).random(rows, np.float32)
    source = Arrays(columns={"load": values}, valid=0.15, test=0.15, seed=None)
    column = Numeric(key="load", normalize="z_score")
    features = Features({"target": column}, {"load": column}, {"inputs": ("load",)}, examples=examples)
    return source, load_encoded(source, features, identity="", cache=None)


def gather_epoch(data: Data) -> None:
    """Gathers the rows of each batch of an epoch, as the training step does for data on the device."""
    batches = Batches(data)
    order = epoch_order(data.splits["train"], seed=0, epoch=0)
    gather = jax.jit(take_examples)
    for chunk in batches.chunks(order, BATCH, STEPS):
        jax.block_until_ready(gather(chunk.data, chunk.rows.reshape(-1)))


def measure_peak(function: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and the most megabytes of this process during the call."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    result = function()
    return result, read_megabytes("VmHWM")


def read_megabytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def measure(rows: int, kind: str) -> dict[str, float]:
    examples = WINDOWS if kind == "windows" else None
    gather_epoch(load(10_000, examples)[1])  # imports all that is needed, and compiles
    before = read_megabytes("VmRSS")
    (source, data), loading = measure_peak(lambda: load(rows, examples))
    _, gathering = measure_peak(lambda: gather_epoch(data))
    views = [array for arrays in data.encoded.values() for array in arrays.values()]
    arrays = {id(base): base for view in views for base in [view.base if isinstance(view, WindowedRows) else view]}
    megabytes = {
        "series": source.columns["load"].nbytes,
        "encoded rows": sum(array.nbytes for array in arrays.values()),
        "numbers of examples": sum(split.nbytes for split in data.splits.values()),
    }
    peaks = {"peak of loading": loading - before, "peak of an epoch": gathering - before}
    return {name: value / 2**20 for name, value in megabytes.items()} | peaks


def main(rows: int = 10_000_000) -> None:
    for kind in KINDS:
        command = [sys.executable, __file__, str(rows), kind]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(f"{kind:12} {'  '.join(f'{name} {value:.0f} MB' for name, value in json.loads(output).items())}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])))
    else:
        main(*map(int, sys.argv[1:]))
