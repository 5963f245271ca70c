"""How long a run on a wide table takes to start, and where the time goes: with a feature column for each column.

    python benchmarks/wide.py [rounds] [thousand rows] [another checkout, or -] [case ...]
    smallest: 1 0.5 - one_hot

The cases are tables with a target of two classes, and train an MLP for two epochs with an empty cache: `numbers`, 500
columns of numbers, half of them with gaps; `one_hot`, 500 columns of 10 texts as one-hot vectors, as the one-line
command infers them; and `embedded`, 1,000 columns of 10 texts with an embedding each.

Prints for each case a line of JSON with medians of N rounds. In seconds: until the configuration is checked
(`configuration`, with what is inferred from the table), statistics, encoding and the cache (`data`), `tracing`,
`lowering` and `compiling` all functions of the program, from return to the end of the first dispatch of steps (`first
step`), and the `whole` command. Also the seconds of the processors to the end of each (`cpu to …`, `cpu`), which a busy
machine changes less. Then the milliseconds of a later step, and the peak memory in MB. With another checkout, its
processes alternate with ours, so that a busy machine slows both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.timing import parse_arguments

COUNTS = {"numbers": 500, "one_hot": 500, "embedded": 1000}
CATEGORIES = 10
OVERRIDES = ("training.epochs=2", "tracking=none", "quiet=true", "fresh=true", "training.batch_size=256")
CHOICES = ("loss=binary_cross_entropy", "architecture=mlp", "architecture.widths=[64,64]", "optimizer=adamw")

# Its first argument is the time when it was started. The others are overrides.
RUN = """
import json, logging, sys, time

import jax
import runner
from runner.log import LOG
from runner.training.trainer import Trainer

started, marks, steps = float(sys.argv[1]), {}, []
seconds = dict.fromkeys(("tracing", "lowering", "compiling"), 0.0)
events = {"jaxpr_trace": "tracing", "jaxpr_to_mlir_module": "lowering", "backend_compile": "compiling"}
messages = {"the modules are imported": "configuration", "the data is ready": "data"}

def listen(event, duration, **_):
    if name := events.get(event.removeprefix("/jax/core/compile/").removesuffix("_duration")):
        seconds[name] += duration

class Marks(logging.Handler):
    def emit(self, record):
        for message, name in messages.items():
            if record.getMessage().startswith(message):
                marks[name], marks[f"cpu to {name}"] = time.time() - started, time.process_time()

def dispatch(self, state, chunk, take=Trainer._dispatch):
    start = time.time()
    sums = take(self, state, chunk)
    jax.block_until_ready((sums, state.train_state))
    marks.setdefault("first step", time.time() - started)
    marks.setdefault("cpu to first step", time.process_time())
    steps.append((chunk.steps, time.time() - start))
    return sums

jax.monitoring.register_event_duration_secs_listener(listen)
LOG.addHandler(Marks())
Trainer._dispatch = dispatch
result = runner.run(*sys.argv[2:])
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
whole = time.time() - started
later = [spent / count for count, spent in steps[1:] if count == max(steps)[0]]
print(json.dumps({"configuration": marks["configuration"], "data": marks["data"] - marks["configuration"], **seconds,
    "first step": marks["first step"], **{key: spent for key, spent in marks.items() if "cpu" in key},
    "whole": whole, "cpu": time.process_time(), "step ms": 1000 * min(later), "peak MB": peak,
    "valid loss": result.metrics["best/valid/loss"]}))
"""


def write_table(path: Path, case: str, rows: int) -> None:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {}
    texts = np.array([f"v{value}" for value in range(CATEGORIES)])
    for number in range(COUNTS[case]):
        if case == "numbers":
            gaps = random.random(rows) < 0.1 if number % 2 else None
            columns[f"x{number}"] = pa.array(np.round(random.normal(size=rows), 4), mask=gaps)
        else:
            columns[f"x{number}"] = texts[random.integers(0, CATEGORIES, rows)]
    columns["label"] = np.array(["no", "yes"])[random.integers(0, 2, rows)]
    pyarrow.csv.write_csv(pa.table(columns), path)


def write_experiment(folder: Path, case: str) -> None:
    """Writes a configuration with a feature column for each column, unless the one-line command infers such a one."""
    names = [f"x{number}" for number in range(COUNTS[case])]
    columns: dict[str, Any] = {}
    for number, name in enumerate(names):
        if case == "numbers":
            gaps = {"missing": "median", "indicate_missing": True} if number % 2 else {}
            columns[name] = {"_target_": "components.feature.Numeric", "key": name, "normalize": "z_score", **gaps}
        else:
            columns[f"{name}_ids"] = {"_target_": "components.feature.Vocabulary", "key": name, "oov": 1}
            embedding = {"_target_": "components.feature.Embedding", "key": f"{name}_ids", "dimension": 4}
            columns[f"{name}_embedding"] = embedding
    inputs = names if case == "numbers" else [f"{name}_embedding" for name in names]
    target = {"_target_": "components.feature.Label", "key": "label"}
    feature = {"target": target, "columns": columns, "inputs": {"columns": inputs}}
    Path(folder, "conf/feature").mkdir(parents=True)
    Path(folder, "conf/feature/wide.yaml").write_text(json.dumps(feature))  # JSON is YAML


def run_case(table: Path, case: str, checkout: Path) -> dict[str, float]:
    """Trains on a table in a process of its own, by the code of a checkout."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        arguments = ["data=csv", f"data.path={table}", "data.target=label", *OVERRIDES]
        if case != "one_hot":
            write_experiment(folder, case)
            arguments += ["feature=wide", *CHOICES]
        environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(folder / "cache")}
        command = [sys.executable, "-c", RUN, str(time.time()), *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return measured


def main(rounds: int = 3, thousands: float = 50, checkout: str = "-", *cases: str) -> None:
    checkouts = [Path(__file__).parent.parent, *([] if checkout == "-" else [Path(checkout)])]
    with tempfile.TemporaryDirectory() as folder:
        for case in cases or COUNTS:
            table = Path(folder, f"{case}.csv")
            write_table(table, case, int(thousands * 1000))
            results: dict[Path, list[dict[str, float]]] = {}
            for _ in range(rounds):
                for code in checkouts:
                    results.setdefault(code, []).append(run_case(table, case, code))
            for code, measured in results.items():
                medians = {key: round(statistics.median(each[key] for each in measured), 5) for key in measured[0]}
                print(json.dumps({"case": case, "checkout": code.name, **medians}), flush=True)


if __name__ == "__main__":
    main(*parse_arguments(int, float))
